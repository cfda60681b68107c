"""The sbatch command of an array; pure functions."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from .._cluster.options import Options, to_arguments
from .settings import DEFAULT_DELAY_S, SubmissionSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._cluster.script import ArrayScript
    from .record import Array, Submission

PACKAGE = "expkit_slurm"


def sbatch_arguments(
    submission: Submission, array: Array, script: ArrayScript, parallelism: int | None
) -> list[str]:
    """The arguments of sbatch for one array.

    Options on sbatch's command line win over the script's `#SBATCH` lines, so only what the
    manager knows better is here.
    """
    settings = submission.settings
    tasks = submission.tasks(array)
    limit = f"%{parallelism}" if parallelism is not None and parallelism < tasks else ""
    options = [
        f"--array=0-{tasks - 1}{limit}",
        f"--job-name={array.name}",
        f"--output={submission.log_pattern(array.number)}",
        "--open-mode=append",
        f"--signal={signal_option(script, settings, array.signal_delay_s)}",
    ]
    if script.value("error") is not None:  # or the script's file would take the tracebacks
        options.append(f"--error={submission.log_pattern(array.number)}")
    may_requeue = settings.max_requeues_timeout or settings.max_requeues_preempt
    has_no_requeue = script.directive("no-requeue") is not None or _asks_for(array, "no-requeue")
    if may_requeue and not has_no_requeue:
        options.append("--requeue")
    if settings.tasks_per_run > 1 or _asks_for(array, "gpus-per-task"):  # which needs a number
        options.append(f"--ntasks={settings.tasks_per_run}")
    return [
        *options,
        *to_arguments(array.options),
        str(script.path),
        *(
            submission.python,
            *(submission.program or {}).get("options", ()),
            "-m",
            f"{PACKAGE}.training",
            str(submission.path),
        ),
        f"--array={array.number}",
        f"--program={submission.program_digest}",
    ]


def _asks_for(array: Array, option: str) -> bool:
    return option in dict(array.options)


def signal_option(script: ArrayScript, settings: SubmissionSettings, delay_s: float) -> str:
    """The value of `--signal`: to the batch process where that is Python, else to the steps.

    Where the script's shell stays in between, `B:` would end the shell. Without it Slurm signals
    nobody, and the run goes by the time that is left.
    """
    is_python = script.ending == "exec" and settings.tasks_per_run == 1
    return f"{'B:' if is_python else ''}USR1@{round(delay_s)}"


def signal_delay_s(settings: SubmissionSettings, script: ArrayScript, options: Options) -> float:
    """How many seconds before the time limit a run is asked to stop."""
    if settings.signal_delay_s is not None:
        return float(settings.signal_delay_s)
    match = re.search(r"@(\d+)", script.value("signal") or "")
    if match is not None:
        return float(match.group(1))
    limit = limit_s(dict(options).get("time") or script.value("time"))
    return DEFAULT_DELAY_S if limit is None else min(DEFAULT_DELAY_S, limit / 4)


def limit_s(text: str | None) -> float | None:
    """A time limit as sbatch takes it, in seconds; None for no limit.

    Examples:
        >>> [limit_s(text) for text in ("90", "4:30", "1:00:00", "2-12", "1-00:30", "UNLIMITED")]
        [5400.0, 270.0, 3600.0, 216000.0, 88200.0, None]
    """
    if text is None or not re.fullmatch(r"[\d:-]+", text):
        return None
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = [*parts, 0, 0][:3]
        return float(int(days) * 86_400 + hours * 3600 + minutes * 60 + seconds)
    if len(parts) == 1:
        return float(parts[0] * 60)
    if len(parts) == 2:
        return float(parts[0] * 60 + parts[1])
    return float(parts[0] * 3600 + parts[1] * 60 + parts[2])


def shown_command(arguments: Sequence[str]) -> str:
    """The sbatch command as a user would type it."""
    return shlex.join(["sbatch", *arguments])
