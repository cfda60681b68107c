"""The command `expkit reproduce`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ._console.screen import answered
from ._verbs.answers import (
    ATTENTION,
    DONE,
    add_experiment,
    add_run,
    print_json,
    refuse,
    verb_parser,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._reproducing.reproduction import Reproduction

DEFAULT_FOLDER = Path("reproduced")


def reproduce_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit reproduce`."""
    parser = verb_parser(
        "reproduce", reproduce, attention="the folder is there, and lines say what is not as it was"
    )
    add_experiment(parser)
    add_run(parser)
    parser.add_argument(
        "--to",
        metavar="DIR",
        type=Path,
        help=f"the new folder (default: {DEFAULT_FOLDER}/RUN)",
    )
    parser.add_argument(
        "--repository",
        metavar="DIR",
        type=Path,
        help="a clone that has the commit, if the project is no longer where it was",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    return parser


@answered
def reproduce(argv: Sequence[str]) -> int:
    """Make a folder with a run's code, configuration and command, to train it again."""
    arguments = reproduce_parser().parse_args(argv)
    from ._reproducing.reproduction import make_reproduction
    from ._verbs.experiments import find_experiment
    from ._verbs.run_details import find_run

    try:
        experiment = find_experiment(arguments.experiment)
        selected = find_run(experiment, arguments.run)
        if selected.record is None:
            raise LookupError(
                f"Run {selected.run_name!r} was never started: there is nothing to reproduce."
            )
        target = arguments.to or DEFAULT_FOLDER / selected.folder.name
        is_first = not DEFAULT_FOLDER.exists()
        repositories = [] if arguments.repository is None else [arguments.repository]
        made = make_reproduction(selected.record, experiment, target, repositories=repositories)
    except (FileExistsError, FileNotFoundError, LookupError) as error:
        return refuse(error)
    if is_first and target.parent == DEFAULT_FOLDER:  # git sees nothing in it
        (DEFAULT_FOLDER / ".gitignore").write_text("*\n")
    if arguments.json:
        print_json(_as_data(made))
    else:
        _print(made)
    return ATTENTION if made.missing else DONE


def _as_data(made: Reproduction) -> dict[str, object]:
    return {
        "folder": str(made.folder),
        "script": None if made.script is None else str(made.script),
        "commit": made.commit,
        "same": list(made.same),
        "missing": list(made.missing),
        "notes": list(made.notes),
    }


def _print(made: Reproduction) -> None:
    import shlex

    from ._console.command_lines import short_path
    from ._console.screen import say

    say(f"{short_path(made.folder)}/")
    for text in made.same:
        say(f"  as it was: {text}")
    if made.missing:
        say("could not bring back:")
        for text in made.missing:
            say(f"  {text}")
    for text in made.notes:
        say(text)
    if made.script is not None:
        say(f"to train it again:\n    sh {shlex.quote(short_path(made.script))}")
