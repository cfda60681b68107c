"""The command `expkit export`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ._console.screen import answered
from ._verbs.answers import ATTENTION, DONE, add_experiment, print_json, refuse, verb_parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._exporting.selection import Selection

MOST_NAMED = 10
README = """# {name}

An experiment of expkit (`pip install expkit`). results.csv, the figures in plots/ and each run's
metrics.jsonl and logs can be read without it.

```console
$ expkit status {name}
$ expkit plot {name}
```
```python
from expkit_bookkeeping import Run, find_runs, results
results("{name}")                          # one row per run
Run("{name}", "NAME").load_model(model, "best")
```
"""


def export_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit export`."""
    parser = verb_parser("export", export, attention="it is written, and lines say what is missing")
    add_experiment(parser)
    parser.add_argument(
        "--to", metavar="FILE.zip", type=Path, help="the file (default: EXPERIMENT.zip here)"
    )
    parser.add_argument(
        "--all", action="store_true", help="all checkpoints, not only the best of each run"
    )
    parser.add_argument(
        "--follow-links",
        action="store_true",
        help="take runs and files that are links out of the experiment",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    return parser


@answered
def export(argv: Sequence[str]) -> int:
    """Write an experiment into a zip for a colleague: all but secrets and old checkpoints."""
    arguments = export_parser().parse_args(argv)
    from expkit_bookkeeping import find_runs
    from expkit_bookkeeping.launching import results_csv

    from ._exporting.archive import write_archive
    from ._exporting.selection import select
    from ._grid.schedulers import ask_schedulers
    from ._verbs.experiments import find_experiment

    try:
        experiment = find_experiment(arguments.experiment)
        records = find_runs(experiment, is_alive=ask_schedulers(experiment).is_alive)
        selection = select(
            experiment, records, all_states=arguments.all, follow_links=arguments.follow_links
        )
        name = _name(experiment)
        target = arguments.to or Path(f"{name}.zip")
        exported = {member.name.split("/")[1] for member in selection.members
                    if member.name.startswith("training/")}  # fmt: skip
        records = [record for record in records if record.folder.name in exported]
        texts = {"results.csv": results_csv(experiment, records), "README.md": _readme(name)}
        size_bytes = sum(member.size_bytes for member in selection.members)
        with _progress(size_bytes) as advance:
            unreadable = write_archive(
                target, name, selection.members, texts, replace=arguments.force, advance=advance
            )
    except (FileExistsError, FileNotFoundError) as error:
        return refuse(error)
    selection.left_out += unreadable
    _report(target, [record.state for record in records], selection, as_json=arguments.json)
    return ATTENTION if selection.left_out else DONE


def _name(experiment: Path) -> str:
    folder = experiment.absolute()
    return folder.parent.name if folder.name == ".expkit" else folder.name


def _readme(name: str) -> str:
    return README.replace("{name}", name)


@contextlib.contextmanager
def _progress(size_bytes: int) -> Iterator[Callable[[int], None]]:
    """A line on a terminal's stderr while much is written."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    screen = Console(file=sys.stderr)
    columns = ("Exporting", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=screen, transient=True, disable=not screen.is_terminal
    ) as progress:
        task = progress.add_task("Exporting", total=size_bytes)
        yield lambda number: progress.update(task, advance=number)


def _report(target: Path, states: Sequence[str], selection: Selection, *, as_json: bool) -> None:
    from ._console.command_lines import short_path
    from ._console.screen import say
    from ._console.texts import counts_text, run_count, size_text

    checkpoints = selection.checkpoints
    spare_bytes = sum(member.size_bytes for member in checkpoints)
    if as_json:
        answer = {
            "file": str(target),
            "runs": len(states),
            "files": len(selection.members),
            "size_bytes": target.stat().st_size,
            "checkpoints_left_out": len(checkpoints),
            "left_out": selection.left_out,
        }
        print_json(answer)
        return
    runs = f"{run_count(len(states))} ({counts_text(states)})" if states else "no runs"
    size = size_text(target.stat().st_size)
    say(f"{short_path(target)}: {runs}, {len(selection.members)} files, {size}")
    if checkpoints:
        number = "1 checkpoint" if len(checkpoints) == 1 else f"{len(checkpoints)} checkpoints"
        say(f"without {number} to resume from ({size_text(spare_bytes)}); --all takes them")
    for text in selection.left_out[:MOST_NAMED]:
        say(f"left out: {text}")
    if len(selection.left_out) > MOST_NAMED:
        say(f"left out: {len(selection.left_out) - MOST_NAMED} more")
