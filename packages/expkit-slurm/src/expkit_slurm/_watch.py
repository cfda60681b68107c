"""Waiting for the runs of a grid: how often to look, and when a run is given up for lost."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ._errors import SlurmError
from ._status import RunStatus

log = logging.getLogger("expkit_slurm")
LEAST_S, MOST_S = 1.0, 60.0
LOST_AFTER_S = 30.0  # file servers show a state that was just written up to half a minute late
# How a task of ours ends once its run has said how it ended: well, failed, stopped.
SPOKEN = (0, 1, 130, 143)


def interval_s(
    elapsed_s: float, fixed_s: float | None = None, jitter: Callable[[], float] = random.random
) -> float:
    """Seconds until the next look: a tenth of the time that was waited, a second to a minute.

    With up to a fifth more, so that many who wait do not ask the controller at the same time.

    >>> [interval_s(t, jitter=lambda: 0.0) for t in (0, 100, 10_000)]
    [1.0, 10.0, 60.0]
    """
    base = fixed_s if fixed_s is not None else min(MOST_S, max(LEAST_S, elapsed_s / 10))
    return base * (1.0 + 0.2 * jitter())


class Patience:
    """Believes that a run is lost when it has looked so for a while.

    Its task is gone from the queue, and its run.json says that it runs: on a shared file system
    the last word of a run that ended well may still be on its way.
    """

    def __init__(
        self, after_s: float = LOST_AFTER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._after_s = after_s
        self._clock = clock
        self._since: dict[int, float] = {}

    def judge(self, statuses: Sequence[RunStatus]) -> list[RunStatus]:
        """The same, with those that are not yet believed still `running`."""
        now = self._clock()
        judged = []
        for each in statuses:
            may_speak = each.exit_code is None or each.exit_code in SPOKEN
            if each.state not in ("lost", "skipped") or not may_speak:
                # Slurm says that it was killed, or never got to Python: no word is on its way.
                self._since.pop(each.index, None)
                judged.append(each)
                continue
            since = self._since.setdefault(each.index, now)
            if now - since < self._after_s:
                each = replace(each, state="running", reason="its task has ended")
            judged.append(each)
        return judged


def wait(
    look: Callable[[], list[RunStatus]],
    *,
    show: Callable[[Sequence[RunStatus]], None],
    cancel: Callable[[], None],
    stop_after_failures: int | None = None,
    timeout_s: float | None = None,
    poll_s: float | None = None,
    patience: Patience | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[RunStatus]:
    """Look until all runs are over.

    Args:
        look: The runs as they are now.
        show: Told of each look.
        cancel: Ends what is not over, after too many failures; tried again where it raises
            SlurmError.
        stop_after_failures: So many failed or lost runs are too many; None: no number is.
        timeout_s: Longest time to wait, in seconds.
        poll_s: Seconds between two looks; None grows with the time that was waited.
        patience: Judges runs that look lost.
        clock: Seconds, monotonic.
        sleep: Waits so many seconds.

    Returns:
        The runs as they are at the end; after the time-out some are not over.
    """
    begin = clock()
    patience = patience or Patience(clock=clock)
    cancelled = False
    while True:
        statuses = patience.judge(look())
        show(statuses)
        if all(each.is_over for each in statuses):
            return statuses
        failures = sum(each.state in ("failed", "lost") for each in statuses)
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
