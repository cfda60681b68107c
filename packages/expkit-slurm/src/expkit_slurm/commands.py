"""The commands `expkit wait`, `logs`, `cancel`, `retry`, `train` and `slurm-script`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import SlurmError

if TYPE_CHECKING:
    from rich.console import Console

    from expkit_hydra.launching import SelectedRun

    from ._manager import SlurmManager
    from ._status import RunStatus

OWN_OPTIONS = ("--state", "--wait", "-h", "--help")  # of `retry`, beside sbatch's
TO_COME = ("pending", "running")  # states of runs that are going to print something
# What a missing file, a wrong name or Slurm's refusal is told in one text for.
_REFUSED = (SlurmError, FileNotFoundError, LookupError, ValueError)


def wait(argv: Sequence[str]) -> int:
    """Wait for the runs that were submitted to Slurm; ends with results, figures and a table."""
    parser = _parser("wait", wait)
    parser.add_argument("--timeout", metavar="S", type=float, help="seconds; default: for ever")
    arguments = parser.parse_args(argv)
    from expkit_hydra.launching import console

    from ._display import Display
    from .finish import finish

    screen = console()
    try:
        manager = _attach(arguments.experiment)
        total = sum(run.skipped_by is None for run in manager.grid.runs)
        with Display(screen, total=total) as display:
            statuses = manager.wait(arguments.timeout, show=display.show)
    except KeyboardInterrupt:
        screen.print("The jobs go on.", style="yellow")
        return 130
    except _REFUSED as error:
        return _refuse(error)
    if not all(each.is_over for each in statuses):
        screen.print("The time is over; the jobs go on.", style="yellow")
    else:
        finish(manager.grid, unless_done=True)
    _list_unfinished(statuses, screen)
    return 0 if all(each.is_good for each in statuses) else 1


def logs(argv: Sequence[str]) -> int:
    """Show what a run printed, and what Slurm wrote about it; --follow goes on."""
    parser = _parser("logs", logs)
    parser.add_argument("run", metavar="RUN", help="a name, a unique part of one, or a number")
    parser.add_argument("--lines", "-n", type=int, default=30, help="last lines (default: 30)")
    parser.add_argument("--follow", "-f", action="store_true", help="show what is added")
    arguments = parser.parse_args(argv)
    from expkit_hydra.launching import last_lines, short_path

    try:
        found = _find(arguments.experiment, arguments.run)
        paths = _logs_of(found)
    except _REFUSED as error:
        return _refuse(error)
    if not paths:
        print(_why_nothing(found))
        if found.state not in TO_COME:
            return 1
    for path in paths:
        print(f"--- {short_path(path)}")
        print("\n".join(last_lines(path, arguments.lines)))
    if arguments.follow:
        try:
            _follow(found)
        except KeyboardInterrupt:
            return 130
    return 0


def cancel(argv: Sequence[str]) -> int:
    """Cancel an experiment's jobs, or those of some runs; the last checkpoints are kept."""
    parser = _parser("cancel", cancel)
    parser.add_argument("runs", metavar="RUN", nargs="*", help="default: all")
    arguments = parser.parse_args(argv)
    try:
        manager = _attach(arguments.experiment)
        names = [_find(arguments.experiment, text).run_name for text in arguments.runs]
        jobs = manager.cancel(names or None)
    except _REFUSED as error:
        return _refuse(error)
    if not jobs:
        print("Nothing of it is in Slurm's queue.")
        return 0
    some = ", ".join(jobs[:8]) + (", …" if len(jobs) > 8 else "")
    print(f"cancelled {len(jobs)} task{'s' if len(jobs) > 1 else ''}: {some}")
    return 0


def retry(argv: Sequence[str]) -> int:
    """Submit runs again that did not complete; options such as --mem 32G --time 4:00:00 change."""
    from ._manager import AGAIN

    parser = _parser("retry", retry)
    parser.epilog = "Any other option is sbatch's, and holds for these runs: --mem 32G"
    parser.add_argument("runs", metavar="RUN", nargs="*", help="default: all in these states")
    parser.add_argument(
        "--state",
        type=lambda text: text.split(","),
        default=list(AGAIN),
        help=f"states, separated by commas (default: {','.join(AGAIN)})",
    )
    parser.add_argument("--wait", action="store_true", help="wait for them")
    words, options = _split_options(argv)
    arguments = parser.parse_args(words)
    from ._options import parse_arguments
    from .finish import has_aftermath

    try:
        changes = parse_arguments(options)
        manager = _attach(arguments.experiment)
        names = [_find(arguments.experiment, text).run_name for text in arguments.runs]
        submission = manager.retry(
            arguments.state,
            runs=names or None,
            say=print,
            finaliser=not arguments.wait and has_aftermath(manager.grid),
            options=changes,
        )
    except _REFUSED as error:
        return _refuse(error)
    if submission is None:
        print(f"No run is {' or '.join(arguments.state)}.")
        return 0
    return wait([str(arguments.experiment)]) if arguments.wait else 0


def train(argv: Sequence[str]) -> int:
    """Run one run of a grid here, without Slurm, to debug it."""
    parser = _parser("train", train)
    parser.add_argument("run", metavar="RUN", help="a name, a unique part of one, or a number")
    arguments = parser.parse_args(argv)
    from ._submission import Order
    from .training import SlurmTraining

    try:
        found = _find(arguments.experiment, arguments.run)
        if found.grid is None or found.run is None:
            raise LookupError(
                f"{found.run_name} is in no grid; `expkit show` says how to repeat it."
            )
        if found.record is not None and found.record.state == "completed":
            print(_completed(found), file=sys.stderr)
            return 1
        known = _known(found)
        order = Order(found.run.index, known=known)
        training = SlurmTraining(found.grid.path, [order], show_output=True)
        return training.run()
    except _REFUSED as error:
        return _refuse(error)
    except KeyboardInterrupt:
        return 130


def slurm_script(argv: Sequence[str]) -> int:
    """Print a batch script for gpu_scripts/grid_search_array.sh, to be made one's own."""
    argparse.ArgumentParser(
        prog="expkit slurm-script", description=slurm_script.__doc__
    ).parse_args(argv)
    from ._script import default_script

    print(default_script().read_text(encoding="utf-8"), end="")
    return 0


VERBS = {
    "wait": wait,
    "logs": logs,
    "cancel": cancel,
    "retry": retry,
    "train": train,
    "slurm-script": slurm_script,
}


def _parser(verb: str, command: object) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"expkit {verb}", description=command.__doc__)
    parser.add_argument(
        "experiment", metavar="results/EXPERIMENT", type=Path, help="the experiment's folder"
    )
    return parser


def _split_options(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own words, and sbatch's options with their values, which argparse would take for runs.

    >>> _split_options(["results/digits", "--mem", "32G", "--state=lost", "--exclusive"])
    (['results/digits', '--state=lost'], ['--mem', '32G', '--exclusive'])
    """
    own: list[str] = []
    others: list[str] = []
    from ._options import FLAGS

    flags = {"--wait", "-h", "--help", *(f"--{name}" for name in FLAGS)}
    words = iter(argv)
    for word in words:
        option, has_value, _ = word.partition("=")
        target = own if not word.startswith("-") or option in OWN_OPTIONS else others
        target.append(word)
        if word.startswith("-") and not has_value and option not in flags:
            target.extend(next(([value] for value in words), []))
    return own, others


def _attach(experiment: Path) -> SlurmManager:
    from ._manager import SlurmManager

    return SlurmManager.attach(experiment)


def _find(experiment: Path, text: str) -> SelectedRun:
    from expkit_hydra.launching import find_experiment, find_run

    return find_run(find_experiment(experiment), text)


def _known(found: SelectedRun) -> frozenset[Any]:
    """The run's present state: what changes it from now on is somebody else's doing."""
    from expkit_hydra.launching import run_versions

    if found.record is None or found.run is None:
        return frozenset()
    return run_versions([found.run], [found.record]).get(found.run.index, frozenset())


def _completed(found: SelectedRun) -> str:
    """That a run has been done, and how to do it again beside it."""
    from expkit_hydra.launching import debugger_command

    assert found.record is not None
    text = f"{found.run_name} is completed already, since {found.record.ended_at}."
    command = debugger_command(found)
    if command is None:
        return f"{text} `expkit cleanup` leaves it; move its folder away to train it anew."
    return (
        f"{text} To run it again, in a debugger and in a folder of its own:\n"
        f"    {command} results_dir=debug"
    )


def _logs_of(found: SelectedRun) -> list[Path]:
    """The file that the run printed to, and Slurm's own of its task; else its training.log."""
    from expkit_hydra.launching import CONSOLE_LOG

    from ._placements import all_placements, key_of, newest
    from ._submission import find_submissions

    paths = [found.folder / CONSOLE_LOG]
    if found.run is not None and found.grid is not None:
        places = newest(all_placements(find_submissions(found.grid.experiment)))
        place = places.get(key_of(found.run))
        if place is not None and place.log is not None:
            paths.append(place.log)
    # A single run prints to its console.
    return [path for path in paths if path.is_file()] or [
        path for path in (found.folder / "training.log",) if path.is_file()
    ]


def _why_nothing(found: SelectedRun) -> str:
    """That a run has printed nothing, its state, and what to do."""
    from expkit_hydra.launching import command_line, short_path

    from ._manager import AGAIN

    job = None if found.report is None else found.report.job
    why = found.state + (f" ({job})" if job else "")
    said = f"{found.run_name} has printed nothing"
    if found.state in TO_COME:
        return f"{said} yet: {why}. --follow waits for it."
    if found.grid is None:
        return f"{said} that was kept: {why}."
    folder = short_path(found.grid.experiment)
    if found.state in AGAIN:
        return f"{said}: {why}. `{command_line('retry', folder, found.run_name)}` submits it again."
    show = command_line("show", folder, found.run_name)
    return f"{said}: {why}. `{show}` shows its configuration, and the command that runs it."


def _follow(found: SelectedRun, interval_s: float = 0.5) -> None:
    sizes = {path: path.stat().st_size for path in _logs_of(found)}
    while True:
        time.sleep(interval_s)
        for path in _logs_of(found):
            with path.open("rb") as file:
                file.seek(sizes.get(path, 0))
                added = file.read()
            sizes[path] = sizes.get(path, 0) + len(added)
            if added:
                print(added.decode("utf-8", "replace"), end="", flush=True)


def _list_unfinished(statuses: Sequence[RunStatus], screen: Console) -> None:
    from ._display import failure_line

    for each in statuses:
        if each.is_over and not each.is_good:
            screen.print(failure_line(each), style="red", markup=False, soft_wrap=True)


def _refuse(error: Exception) -> int:
    print(error, file=sys.stderr)
    return 2
