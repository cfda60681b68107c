"""The commands `expkit status`, `show` and `cleanup`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from ._console.screen import answered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._cleanup import Cleanup
    from ._console.rows import Row
    from ._console.run_details import SelectedRun


@answered
def status(argv: Sequence[str]) -> int:
    """List the runs of an experiment: state, progress, best metric; changes nothing."""
    arguments = status_parser().parse_args(argv)
    from ._cleanup import find_experiment
    from ._console.rows import most_telling
    from ._console.screen import console
    from ._console.table import run_table
    from ._console.texts import counts_text

    try:
        experiment = find_experiment(arguments.experiment)
    except FileNotFoundError as error:
        return _refuse(error)
    rows, metric, maximize, skipped = _rows(experiment)
    if arguments.json:
        from expkit_bookkeeping.launching import json_data

        runs = [json_data(asdict(row)) for row in rows]
        print(json.dumps({"skipped by rule": skipped, "runs": runs}, allow_nan=False))
        return 0
    screen = console()
    listed, hidden = (rows, 0) if arguments.all else most_telling(rows, maximize=maximize)
    if rows:
        screen.print(run_table(listed, metric=metric, maximize=maximize))
    if hidden:
        screen.print(f"… and {hidden} more (--all)")
    summary = counts_text(row.state for row in rows) or "no runs yet"
    screen.print(summary + (f", {skipped} skipped by rule" if skipped else ""))
    styles = {row.advice: "red" if row.is_blocked else None for row in rows if row.advice}
    for advice, style in styles.items():
        screen.print(advice, style=style, markup=False, soft_wrap=True)
    return 0


@answered
def show(argv: Sequence[str]) -> int:
    """Show one run: configuration, error, last lines, and the command that repeats it."""
    arguments = show_parser().parse_args(argv)
    from ._cleanup import find_experiment
    from ._console.run_details import find_run

    try:
        selected = find_run(find_experiment(arguments.experiment), arguments.run)
    except (FileNotFoundError, LookupError, ValueError) as error:
        return _refuse(error)
    _print_run(selected, lines=arguments.lines, with_kit=arguments.all)
    return 0


@answered
def cleanup(argv: Sequence[str]) -> int:
    """Remove runs that were not completed, with their folders; without --yes only say which."""
    arguments = cleanup_parser().parse_args(argv)
    from . import _cleanup

    try:
        result = _cleanup.cleanup(
            arguments.experiment,
            dry_run=not arguments.yes,
            keep_resumable=arguments.keep_resumable,
            older_than=arguments.older_than,
            purge=arguments.purge,
        )
    except FileNotFoundError as error:
        return _refuse(error)
    _print_cleanup(result, arguments.experiment, argv=argv)
    return 1 if any(removal.kept is not None for removal in result.removals) else 0


VERBS = {"status": status, "show": show, "cleanup": cleanup}


def status_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit status`."""
    parser = _parser("status", status)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--all", action="store_true", help="one line per run, however many there are"
    )
    return parser


def show_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit show`."""
    parser = _parser("show", show)
    parser.add_argument(
        "run", metavar="RUN", help="a name, a unique part of one, or a number in the latest grid"
    )
    parser.add_argument(
        "--lines", type=_count, default=20, help="lines of training.log (default: 20)"
    )
    parser.add_argument(
        "--all", action="store_true", help="the whole configuration, with plotting, expkit, mlflow"
    )
    return parser


def cleanup_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit cleanup`."""
    parser = _parser("cleanup", cleanup)
    parser.add_argument("--yes", action="store_true", help="do it: move them to .trash/")
    parser.add_argument(
        "--keep-resumable", action="store_true", help="keep runs that have a checkpoint"
    )
    parser.add_argument(
        "--older-than", metavar="AGE", type=_age, help="only runs that ended so long ago: 12h, 2d"
    )
    parser.add_argument(
        "--purge", action="store_true", help="also delete what is in .trash/ for good"
    )
    return parser


def _parser(verb: str, command: object) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"expkit {verb}", description=command.__doc__)
    parser.add_argument(
        "experiment", metavar="results/EXPERIMENT", type=Path, help="the experiment's folder"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines, 0 or more")
    return int(text)


def _age(text: str) -> object:
    from ._cleanup import parse_age

    try:
        return parse_age(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _refuse(error: Exception) -> int:
    from ._console.screen import say

    say(str(error), sys.stderr)
    return 2


def _rows(experiment: Path) -> tuple[list[Row], str | None, bool, int]:
    """One row per run, those of the latest grid first; metric; whether more is better; skipped."""
    from expkit_bookkeeping import find_runs

    from ._console.rows import row_of, rows_of, with_reports
    from ._grid.contents import sweep_runs
    from ._grid.grid import read_grid
    from ._grid.schedulers import ask_schedulers

    now = datetime.now(UTC)
    view = ask_schedulers(experiment)
    records = find_runs(experiment, is_alive=view.is_alive)
    try:
        grid = read_grid(experiment)
        runs, description = sweep_runs(grid), grid.description
        records = grid.records_of(records)
    except FileNotFoundError:
        return [row_of(record, now=now) for record in records], None, True, 0
    except ValueError as error:  # the runs can be listed nevertheless
        _refuse(error)
        return [row_of(record, now=now) for record in records], None, True, 0
    metric = description.get("metric")
    rows, skipped = rows_of(runs, records, now=now, metric=metric)
    listed = {row.run_name for row in rows}
    others = [record for record in records if record.run_name not in listed]
    rows += [row_of(record, now=now, metric=metric) for record in others]
    rows = with_reports(rows, view.report(runs, records))
    return rows, metric, description.get("direction") != "minimize", skipped


def _print_run(selected: SelectedRun, *, lines: int, with_kit: bool) -> None:
    from expkit_bookkeeping.reading import change_since, continuation_text, used_runs

    from ._console.command_lines import short_path
    from ._console.run_details import config_text, debugger_command, last_lines
    from ._console.screen import say, say_output
    from ._console.texts import duration_text, owner_text, value_text
    from ._running.output import CONSOLE_LOG

    record, report, state = selected.record, selected.report, selected.state
    say(f"{selected.run_name}: {state}")
    say(f"folder: {short_path(selected.folder)}")
    if report is not None and report.job is not None:
        say("; ".join(filter(None, (f"job: {report.job}", report.advice))))
    if record is not None:
        say(f"attempt {record.attempt}, {duration_text(record.elapsed_s)}, {owner_text(record)}")
        say(f"started {record.started_at}, ended {record.ended_at or '—'}")
        if record.continued:
            say(f"continued: {continuation_text(record.continued)}")
        if record.best:
            best = record.best
            number = best.get("value")
            text = value_text(number) if isinstance(number, int | float) else str(number)
            say(f"best {best.get('metric')}: {text} at step {best.get('step')}")
        for use in used_runs(record):
            change = change_since(use, record)
            text = f"built on {use.name}, attempt {use.attempt}, {use.checkpoint}"
            say(text if change is None else f"{text}: {change}")
        if record.reason is not None:
            say(record.reason)
    config = config_text(selected, with_kit=with_kit)
    if config is not None:
        say(f"\n--- configuration\n{config}")
    if record is not None and record.error:
        trace = record.error.get("traceback")
        plain = f"{record.error.get('type')}: {record.error.get('message')}"
        say(f"\n--- error\n{str(trace or plain).rstrip()}")
    for name in ("training.log", CONSOLE_LOG):
        tail = last_lines(selected.folder / name, lines)
        # The console's log mostly repeats the other, but a crash of the interpreter is only there.
        if tail and (name != CONSOLE_LOG or state in ("lost", "running")):
            say(f"\n--- last lines of {short_path(selected.folder / name)}")
            say_output("\n".join(tail))
    command = debugger_command(selected)
    if command is not None:
        say(f"\n--- again, in a debugger\n{command}")
        if state == "completed":  # a single run is never skipped, and takes the folder
            print("moves this completed run to .trash; append results_dir=debug to leave it here")


def _print_cleanup(result: Cleanup, experiment: Path, *, argv: Sequence[str]) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from ._console.command_lines import command_line, short_path
    from ._console.rows import row_of
    from ._console.screen import console
    from ._console.table import STYLES, progress_text
    from ._console.texts import size_text

    screen = console()
    if result.removals:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for header in ("run", "state", "epochs", "newest checkpoint", "size", ""):
            table.add_column(header, justify="right" if header == "size" else "left")
        now = datetime.now(UTC)
        for removal in result.removals:
            record = removal.record
            table.add_row(
                escape(record.run_name),
                f"[{STYLES[record.state]}]{record.state}[/]",
                progress_text(row_of(record, now=now)),
                removal.checkpoint or "none",
                size_text(removal.size_bytes),
                escape(removal.kept or ""),
            )
        screen.print(table)
    moving = [removal.size_bytes for removal in result.removals if removal.kept is None]
    total = size_text(sum(moving))
    left_alone = ", ".join(f"{number} {state}" for state, number in result.left_alone.items())
    if left_alone:
        screen.print(f"left alone: {left_alone}")
    number = len(result.removals)
    if result.dry_run:
        number -= sum(removal.kept is not None for removal in result.removals)
    trash = short_path(experiment / ".trash")
    again = command_line("cleanup", *argv, "--yes")
    if number == 0:
        screen.print("nothing to remove")
    elif result.dry_run:
        screen.print(f"{number} to remove, {total}. Nothing was changed. To move them to {trash}:")
        screen.print(f"    {again}", markup=False, soft_wrap=True)
    else:
        moved = sum(removal.trash is not None for removal in result.removals)
        screen.print(f"{moved} of {number} moved to {trash}, {total}")
    for line in result.trash_kept:
        screen.print(line, markup=False, soft_wrap=True)
    in_trash = size_text(result.trash_bytes)
    if result.purged:
        screen.print(f"trash emptied: {in_trash} freed")
    elif result.trash_bytes:
        screen.print(f"{in_trash} in the trash; --purge --yes frees them for good")
