"""`sync` again and again, beside a grid, for as long as the process that started it lives."""

import os
import select
import time
from collections.abc import Callable
from typing import TextIO

from ._errors import TrackingError
from ._report import SyncReport
from ._sync import Synchronizer

LOOK_S = 1.0  # between two looks whether the parent still lives


def follow(
    synchronizer: Synchronizer,
    stream: TextIO | None,
    *,
    interval_s: float = 5.0,
    parent: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> SyncReport:
    """Repeats passes until `stream` is closed by whoever holds its other end, then one last.

    Args:
        synchronizer: What to repeat.
        stream: Usually stdin, a pipe from the sweep. It closes too when the sweep is killed. None
            is a closed one.
        interval_s: Time between passes.
        parent: The process that holds the other end, best asked for before anything slow; None
            asks now.
        say: Takes each new problem once.
    """
    total = SyncReport(synchronizer.folder)
    if parent is None:
        parent = os.getppid()
    while True:
        closed = stream is None or _closed_within(stream, interval_s, parent)
        before = len(total.problems)
        try:
            total.add(synchronizer.once())
        except (TrackingError, OSError) as error:  # of this pass; the next may succeed
            total.add(SyncReport(synchronizer.folder, total.runs, problems=[str(error)]))
        for text in total.problems[before:]:
            say(text)
        if closed:
            return total


def _closed_within(stream: TextIO, seconds: float, parent: int) -> bool:
    """Whether the stream is closed within the time, or its other end's owner is gone.

    A child that the parent forked has a copy of that end and may live on: the pipe alone would
    then stay open.
    """
    deadline = time.monotonic() + seconds
    while True:
        left = max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select([stream], [], [], min(left, LOOK_S))
        if readable and not os.read(stream.fileno(), 4096):
            return True
        if os.getppid() != parent and not stream.isatty():
            return True
        if left == 0:
            return False
