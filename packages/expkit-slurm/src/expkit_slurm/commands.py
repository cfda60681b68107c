"""The commands `expkit wait`, `logs`, `cancel`, `retry`, `train` and `slurm-script`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from expkit_hydra.launching import answered

from ._cluster.errors import SlurmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rich.console import Console

    from expkit_hydra.launching import SelectedRun

    from ._manager import SlurmManager
    from ._watching.status import RunStatus

OWN_OPTIONS = ("--state", "--wait", "-h", "--help")  # of `retry`, beside sbatch's
OPEN = ("pending", "running")  # states of runs that are going to print something
# A missing file, a wrong name or Slurm's refusal: their text is all that the user needs.
_USER_ERRORS = (SlurmError, FileNotFoundError, LookupError, ValueError)


@answered
def wait(argv: Sequence[str]) -> int:
    """Wait for the runs that were submitted to Slurm; then show results, figures and a table.

    Ends also if none of the runs that are left can ever start; those that are held are waited for.
    """
    arguments = wait_parser().parse_args(argv)
    from expkit_hydra.launching import console

    from ._watching.display import ProgressDisplay, pending_reasons
    from .finish import finish

    screen = console()
    try:
        manager = _attach(arguments.experiment)
        total = sum(run.skipped_by is None for run in manager.grid.runs)
        with ProgressDisplay(screen, total=total) as display:
            statuses = manager.wait(arguments.timeout, show=display.show)
    except KeyboardInterrupt:
        screen.print("The jobs keep running.", style="yellow")
        return 130
    except _USER_ERRORS as error:
        return _print_error(error)
    if all(status.is_over or status.obstacle == "never" for status in statuses):
        finish(manager.grid, unless_done=True)
        for reason in pending_reasons(statuses):
            screen.print(reason.text, style=reason.style, markup=False, soft_wrap=True)
    else:
        screen.print("The time is over; the jobs keep running.", style="yellow")
    _list_unfinished(statuses, screen)
    return 0 if all(status.is_good for status in statuses) else 1


@answered
def logs(argv: Sequence[str]) -> int:
    """Show what a run printed, and what Slurm wrote about it; --follow continues."""
    arguments = logs_parser().parse_args(argv)
    from expkit_hydra.launching import last_lines, say, say_output, short_path

    try:
        selected = _select_run(arguments.experiment, arguments.run)
        paths = _log_files(selected)
    except _USER_ERRORS as error:
        return _print_error(error)
    if not paths:
        say(_no_output_message(selected))
        if selected.state not in OPEN:
            return 1
    for path in paths:
        say(f"--- {short_path(path)}")
        say_output("\n".join(last_lines(path, arguments.lines)))
    if arguments.follow:
        try:
            _follow(selected)
        except KeyboardInterrupt:
            return 130
    return 0


@answered
def cancel(argv: Sequence[str]) -> int:
    """Cancel an experiment's jobs, or those of some runs; the last checkpoints are kept."""
    arguments = cancel_parser().parse_args(argv)
    from expkit_hydra.launching import say

    try:
        manager = _attach(arguments.experiment)
        names = [_select_run(arguments.experiment, text).run_name for text in arguments.runs]
        jobs = manager.cancel(names or None)
    except _USER_ERRORS as error:
        return _print_error(error)
    if not jobs:
        print("Nothing of it is in Slurm's queue.")
        return 0
    names_of_tasks = ", ".join(jobs[:8]) + (", …" if len(jobs) > 8 else "")
    say(f"cancelled {len(jobs)} task{'s' if len(jobs) > 1 else ''}: {names_of_tasks}")
    return 0


@answered
def retry(argv: Sequence[str]) -> int:
    """Submit runs again that did not complete, with changes such as --mem 32G --time 4:00:00."""
    own_words, options = _split_options(argv)
    arguments = retry_parser().parse_args(own_words)
    from expkit_hydra.launching import say

    from ._cluster.options import parse_arguments
    from .finish import has_aftermath

    try:
        changes = parse_arguments(options)
        manager = _attach(arguments.experiment)
        names = [_select_run(arguments.experiment, text).run_name for text in arguments.runs]
        submission = manager.retry(
            arguments.state,
            runs=names or None,
            say=say,
            finaliser=not arguments.wait and has_aftermath(manager.grid),
            options=changes,
        )
    except _USER_ERRORS as error:
        return _print_error(error)
    if submission is None:
        say(f"No run is {' or '.join(arguments.state)}.")
        return 0
    return wait([str(arguments.experiment)]) if arguments.wait else 0


@answered
def train(argv: Sequence[str]) -> int:
    """Run one run of a grid here, without Slurm, to debug it."""
    arguments = train_parser().parse_args(argv)
    from expkit_hydra.launching import say

    from ._submissions.record import SubmittedRun
    from .training import SlurmTraining

    try:
        selected = _select_run(arguments.experiment, arguments.run)
        if selected.grid is None or selected.run is None:
            raise LookupError(
                f"{selected.run_name} is in no grid; `expkit show` says how to repeat it."
            )
        if selected.record is not None and selected.record.state == "completed":
            say(_completed_message(selected), sys.stderr)
            return 1
        run = SubmittedRun(selected.run.index, earlier_versions=_versions_now(selected))
        training = SlurmTraining(selected.grid.path, [run], show_output=True)
        return training.run()
    except _USER_ERRORS as error:
        return _print_error(error)
    except KeyboardInterrupt:
        return 130


def slurm_script(argv: Sequence[str]) -> int:
    """Print a batch script to start your own gpu_scripts/grid_search_array.sh from."""
    slurm_script_parser().parse_args(argv)
    from ._cluster.script import default_script

    print(default_script().read_text(encoding="utf-8"), end="")
    return 0


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "wait": wait,
    "logs": logs,
    "cancel": cancel,
    "retry": retry,
    "train": train,
    "slurm-script": slurm_script,
}


def wait_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit wait`."""
    parser = _parser("wait", wait)
    parser.add_argument("--timeout", metavar="S", type=float, help="seconds; default: forever")
    return parser


def logs_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit logs`."""
    parser = _parser("logs", logs)
    parser.add_argument("run", metavar="RUN", help="a name, a unique part of one, or a number")
    parser.add_argument("--lines", "-n", type=int, default=30, help="last lines (default: 30)")
    parser.add_argument("--follow", "-f", action="store_true", help="show what is added")
    return parser


def cancel_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit cancel`."""
    parser = _parser("cancel", cancel)
    parser.add_argument("runs", metavar="RUN", nargs="*", help="default: all")
    return parser


def retry_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit retry`, but for sbatch's options."""
    from ._watching.status import RETRIABLE

    parser = _parser("retry", retry)
    parser.epilog = "Any other option is sbatch's, and holds for these runs: --mem 32G"
    parser.add_argument("runs", metavar="RUN", nargs="*", help="default: all in these states")
    parser.add_argument(
        "--state",
        type=lambda text: text.split(","),
        choices=_EachOf(RETRIABLE),
        default=list(RETRIABLE),
        metavar="STATE,…",
        help=f"states, separated by commas (default: {','.join(RETRIABLE)})",
    )
    parser.add_argument("--wait", action="store_true", help="wait for them")
    return parser


def train_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit train`."""
    parser = _parser("train", train)
    parser.add_argument("run", metavar="RUN", help="a name, a unique part of one, or a number")
    return parser


def slurm_script_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit slurm-script`: none."""
    return argparse.ArgumentParser(prog="expkit slurm-script", description=slurm_script.__doc__)


def _parser(verb: str, command: object) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"expkit {verb}", description=command.__doc__)
    parser.add_argument(
        "experiment", metavar="results/EXPERIMENT", type=Path, help="the experiment's folder"
    )
    return parser


class _EachOf(tuple[str, ...]):
    """What each item of a list may be; argparse asks whether the list is among the choices."""

    def __contains__(self, values: object) -> bool:
        return isinstance(values, list) and {*values} <= {*self}


def _split_options(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own words, and sbatch's options with their values; argparse would take those for runs.

    Examples:
        >>> _split_options(["results/digits", "--mem", "32G", "--state=lost", "--exclusive"])
        (['results/digits', '--state=lost'], ['--mem', '32G', '--exclusive'])
    """
    own: list[str] = []
    others: list[str] = []
    from ._cluster.options import FLAGS

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


def _select_run(experiment: Path, text: str) -> SelectedRun:
    from expkit_hydra.launching import find_experiment, find_run

    return find_run(find_experiment(experiment), text)


def _versions_now(selected: SelectedRun) -> frozenset[Any]:
    """The run's present version: whatever changes it from now on is another process."""
    from expkit_hydra.launching import run_versions

    if selected.record is None or selected.run is None:
        return frozenset()
    versions = run_versions([selected.run], [selected.record])
    return versions.get(selected.run.index, frozenset())


def _completed_message(selected: SelectedRun) -> str:
    """That a run is completed, and how to run it again in another folder."""
    from expkit_hydra.launching import debugger_command

    assert selected.record is not None
    text = f"{selected.run_name} is completed already, since {selected.record.ended_at}."
    command = debugger_command(selected)
    if command is None:
        return f"{text} `expkit cleanup` leaves it; move its folder away to train it again."
    return f"{text} To run it again, in a debugger and in a folder of its own:\n    {command}"


def _log_files(selected: SelectedRun) -> list[Path]:
    """The file that the run printed to and Slurm's log of its task; else its training.log."""
    from expkit_hydra.launching import CONSOLE_LOG

    from ._submissions.placements import all_placements, newest_placements, run_key
    from ._submissions.record import find_submissions

    paths = [selected.folder / CONSOLE_LOG]
    if selected.run is not None and selected.grid is not None:
        submissions = find_submissions(selected.grid.experiment)
        placements = newest_placements(all_placements(submissions))
        placement = placements.get(run_key(selected.run))
        if placement is not None and placement.log is not None:
            paths.append(placement.log)
    # A single run prints to its console.
    return [path for path in paths if path.is_file()] or [
        path for path in (selected.folder / "training.log",) if path.is_file()
    ]


def _no_output_message(selected: SelectedRun) -> str:
    """That a run has printed nothing, its state, and what to do."""
    from expkit_hydra.launching import command_line, short_path

    from ._watching.status import RETRIABLE

    job = None if selected.report is None else selected.report.job
    state = selected.state + (f" ({job})" if job else "")
    text = f"{selected.run_name} has printed nothing"
    if selected.state in OPEN:
        return f"{text} yet: {state}. --follow waits for it."
    if selected.grid is None:
        return f"{text} that was kept: {state}."
    folder = short_path(selected.grid.experiment)
    if selected.state in RETRIABLE:
        command = command_line("retry", folder, selected.run_name)
        return f"{text}: {state}. `{command}` submits it again."
    command = command_line("show", folder, selected.run_name)
    return f"{text}: {state}. `{command}` shows its configuration, and the command that runs it."


def _follow(selected: SelectedRun, interval_s: float = 0.5) -> None:
    from expkit_hydra.launching import say_output

    sizes = {path: path.stat().st_size for path in _log_files(selected)}
    while True:
        time.sleep(interval_s)
        for path in _log_files(selected):
            with path.open("rb") as file:
                file.seek(sizes.get(path, 0))
                added = file.read()
            sizes[path] = sizes.get(path, 0) + len(added)
            if added:
                say_output(added.decode("utf-8", "replace"), end="")


def _list_unfinished(statuses: Sequence[RunStatus], screen: Console) -> None:
    from ._watching.display import failure_line

    for status in statuses:
        if status.is_over and not status.is_good:
            screen.print(failure_line(status), style="red", markup=False, soft_wrap=True)


def _print_error(error: Exception) -> int:
    from expkit_hydra.launching import say

    say(str(error), sys.stderr)
    return 2
