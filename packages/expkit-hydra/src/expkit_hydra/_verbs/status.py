"""The verb `status`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict

from .._console.screen import answered, console, say
from .answers import ATTENTION, DONE, add_experiment, print_json, refuse, verb_parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .overview import Overview


def status_parser() -> argparse.ArgumentParser:
    """The arguments of `status`."""
    parser = verb_parser(
        "status",
        status,
        attention="a run has failed or was interrupted, is lost, or will never start by itself",
    )
    add_experiment(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--all", action="store_true", help="one line per run, however many there are"
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="show it again and again until all runs are over; where output is no terminal, one "
        "line for each run that starts or ends",
    )
    parser.add_argument(
        "--interval",
        metavar="S",
        type=_seconds,
        default=2.0,
        help="seconds between two looks of --watch (default: 2)",
    )
    return parser


@answered
def status(argv: Sequence[str]) -> int:
    """List the runs of an experiment: state, progress, best metric; changes nothing."""
    parser = status_parser()
    arguments = parser.parse_args(argv)
    if arguments.json and arguments.watch:
        parser.error("--watch shows tables and lines; for JSON call status again and again")
    from .experiments import find_experiment
    from .overview import look

    try:
        experiment = find_experiment(arguments.experiment)
    except FileNotFoundError as error:
        return refuse(error)
    if arguments.watch:
        from .watching import watch

        overview = watch(lambda: look(experiment), interval_s=arguments.interval)
    else:
        overview = look(experiment)
    if overview.problem is not None:
        say(overview.problem, sys.stderr)
    if arguments.json:
        print_json(_json(overview))
    else:
        _print(overview, with_all=arguments.all)
    return ATTENTION if overview.needs_attention else DONE


def _json(overview: Overview) -> dict[str, object]:
    return {
        "metric": overview.metric,
        "direction": overview.direction,
        "skipped by rule": overview.skipped,
        "runs": [asdict(row) for row in overview.rows],
    }


def _print(overview: Overview, *, with_all: bool) -> None:
    from .._console.rows import most_telling
    from .._console.table import print_runs

    screen = console()
    rows, maximize = overview.rows, overview.maximize
    listed, hidden = (rows, 0) if with_all else most_telling(rows, maximize=maximize)
    if rows:
        print_runs(
            screen, listed, metric=overview.metric, maximize=maximize, elsewhere="see --json"
        )
    if hidden:
        screen.print(f"… and {hidden} more (--all)")
    screen.print(overview.summary, markup=False)
    for advice, style in overview.advice.items():
        screen.print(advice, style=style, markup=False, soft_wrap=True)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0.1 or more")
    return seconds
