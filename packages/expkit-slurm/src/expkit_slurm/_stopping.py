"""Why a task was asked to stop, and whether its run goes back into the queue."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ._errors import SlurmError
from ._job import Job
from ._scheduler import Scheduler
from ._submission import Submission
from ._task_log import stop_line

TIME_LIMIT = "the time limit"
TIMEOUT, PREEMPTION = "timeout", "preemption"
_WHAT = {TIMEOUT: "time limit", PREEMPTION: "preempted"}
# Slurm sends --signal up to a minute early (man sbatch), and its clock and ours differ a little.
EARLY_S = 75.0
# No time limit is below a minute: a run that is shorter than this never asks the controller.
ASK_AFTER_S = 10.0
LEAVE_S = 90.0  # after `scontrol requeue`, until Slurm ends this process


class TimeLeft:
    """Until when this task may run. The controller is asked once.

    Args:
        ask: Gives the seconds that are left, or None where nobody knows of a limit.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, ask: Callable[[], float | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._answer: list[float | None] = []  # the time of the end

    def seconds(self) -> float | None:
        """Seconds until the time limit; None where there is none, or nobody knows."""
        with self._lock:
            if not self._answer:
                left = self._ask()
                self._answer.append(None if left is None else self._clock() + left)
        end = self._answer[0]
        return None if end is None else end - self._clock()


@contextmanager
def stop_before_limit(left: TimeLeft, grace_s: float) -> Iterator[None]:
    """Let `should_stop()` turn true when the time left falls below the grace period.

    So a signal that is lost costs nothing. By a thread: for a process that runs the training.

    Args:
        left: The time left.
        grace_s: Seconds that a run needs to save its state.
    """
    from expkit_bookkeeping import request_stop

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
    """The same without a thread: for a process that forks others, and runs nothing itself."""
    from expkit_bookkeeping import request_stop

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


def why_stopped(reason: str | None, seconds_left: float | None, grace_s: float) -> str | None:
    """What a request to stop means: `timeout`, `preemption`, or None for neither.

    Args:
        reason: As `expkit_bookkeeping.stop_requested` gives it.
        seconds_left: Until the time limit; None where nobody knows of one.
        grace_s: How long before the limit Slurm was asked to warn.

    >>> why_stopped("SIGUSR1", 100.0, 120.0), why_stopped("SIGUSR1", 3000.0, 120.0)
    ('timeout', 'preemption')
    """
    if reason == TIME_LIMIT:
        return TIMEOUT
    if reason != "SIGUSR1":  # SIGTERM: Slurm ends the job, and requeues it where it preempts
        return None
    near = seconds_left is not None and seconds_left <= grace_s + EARLY_S
    return TIMEOUT if near else PREEMPTION


@dataclass(frozen=True)
class Requeue:
    """Whether a stopped task goes back into the queue, and what its log is to say."""

    is_done: bool
    line: str


def requeue(
    submission: Submission, job: Job, cause: str, scheduler: Scheduler, *, saved: bool = True
) -> Requeue:
    """Put this task back into the queue if it may go there once more.

    Args:
        submission: The task's.
        job: The task.
        cause: As `why_stopped` gives it.
        scheduler: Slurm.
        saved: Whether its runs left when they were asked to, and were not ended before.
    """
    chosen = submission.settings
    limits = {
        TIMEOUT: ("max_requeues_timeout", chosen.max_requeues_timeout),
        PREEMPTION: ("max_requeues_preempt", chosen.max_requeues_preempt),
    }
    name, limit = limits[cause]
    path = submission.path / "requeues" / f"{job.name}.json"
    counted = _read_counts(path)
    done = counted.get(cause, 0)
    what = f"{_WHAT[cause]}: " + ("state saved" if saved else "ended before it had left")
    advice = how_to_go_on(submission.experiment)
    if done >= limit:
        used_up = ", used up" if limit else ""
        return Requeue(False, stop_line(f"{what}; not requeued ({name}={limit}{used_up})", advice))
    from expkit_bookkeeping import write_file

    # Before Slurm is asked: from then on this process may end at any moment.
    path.parent.mkdir(exist_ok=True)
    write_file(path, json.dumps({**counted, cause: done + 1}) + "\n")
    try:
        scheduler.requeue(job.name)
    except SlurmError as error:
        write_file(path, json.dumps(counted) + "\n")
        return Requeue(False, stop_line(f"{what}; {str(error).rstrip('.')}", advice))
    return Requeue(True, f"stopped by {cause}, requeued ({done + 1} of {limit})")


def how_to_go_on(experiment: Path) -> str:
    """What resumes the runs that were stopped for good."""
    from expkit_hydra.launching import command_line, short_path

    return f"`{command_line('retry', short_path(experiment))}` goes on from there"


def _read_counts(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
