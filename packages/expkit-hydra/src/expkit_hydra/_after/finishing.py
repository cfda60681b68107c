"""After the runs: results.csv, figures, the table, and the next steps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path

from .._console.command_lines import again, command_line, installed_verbs, short_path
from .._console.rows import most_telling, row_of, rows_of, with_reports
from .._console.screen import tolerant_console
from .._console.table import print_runs
from .._console.texts import counts_text, unlogged
from .._grid.schedulers import ask_schedulers
from .._grid.settings import GridSettings, grid_settings
from .sibling_verbs import SiblingVerbs
from .succeeded_verbs import have_succeeded, record_success

REPORT = "report.html"  # what `expkit report` writes

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
    siblings: SiblingVerbs | None = None,
    command: Sequence[str] | None = None,
) -> None:
    """Write results.csv, synchronise tracking, draw, and show the table of all runs.

    The launcher `expkit` calls it after the last run, the sweeper when nothing is left to run,
    and the callback after a foreign launcher.

    Args:
        grid: The grid; None for a sweep that is not ours, whose table shows the experiment.
        config: The sweep's base configuration.
        experiment: The experiment's folder; None takes the grid's.
        unless_done: True leaves out the commands of `expkit.after` if they have succeeded for the
            runs as they are.
        siblings: What was around the runs; None calls the commands now.
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
    is_done = unless_done and drawn and have_succeeded(folder, records, settings.after)
    if siblings is None and records and not is_done:
        siblings = SiblingVerbs(folder, settings.after)
        try:
            with screen.status("sync …"), siblings:
                siblings.runs_ended = True
        except KeyboardInterrupt:  # the runs are over; the table is still worth showing
            notes.append("sync interrupted; the runs are not affected")
    reports = {} if grid is None else view.report(grid.runs, records)
    show_table(grid, records=records, reports=reports, settings=settings, screen=screen)
    if siblings is not None:
        notes += _outcome(siblings, screen=screen)
        if siblings.succeeded:
            record_success(folder, records, settings.after)
    missing = unlogged(settings.metric, records)
    if missing is not None:
        notes.append(missing)
    for note in notes:
        screen.print(note, style="yellow", markup=False)
    for label, text in next_steps(folder, metric=settings.metric, command=command):
        # soft_wrap: a folded command cannot be copied.
        screen.print(f"{label:<23}{text}", markup=False, soft_wrap=True)


def _outcome(siblings: SiblingVerbs, *, screen: Console) -> list[str]:
    """Wait for what is still at work after the runs; returns its complaints."""
    notes = []
    for verb, drawing in (("plot", siblings.drawing), ("report", siblings.report)):
        try:
            with screen.status(f"{verb} …"):
                notes += drawing.wait()
        except KeyboardInterrupt:
            drawing.stop()
            notes.append(f"{verb} interrupted; the runs are not affected")
    failure = siblings.tracking.failure()  # it is not tried again at once: this says how to
    return notes if failure is None else [*notes, failure]


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
    figure = _figure_of(metric, experiment)
    if figure is not None:
        lines.append(("plots", short_path(figure)))
    if (experiment / REPORT).is_file():
        lines.append(("report", os.path.join(folder, REPORT)))  # noqa: PTH118
    installed = installed_verbs()
    if "ui" in installed and (experiment / "mlflow.db").is_file():
        lines.append(("open the MLflow UI", command_line("ui", folder)))
    if "plot" in installed and figure is not None:
        lines.append(("draw in another style", command_line("plot", folder, "--style", "Thesis")))
    repetition = again(command)
    return lines if repetition is None else [*lines, ("run again", repetition)]


def _figure_of(metric: str | None, experiment: Path) -> Path | None:
    """The figure to point to, which whoever draws knows: the metric's, or else the first."""
    for entry in entry_points(group="expkit.figures"):
        try:
            figure: Path | None = entry.load()(experiment, metric)
        except (ImportError, OSError, ValueError):  # damaged: the runs are what counts
            continue
        if figure is not None:
            return figure
    plots = experiment / "plots"
    return plots if plots.is_dir() else None
