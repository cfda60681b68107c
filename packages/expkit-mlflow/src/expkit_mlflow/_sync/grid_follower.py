"""Repeated passes of `sync` beside a grid, until the process that started them ends."""

import os
import select
import time
from collections.abc import Callable
from typing import TextIO

from .._store.errors import TrackingError
from .experiment import Synchronizer
from .report import SyncReport

CHECK_S = 1.0  # between two checks that the parent is still alive


def follow_grid(
    synchronizer: Synchronizer,
    stream: TextIO | None,
    *,
    interval_s: float = 5.0,
    parent: int | None = None,
    on_problem: Callable[[str], None] = lambda text: None,
) -> SyncReport:
    """Repeats passes until the other end of `stream` is closed, then makes a last one.

    Args:
        synchronizer: Makes the passes.
        stream: Usually stdin, a pipe from the sweep; it also closes if the sweep is killed. None
            counts as closed.
        interval_s: Time between passes.
        parent: Id of the process at the other end, best read before anything slow; by default the
            parent of this process now.
        on_problem: Called once with each new problem.
    """
    total = SyncReport(synchronizer.folder)
    if parent is None:
        parent = os.getppid()
    while True:
        closed = stream is None or _is_closed_within(stream, interval_s, parent)
        before = len(total.problems)
        try:
            total.add(synchronizer.once())
        except (TrackingError, OSError) as error:  # of this pass; the next may succeed
            total.add(SyncReport(synchronizer.folder, total.runs, problems=[str(error)]))
        for problem in total.problems[before:]:
            on_problem(problem)
        if closed:
            return total


def _is_closed_within(stream: TextIO, timeout_s: float, parent: int) -> bool:
    """Whether the stream is closed within the time, or the process at its other end is gone.

    A child forked by that process has a copy of that end and may outlive it, which would keep the
    pipe open.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        remaining_s = max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select([stream], [], [], min(remaining_s, CHECK_S))
        if readable and not os.read(stream.fileno(), 4096):
            return True
        if os.getppid() != parent and not stream.isatty():
            return True
        if remaining_s == 0:
            return False
