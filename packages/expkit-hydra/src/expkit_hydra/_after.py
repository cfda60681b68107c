"""During and after the runs: tracking, results.csv, figures, the table, and where it all is.

The siblings that do the work are commands, run as subprocesses if they are installed; none of
their failures is fatal, because the runs are what counts.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ._aftermath import have_succeeded, record_success
from ._console import again, command_line, installed_verbs, short_path, tolerant_console
from ._objective import unlogged
from ._schedulers import ask_schedulers
from ._settings import GridSettings, grid_settings
from ._table import counts_text, most_telling, row_of, rows_of, run_table, with_reports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from omegaconf import DictConfig
    from rich.console import Console

    from expkit_bookkeeping import RunRecord

    from ._grid import Grid
    from ._schedulers import SchedulerReport

_MOST_COMPLAINTS = 5  # of the last lines of a command's stderr
_DRAIN_TIMEOUT_S = 120  # a tracking server that hangs must not keep the prompt forever


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
        synchronised: Whether `sync` succeeded during the runs, to their end. If it failed, it is
            not tried again at once. None: it did not run.
        command: The command that runs the grid again; None takes this process's command line.
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
            complaints, succeeded = _run_verbs(verbs, folder, screen=screen)
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
        rows, skipped = rows_of(grid.runs, records, now=now, metric=settings.metric)
        rows = with_reports(rows, reports)
    listed, hidden = most_telling(rows, maximize=settings.maximize)
    screen.print(run_table(listed, metric=settings.metric, maximize=settings.maximize))
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
    lines.append(("run again", again(command)))
    return lines


def _subprocess_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    environ = os.environ if environ is None else environ
    return {key: value for key, value in environ.items() if key != "EXPKIT_GRID"}


class TrackingSync:
    """`expkit sync --follow` during the runs: one writer for the embedded tracking store.

    A context manager. The subprocess starts as soon as there is something to synchronise:
    starting it costs a second of imports, which a script without tracking should not pay.
    """

    def __init__(self, experiment: Path, *, wanted: bool) -> None:
        self._experiment = experiment
        self._package = installed_verbs().get("sync") if wanted else None
        self._process: subprocess.Popen[bytes] | None = None
        self._next_poll_s = 0.0

    def __enter__(self) -> TrackingSync:
        # A script that has imported the sibling is about to use it.
        if self._package is not None and self._package in sys.modules:
            self._start()
        else:
            self.poll()
        return self

    def poll(self) -> None:
        """Start the subprocess if a run has a journal by now.

        Called after each run, this asks about all of them: the longer it takes, the less often.
        """
        begin_s = time.monotonic()
        if self._package is None or self._process is not None or begin_s < self._next_poll_s:
            return
        if _has_journal(self._experiment):
            self._start()
        end_s = time.monotonic()
        self._next_poll_s = end_s + 20 * (end_s - begin_s)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._next_poll_s = 0.0
        self.poll()
        if self._process is None:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # the subprocess drains what is left, and ends
        try:
            self._process.wait(_DRAIN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()

    @property
    def complete(self) -> bool:
        """Whether everything was synchronised when the block ended."""
        return self._process is not None and self._process.returncode == 0

    def failure(self) -> str | None:
        """Why tracking is not synchronised, after the block; None if it is."""
        if self._process is None or self.complete:
            return None
        folder = short_path(self._experiment)
        return (
            f"sync ended with exit code {self._process.returncode}; the journals are complete. "
            f"Again: {command_line('sync', folder)}"
        )

    def _start(self) -> None:
        assert self._package is not None
        command = [sys.executable, "-m", self._package, "sync", str(self._experiment), "--follow"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=_subprocess_environment(),
            # Ctrl-C goes to the whole foreground group, and this process has to drain first.
            start_new_session=True,
        )


def _run_verbs(verbs: Sequence[str], folder: Path, *, screen: Console) -> tuple[list[str], bool]:
    """Run commands one after another; returns their complaints, and whether all succeeded."""
    installed = installed_verbs()
    notes = []
    succeeded = True
    for verb in verbs:
        has_work = {"sync": _has_journal, "plot": _has_metrics}[verb]
        if verb not in installed or not has_work(folder):
            continue
        with screen.status(f"{verb} …"):
            completed = subprocess.run(
                [sys.executable, "-m", installed[verb], verb, str(folder)],
                env=_subprocess_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        complaints = completed.stderr.strip().splitlines()[-_MOST_COMPLAINTS:]
        notes += [f"{verb}: {line}" for line in complaints]
        if completed.returncode != 0:
            succeeded = False
            notes.append(
                f"{verb} ended with exit code {completed.returncode}; the runs are not affected. "
                f"Again: {command_line(verb, short_path(folder))}"
            )
    return notes, succeeded


def _has_journal(experiment: Path) -> bool:
    return _some_run_has("tracking.jsonl", experiment)


def _has_metrics(experiment: Path) -> bool:
    return _some_run_has("metrics.jsonl", experiment)


def _some_run_has(name: str, experiment: Path) -> bool:
    with contextlib.suppress(OSError), os.scandir(experiment / "training") as entries:
        return any(os.path.exists(f"{entry.path}/{name}") for entry in entries)  # noqa: PTH110
    return False


def _one_plot(plots: Path, metric: str | None) -> Path | None:
    """The figure to point to: the one of the metric, or else the first."""
    if not plots.is_dir():
        return None
    figures = sorted(plots.glob("*.png")) or sorted(plots.glob("*.pdf"))
    named = [figure for figure in figures if metric is not None and figure.stem == metric]
    return (named or figures or [plots])[0]
