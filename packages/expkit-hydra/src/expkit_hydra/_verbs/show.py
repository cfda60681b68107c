"""The verb `show`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from .._console.screen import answered
from .answers import DONE, add_experiment, add_run, refuse, verb_parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .run_details import SelectedRun


def show_parser() -> argparse.ArgumentParser:
    """The arguments of `show`."""
    parser = verb_parser(
        "show",
        show,
    )
    add_experiment(parser)
    add_run(parser)
    parser.add_argument(
        "--lines", type=_count, default=20, help="lines of training.log (default: 20)"
    )
    parser.add_argument(
        "--all", action="store_true", help="the whole configuration, with plotting, expkit, mlflow"
    )
    parser.add_argument(
        "--vscode",
        action="store_true",
        help="print only a .vscode/launch.json that repeats the run in VS Code's debugger",
    )
    return parser


@answered
def show(argv: Sequence[str]) -> int:
    """Show one run: configuration, error, last lines, and the command that repeats it."""
    arguments = show_parser().parse_args(argv)
    from .experiments import find_experiment
    from .run_details import find_run, launch_configuration

    try:
        selected = find_run(find_experiment(arguments.experiment), arguments.run)
        if arguments.vscode:
            launch = {"version": "0.2.0", "configurations": [launch_configuration(selected)]}
            print(json.dumps(launch, indent=4))
            return DONE
    except (FileNotFoundError, LookupError, ValueError) as error:
        return refuse(error)
    _print_run(selected, lines=arguments.lines, with_kit=arguments.all)
    return DONE


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines, 0 or more")
    return int(text)


def _print_run(selected: SelectedRun, *, lines: int, with_kit: bool) -> None:
    from expkit_bookkeeping.reading import change_since, continuation_text, used_runs

    from .._console.command_lines import short_path
    from .._console.screen import say, say_output
    from .._console.texts import duration_text, owner_text, value_text
    from .._running.output import CONSOLE_LOG
    from .run_details import config_text, debugger_command, last_lines

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
