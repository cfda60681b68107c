"""Repeated passes of `sync` beside a grid, until the process that started them ends."""

import os
import select
import time
from collections.abc import Callable
from typing import TextIO

from .._addresses.errors import TrackingError
from .experiment import Synchronizer
from .lead import Lead
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

    Of several followers of one experiment only one makes passes, as long as it goes on; at its end
    it sends what those have left that ended before it, and the next one takes over.

    Args:
        synchronizer: Makes the passes.
        stream: Usually stdin, a pipe from the sweep; it also closes if the sweep is killed. None
            counts as closed.
        interval_s: Time between passes.
        parent: Id of the process at the other end, best read before anything slow; by default the
            parent of this process now.
        on_problem: Called once with each new problem.

    Returns:
        What was sent; its `left_to` names the process that sends the rest, if that is another one.
    """
    total = SyncReport(synchronizer.folder)
    lead = Lead(synchronizer.folder)
    if parent is None:
        parent = os.getppid()

    def make_pass() -> None:
        lead.accept_requests()
        before = len(total.problems)
        try:
            total.add(synchronizer.once())
        except (TrackingError, OSError) as error:  # of this pass; the next may succeed
            total.add(SyncReport(synchronizer.folder, total.runs, problems=[str(error)]))
        for problem in total.problems[before:]:
            on_problem(problem)

    try:
        while stream is not None and not _is_closed_within(stream, interval_s, parent):
            if lead.has_work() and lead.take():
                make_pass()
        if not lead.has_work():
            return total
        lead.request()  # first: whoever leads then, finds it
        has_sent = False
        while lead.take():
            make_pass()
            has_sent = True
            lead.release()
            if not lead.is_requested():
                break
        if not has_sent:
            total.left_to = lead.holder
    except TrackingError as error:  # neither locks nor links here, or no place on the disk
        total.add(SyncReport(synchronizer.folder, total.runs, problems=[str(error)]))
        on_problem(str(error))
    finally:
        lead.release()
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
