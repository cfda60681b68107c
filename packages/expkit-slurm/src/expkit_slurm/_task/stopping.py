"""Why a task was asked to stop, and whether its run goes back into the queue."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .._cluster.errors import SlurmError
from .log import stop_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._cluster.current_job import CurrentJob
    from .._cluster.scheduler import Scheduler
    from .._submissions.record import Submission

TIME_LIMIT = "the time limit"
NOTHING_SAVED = "nothing was saved"
TIMEOUT, PREEMPTION = "timeout", "preemption"
_IN_WORDS = {TIMEOUT: "time limit", PREEMPTION: "preempted"}
# Slurm sends --signal up to a minute early (man sbatch), and its clock and ours differ a little.
EARLY_S = 75.0
# No time limit is below a minute, so a run that is shorter than this never asks the controller.
ASK_AFTER_S = 10.0
LEAVE_S = 90.0  # after `scontrol requeue`, until Slurm ends this process


class TimeLeft:
    """How long this task may still run. The controller is asked once.

    Args:
        ask: Returns the seconds that are left; None where no limit is known.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, ask: Callable[[], float | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._ends_at: list[float | None] = []  # by the clock; empty until the controller is asked

    def seconds(self) -> float | None:
        """Seconds until the time limit; None where no limit is known."""
        with self._lock:
            if not self._ends_at:
                left = self._ask()
                self._ends_at.append(None if left is None else self._clock() + left)
        end = self._ends_at[0]
        return None if end is None else end - self._clock()


@contextmanager
def stop_before_limit(left: TimeLeft, grace_s: float) -> Iterator[None]:
    """Let `should_stop()` turn true when the time left falls below the grace period.

    So a lost signal costs nothing. Uses a thread: for a process that runs the training.

    Args:
        left: The time left.
        grace_s: Seconds that a run needs to save its state.
    """
    from expkit_bookkeeping.launching import request_stop

    ended = threading.Event()

    def watch() -> None:
        if ended.wait(ASK_AFTER_S):
            return
        seconds = left.seconds()
        if seconds is not None and not ended.wait(max(0.0, seconds - grace_s)):
            request_stop(TIME_LIMIT)

    thread = threading.Thread(target=watch, name="expkit-time-limit", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


@contextmanager
def stop_before_limit_by_alarm(left: TimeLeft, grace_s: float) -> Iterator[None]:
    """The same without a thread: for a process that forks others and trains nothing itself."""
    from expkit_bookkeeping.launching import request_stop

    seconds = left.seconds()
    if seconds is None:
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda number, frame: request_stop(TIME_LIMIT))
    signal.setitimer(signal.ITIMER_REAL, max(0.001, seconds - grace_s))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def stop_cause(reason: str | None, seconds_left: float | None, grace_s: float) -> str | None:
    """What a request to stop means: `timeout`, `preemption`, or None for neither.

    Args:
        reason: What `expkit_bookkeeping.stop_requested` returned.
        seconds_left: Until the time limit; None where no limit is known.
        grace_s: How long before the limit Slurm was asked to warn.

    Examples:
        >>> stop_cause("SIGUSR1", 100.0, 120.0), stop_cause("SIGUSR1", 3000.0, 120.0)
        ('timeout', 'preemption')
    """
    if reason == TIME_LIMIT:
        return TIMEOUT
    if reason != "SIGUSR1":  # SIGTERM: Slurm ends the job, and requeues it where it preempts
        return None
    near = seconds_left is not None and seconds_left <= grace_s + EARLY_S
    return TIMEOUT if near else PREEMPTION


@dataclass(frozen=True)
class RequeueOutcome:
    """Whether a stopped task goes back into the queue, and the line for its log."""

    is_requeued: bool
    line: str


@dataclass(frozen=True)
class Saved:
    """Whether a stopped task goes on from somewhere else when it starts again.

    Attributes:
        interrupted: For each run that was interrupted, whether it has saved a checkpoint in this
            attempt: what an earlier one saved is where this one had started.
        others_completed: Whether runs of the task have completed.
    """

    interrupted: Sequence[bool]
    others_completed: bool = False

    @property
    def is_progress(self) -> bool:
        """Whether starting again does not repeat the same work, as often as it is allowed to."""
        return not self.interrupted or any(self.interrupted) or self.others_completed

    @property
    def text(self) -> str:
        """What was saved, in words.

        Examples:
            >>> [Saved(runs).text for runs in ([True], [False], [True, False], [])]
            ['state saved', 'nothing was saved', '1 of 2 states saved', 'between two runs']
        """
        if not self.interrupted:
            return "between two runs"
        number = sum(self.interrupted)
        if number in (0, len(self.interrupted)):
            return "state saved" if number else NOTHING_SAVED
        return f"{number} of {len(self.interrupted)} states saved"


def requeue(
    submission: Submission, job: CurrentJob, cause: str, scheduler: Scheduler, saved: Saved
) -> RequeueOutcome:
    """Put this task back into the queue if its settings allow it once more.

    Args:
        submission: The task's submission.
        job: The task.
        cause: What `stop_cause` returned.
        scheduler: Slurm.
        saved: What its runs have saved. Without a checkpoint it would do the same again.
    """
    settings = submission.settings
    limits = {
        TIMEOUT: ("max_requeues_timeout", settings.max_requeues_timeout),
        PREEMPTION: ("max_requeues_preempt", settings.max_requeues_preempt),
    }
    name, limit = limits[cause]
    path = submission.path / "requeues" / f"{job.name}.json"
    counts = _read_counts(path)
    count = counts.get(cause, 0)
    what = f"{_IN_WORDS[cause]}: {saved.text}"
    advice = retry_advice(submission.experiment, what)
    if not saved.is_progress and not settings.requeue_without_checkpoint:
        line = stop_line(f"{what}; not requeued (requeue_without_checkpoint=false)", advice)
        return RequeueOutcome(False, line)
    if count >= limit:
        used_up = ", used up" if limit else ""
        line = stop_line(f"{what}; not requeued ({name}={limit}{used_up})", advice)
        return RequeueOutcome(False, line)
    from expkit_bookkeeping.launching import write_file

    # Before Slurm is asked: from then on this process may end at any moment.
    path.parent.mkdir(exist_ok=True)
    write_file(path, json.dumps({**counts, cause: count + 1}) + "\n")
    try:
        scheduler.requeue(job.name)
    except SlurmError as error:
        write_file(path, json.dumps(counts) + "\n")
        return RequeueOutcome(False, stop_line(f"{what}; {str(error).rstrip('.')}", advice))
    unsaved = "" if saved.is_progress else f", {saved.text}"
    return RequeueOutcome(True, f"stopped by {cause}{unsaved}, requeued ({count + 1} of {limit})")


def retry_advice(experiment: Path, reason: str) -> str:
    """The command that starts runs again that were stopped for good, and from where.

    Args:
        experiment: Their experiment.
        reason: Why they were stopped, with what was saved.
    """
    from expkit_hydra.launching import command_line, short_path

    command = f"`{command_line('retry', short_path(experiment))}`"
    if NOTHING_SAVED in reason:
        return f"{command} starts again from where this attempt did"
    return f"{command} goes on from there"


def _read_counts(path: Path) -> dict[str, int]:
    from expkit_bookkeeping.launching import UnreadableFileError, read_json

    try:
        counts = read_json(path)
    except (FileNotFoundError, UnreadableFileError):
        return {}
    return counts if isinstance(counts, dict) else {}
