"""What a sweep prints about its runs: before the first, as each ends, and when it stops."""

from __future__ import annotations

import os
import platform
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from .._grid.settings import GridSettings
from .._running.execution import RunOutcome
from .._running.output import CONSOLE_LOG
from .command_lines import again, command_line, short_path
from .layout import text_width
from .rows import Row, row_of
from .table import finished_line
from .texts import counts_text, error_line, owner_text, run_count, unlogged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rich.console import Console

    from expkit_bookkeeping import RunRecord

    from .._grid.grid import Grid
    from .._grid.run import GridRun


def announce(
    grid: Grid,
    runs: Sequence[GridRun],
    *,
    n_jobs: int,
    gpus: str = "",
    show_output: bool,
    screen: Console,
) -> None:
    """Say how many runs start, how many at a time and with what, and where their output goes."""
    if not runs:
        return
    how = "one after another"
    if n_jobs > 1:
        from .._running.processes import threads_each

        threads = threads_each(n_jobs)
        how = f"{n_jobs} at a time, {threads} thread{'' if threads == 1 else 's'} each"
    if gpus:
        how += f", {gpus}"
    screen.print("1 run" if len(runs) == 1 else f"{run_count(len(runs))}, {how}")
    if not show_output:
        folder = short_path(grid.experiment / "training")
        screen.print(
            f"output: {folder}/RUN/{CONSOLE_LOG}", style="dim", markup=False, soft_wrap=True
        )


def report_outcome(
    outcome: RunOutcome,
    position: int,
    runs: Sequence[GridRun],
    grid: Grid,
    *,
    settings: GridSettings,
    explained: dict[str, str],
    screen: Console,
) -> None:
    """Say at once how a run went; if it failed, why and where."""
    from expkit_bookkeeping import read_run
    from expkit_bookkeeping.launching import error_facts, without_known_secrets

    record = read_run(outcome.run.folder)
    row = Row(outcome.run.run_name, outcome.state)
    if record is not None and outcome.state != "skipped":
        from dataclasses import replace

        row = row_of(record, now=datetime.now(UTC), metric=settings.metric)
        row = replace(row, state=outcome.state)
    width = max(text_width(run.run_name) for run in runs)
    line = finished_line(position, len(runs), row, name_width=width, metric=settings.metric)
    screen.print(line, soft_wrap=True)
    if outcome.state == "completed" and record is not None:
        # Already after the first run: then stopping a long grid still saves something.
        missing = unlogged(settings.metric, [record])
        if missing is not None and explained.setdefault("metric", missing) is missing:
            screen.print(f"    {missing}", style="yellow", markup=False, soft_wrap=True)
    if outcome.state in ("completed", "interrupted"):
        return
    if outcome.owner is not None:
        screen.print(f"    {owner_text(outcome.owner)} has it", style="dim", markup=False)
        return
    reason = outcome.reason
    if outcome.error is not None and reason is None:
        reason = error_line(error_facts(outcome.error))
        frame = user_frame(outcome.error)
        if frame is not None:
            reason = f"{reason}\n{frame}"
    if reason is None and record is not None:
        reason = error_line(record.error)
    indent = " " * 4
    reason = without_known_secrets(reason or "")
    first = explained.setdefault(reason, outcome.run.run_name)
    if first != outcome.run.run_name and "\n" in reason:
        reason = f"{reason.partition(chr(10))[0]} (as {first})"
    for text in reason.splitlines():
        screen.print(indent + text, style="red", markup=False, soft_wrap=True)
    if outcome.state != "skipped":
        folder = short_path(outcome.run.folder)
        show = command_line("show", short_path(grid.experiment), outcome.run.run_name)
        screen.print(f"{indent}{folder}   ({show})", style="dim", markup=False, soft_wrap=True)


def runs_of_others(ended: Sequence[RunOutcome]) -> list[str]:
    """One line per other process that had some of the runs."""
    from expkit_bookkeeping import read_run
    from expkit_bookkeeping.launching import is_alive

    by_process: dict[tuple[object, ...], list[RunRecord]] = {}
    for record in (outcome.owner for outcome in ended):
        if record is not None:
            process = (record.host, record.pid, record.process_start)
            by_process.setdefault(process, []).append(record)
    lines = []
    for records in by_process.values():
        line = f"{run_count(len(records))} left to {owner_text(records[0])}."
        present = [read_run(record.folder) for record in records]
        if any(run is not None and run.state == "running" and is_alive(run) for run in present):
            line += " Wait for it, or stop it"
            is_here = records[0].host == platform.node()
            line += f": kill {records[0].pid}." if is_here else "."
        lines.append(line)
    return lines


def say_how_to_resume(
    ended: Sequence[RunOutcome], runs: Sequence[GridRun], *, screen: Console
) -> None:
    """Say how all runs stand, and which command continues."""
    from expkit_bookkeeping import read_run

    states = []
    for run in runs:
        record = read_run(run.folder)
        states.append("pending" if record is None else record.state)
    ended_states = {outcome.run.index: outcome.state for outcome in ended}
    states = [ended_states.get(run.index, state) for run, state in zip(runs, states, strict=True)]
    if any(run.job is not None for run in runs):  # whether it continues its sweeper decides
        screen.print(f"Stopped: {counts_text(states)}.", style="yellow")
        return
    command = again()
    advice = "The same call continues." if command is None else "The same command continues:"
    screen.print(f"Stopped: {counts_text(states)}. {advice}", style="yellow")
    if command is not None:
        screen.print(f"    {command}", markup=False, soft_wrap=True)


def user_frame(error: BaseException, project: Path | None = None) -> str | None:
    """Where in the user's code an error came from: the innermost frame below a folder.

    Args:
        error: The error.
        project: The folder; None is the working directory. If no frame is in it, the innermost
            frame of all is taken.
    """
    root = str(project or Path.cwd())
    try:
        frames = traceback.extract_tb(error.__traceback__)
    except Exception:  # of a module's own loader, asked for its source
        return None
    own = [frame for frame in frames if frame.filename.startswith(f"{root}{os.sep}")]
    own = [frame for frame in own if f"{os.sep}site-packages{os.sep}" not in frame.filename]
    for frame in reversed(own or frames):
        return f"{frame.filename.removeprefix(root + os.sep)}:{frame.lineno} in {frame.name}"
    return None
