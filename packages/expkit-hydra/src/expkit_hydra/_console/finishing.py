"""After the runs: results.csv, figures, the table, and the next steps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from .._grid.schedulers import ask_schedulers
from .._grid.settings import GridSettings, grid_settings
from .command_lines import again, command_line, installed_verbs, short_path
from .rows import most_telling, row_of, rows_of, with_reports
from .screen import tolerant_console
from .sibling_verbs import run_verbs
from .succeeded_verbs import have_succeeded, record_success
from .table import print_runs
from .texts import counts_text, unlogged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from expkit_bookkeeping import RunRecord

    from .._grid.grid import Grid
    from .._grid.schedulers import SchedulerReport


def finish_grid(
    grid: Grid | None,
    *,
    config: DictConfig,
    experiment: Path | None = None,
    unless_done: bool = False,
    synchronised: bool | None = None,
    command: Sequence[str] | None = None,
) -> None:
    """Write results.csv, synchronise tracking, draw, and show the table of all runs.

    The launcher `expkit` calls it after the last run, the sweeper when nothing is left to run,
    and the callback after a foreign launcher.

    Args:
        grid: The grid; None for a sweep that is not ours, whose table shows the experiment.
        config: The sweep's base configuration.
        experiment: The experiment's folder; None takes the grid's.
        unless_done: True leaves out `sync` and `plot` if they have succeeded for the runs as they
            are.
        synchronised: Whether `sync` succeeded during the runs, to their end. If it failed, or was
            left to another process, it is not tried again at once. None: it did not run.
        command: What runs the grid again, as the grid records it; None takes this process's
            command line.
    """
    from expkit_bookkeeping import find_runs, write_results_csv

    settings = grid_settings(config)
    folder = Path(experiment if experiment is not None else grid.experiment)  # type: ignore[union-attr]
    screen = tolerant_console()
    view = ask_schedulers(folder)
    records = find_runs(folder, is_alive=view.is_alive)
    notes = []
    try:
        write_results_csv(folder, runs=records)
    except OSError as error:
        notes.append(f"results.csv could not be written: {error}")
    drawn = (folder / "plots").is_dir() or "plot" not in installed_verbs()
    if records and not (unless_done and drawn and have_succeeded(folder, records, settings.after)):
        verbs = [verb for verb in settings.after if verb != "sync" or synchronised is None]
        try:
            complaints, succeeded = run_verbs(verbs, folder, screen=screen)
            notes += complaints
            if succeeded and synchronised is not False:
                record_success(folder, records, settings.after)
        except KeyboardInterrupt:  # the runs are over; the table is still worth showing
            notes.append(f"{' and '.join(verbs)} interrupted; the runs are not affected")
    reports = {} if grid is None else view.report(grid.runs, records)
    show_table(grid, records=records, reports=reports, settings=settings, screen=screen)
    missing = unlogged(settings.metric, records)
    if missing is not None:
        notes.append(missing)
    for note in notes:
        screen.print(note, style="yellow", markup=False)
    for label, text in next_steps(folder, metric=settings.metric, command=command):
        # soft_wrap: a folded command cannot be copied.
        screen.print(f"{label:<23}{text}", markup=False, soft_wrap=True)


def show_table(
    grid: Grid | None,
    *,
    records: Sequence[RunRecord],
    reports: Mapping[str, SchedulerReport],
    settings: GridSettings,
    screen: Console,
) -> None:
    """Print the table of a grid's runs and a line of counts."""
    now = datetime.now(UTC)
    if grid is None:
        rows, skipped = [row_of(run, now=now, metric=settings.metric) for run in records], 0
    else:
        comparable = grid.records_of(records)
        rows, skipped = rows_of(grid.runs, comparable, now=now, metric=settings.metric)
        rows = with_reports(rows, reports)
    listed, hidden = most_telling(rows, maximize=settings.maximize)
    print_runs(
        screen,
        listed,
        metric=settings.metric,
        maximize=settings.maximize,
        elsewhere="results.csv has them",
    )
    if hidden:
        screen.print(f"… and {hidden} more; all {len(rows)} are in results.csv")
    summary = counts_text(row.state for row in rows) or "no runs"
    screen.print(summary + (f", {skipped} skipped by rule" if skipped else ""))


def next_steps(
    experiment: Path, *, metric: str | None, command: Sequence[str] | None = None
) -> list[tuple[str, str]]:
    """Where the results are, and the commands for the next steps, as (label, text)."""
    folder = short_path(experiment)
    lines = []
    if (experiment / "results.csv").is_file():
        lines.append(("results", os.path.join(folder, "results.csv")))  # noqa: PTH118
    plot = _one_plot(experiment / "plots", metric)
    if plot is not None:
        lines.append(("plots", short_path(plot)))
    installed = installed_verbs()
    if "ui" in installed and (experiment / "mlflow.db").is_file():
        lines.append(("open the MLflow UI", command_line("ui", folder)))
    if "plot" in installed and plot is not None:
        lines.append(("draw in another style", command_line("plot", folder, "--style", "Thesis")))
    repetition = again(command)
    return lines if repetition is None else [*lines, ("run again", repetition)]


def _one_plot(plots: Path, metric: str | None) -> Path | None:
    """The figure to point to: the one of the metric, or else the first."""
    if not plots.is_dir():
        return None
    figures = sorted(plots.glob("*.png")) or sorted(plots.glob("*.pdf"))
    named = [figure for figure in figures if metric is not None and figure.stem == metric]
    return (named or figures or [plots])[0]
