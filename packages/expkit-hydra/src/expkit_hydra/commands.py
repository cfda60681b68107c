"""The commands of expkit-hydra and their parsers; `_verbs` has all but `cleanup`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ._check import check as check
from ._check import check_parser as check_parser
from ._console.screen import answered
from ._export import export as export
from ._export import export_parser as export_parser
from ._reproduce import reproduce as reproduce
from ._reproduce import reproduce_parser as reproduce_parser
from ._verbs.answers import ATTENTION, DONE, add_experiment, refuse, verb_parser
from ._verbs.best import best as best
from ._verbs.best import best_parser as best_parser
from ._verbs.compare import compare as compare
from ._verbs.compare import compare_parser as compare_parser
from ._verbs.listing import list_experiments as list_experiments
from ._verbs.listing import list_experiments_parser as list_experiments_parser
from ._verbs.means import table as table
from ._verbs.means import table_parser as table_parser
from ._verbs.show import show as show
from ._verbs.show import show_parser as show_parser
from ._verbs.status import status as status
from ._verbs.status import status_parser as status_parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._cleanup import Cleanup


def cleanup_parser() -> argparse.ArgumentParser:
    """The arguments of `cleanup`."""
    parser = verb_parser(
        "cleanup",
        cleanup,
        attention="a run that was to be removed stays",
    )
    add_experiment(parser)
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help="only these, by whole names; also completed ones"
    )
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


@answered
def cleanup(argv: Sequence[str]) -> int:
    """Remove runs that were not completed, or those named; without --yes only say which."""
    parser = cleanup_parser()
    arguments = parser.parse_intermixed_args(argv)
    if arguments.runs and (arguments.keep_resumable or arguments.older_than):
        parser.error("--keep-resumable and --older-than choose among all runs: name none")
    from . import _cleanup

    try:
        result = _cleanup.cleanup(
            arguments.experiment,
            arguments.runs,
            dry_run=not arguments.yes,
            keep_resumable=arguments.keep_resumable,
            older_than=arguments.older_than,
            purge=arguments.purge,
        )
    except (FileNotFoundError, LookupError) as error:
        return refuse(error)
    _print_cleanup(result, arguments.experiment, argv=argv)
    return ATTENTION if any(removal.kept is not None for removal in result.removals) else DONE


VERBS = {
    "list": list_experiments,
    "status": status,
    "show": show,
    "best": best,
    "table": table,
    "compare": compare,
    "cleanup": cleanup,
    "reproduce": reproduce,
    "export": export,
    "check": check,
}


def _age(text: str) -> object:
    from ._cleanup import parse_age

    try:
        return parse_age(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _print_cleanup(result: Cleanup, experiment: Path, *, argv: Sequence[str]) -> None:
    from ._console.command_lines import command_line, short_path
    from ._console.layout import Column, fitted_table, print_fitted
    from ._console.rows import row_of
    from ._console.screen import console
    from ._console.table import STYLES, progress_text
    from ._console.texts import size_text

    screen = console()
    removals = result.removals
    if removals:
        now = datetime.now(UTC)
        records = [removal.record for removal in removals]
        states = [record.state for record in records]
        columns = [
            Column("run", [record.run_name for record in records]),
            Column("state", states, styles=[STYLES[state] for state in states]),
            Column("epochs", [progress_text(row_of(record, now=now)) for record in records], 3),
            Column("newest checkpoint", [removal.checkpoint or "none" for removal in removals], 2),
            Column("size", [size_text(removal.size_bytes) for removal in removals], 1, True),
            Column("why it stays", [removal.kept or "" for removal in removals], 1, False, True),
        ]
        print_fitted(screen, fitted_table(columns, width=screen.width))
    moving = [removal.size_bytes for removal in removals if removal.kept is None]
    total = size_text(sum(moving))
    left_alone = ", ".join(f"{number} {state}" for state, number in result.left_alone.items())
    if left_alone:
        screen.print(f"left alone: {left_alone}")
    number = len(removals)
    if result.dry_run:
        number -= sum(removal.kept is not None for removal in removals)
    trash = short_path(experiment / ".trash")
    again = command_line("cleanup", *argv, "--yes")
    if number == 0:
        screen.print("nothing to remove")
    elif result.dry_run:
        screen.print(f"{number} to remove, {total}. Nothing was changed. To move them to {trash}:")
        screen.print(f"    {again}", markup=False, soft_wrap=True)
    else:
        moved = sum(removal.trash is not None for removal in removals)
        screen.print(f"{moved} of {number} moved to {trash}, {total}")
    going = [removal for removal in result.removals if removal.kept is None]
    if any(removal.record.state == "completed" for removal in going):
        screen.print("a sweep of the same grid trains completed runs that are removed anew")
    for line in result.trash_kept:
        screen.print(line, markup=False, soft_wrap=True)
    in_trash = size_text(result.trash_bytes)
    if result.purged:
        screen.print(f"trash emptied: {in_trash} freed")
    elif result.trash_bytes:
        screen.print(f"{in_trash} in the trash; --purge --yes frees them for good")
