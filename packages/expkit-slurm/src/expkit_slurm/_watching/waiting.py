"""Waiting for the runs of a grid: how often to ask, and when a run is given up as lost."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from .._cluster.errors import SlurmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .status import RunStatus

log = logging.getLogger("expkit_slurm")
LEAST_S, MOST_S = 1.0, 60.0
LOST_AFTER_S = 30.0  # file servers show a state that was just written up to half a minute late
# The exit codes of a task of ours whose run has recorded how it ended: well, failed, stopped.
RECORDED = (0, 1, 130, 143)


def interval_s(
    elapsed_s: float, fixed_s: float | None = None, jitter: Callable[[], float] = random.random
) -> float:
    """Seconds until Slurm is asked again: a tenth of the time waited, between 1 and 60.

    Up to a fifth more, so that many who wait do not ask the controller at the same time.

    Examples:
        >>> [interval_s(t, jitter=lambda: 0.0) for t in (0, 100, 10_000)]
        [1.0, 10.0, 60.0]
    """
    base = fixed_s if fixed_s is not None else min(MOST_S, max(LEAST_S, elapsed_s / 10))
    return base * (1.0 + 0.2 * jitter())


class GracePeriod:
    """Believes that a run is lost only when it has looked lost for a while.

    Its task is gone from the queue, and its run.json says that it runs: on a shared file system
    the last update of a run that ended well may still be on its way.
    """

    def __init__(
        self, after_s: float = LOST_AFTER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._after_s = after_s
        self._clock = clock
        self._since: dict[int, float] = {}

    def apply(self, statuses: Sequence[RunStatus]) -> list[RunStatus]:
        """The statuses, with `running` for runs that are not yet believed lost."""
        now = self._clock()
        believed = []
        for status in statuses:
            may_be_late = status.exit_code is None or status.exit_code in RECORDED
            if status.state not in ("lost", "skipped") or not may_be_late:
                # Slurm says that it was killed, or never got to Python: no update is on its way.
                self._since.pop(status.index, None)
                believed.append(status)
                continue
            since = self._since.setdefault(status.index, now)
            if now - since < self._after_s:
                status = replace(status, state="running", reason="its task has ended")
            believed.append(status)
        return believed


def wait_until_over(
    read_statuses: Callable[[], list[RunStatus]],
    *,
    show: Callable[[Sequence[RunStatus]], None],
    cancel: Callable[[], None],
    stop_after_failures: int | None = None,
    timeout_s: float | None = None,
    poll_s: float | None = None,
    grace_period: GracePeriod | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[RunStatus]:
    """Wait until all runs are over, or none of those that are left can ever start.

    Runs that are held are waited for: somebody may release them.

    Args:
        read_statuses: Returns how the runs stand now.
        show: Is called with the statuses each time.
        cancel: Ends what is not over, after too many failures; tried again where it raises
            SlurmError.
        stop_after_failures: This many failed or lost runs are too many; None: no number is.
        timeout_s: Longest time to wait, in seconds.
        poll_s: Seconds between two questions; None grows with the time waited.
        grace_period: Decides about runs that look lost.
        clock: Seconds, monotonic.
        sleep: Waits this many seconds.

    Returns:
        How the runs stand at the end; some are not over after the time-out, or if they can never
        start.
    """
    begin = clock()
    grace_period = grace_period or GracePeriod(clock=clock)
    cancelled = was_hopeless = False
    while True:
        statuses = grace_period.apply(read_statuses())
        show(statuses)
        if all(status.is_over for status in statuses):
            return statuses
        is_hopeless = all(status.is_over or status.obstacle == "never" for status in statuses)
        if is_hopeless and was_hopeless:  # twice: Slurm may be about to look at a job again
            return statuses
        was_hopeless = is_hopeless
        failures = sum(status.state in ("failed", "lost") for status in statuses)
        if stop_after_failures is not None and failures >= stop_after_failures and not cancelled:
            try:
                cancel()
            except SlurmError as error:  # the controller may be away for a moment
                log.warning("%s", error)
            else:
                cancelled = True
                continue
        elapsed = clock() - begin
        if timeout_s is not None and elapsed >= timeout_s:
            return statuses
        pause = interval_s(elapsed, poll_s)
        sleep(pause if timeout_s is None else min(pause, timeout_s - elapsed))
