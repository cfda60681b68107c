"""Threads that do a small piece of work: again and again, or beside another one."""

import contextlib
import threading
from collections.abc import Callable, Iterator


class Background:
    """Calls a function every `period_s` seconds, from `start` to `stop`."""

    def __init__(self, work: Callable[[], None], period_s: float) -> None:
        self._work = work
        self._period_s = period_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="expkit-bookkeeping", daemon=True)

    def start(self) -> None:
        """Begin; the first call comes after one period."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the call that is under way; nothing where it never started."""
        self._stopping.set()
        if self._thread.ident is not None:
            # Not forever: the thread may hang in a file system that is gone.
            self._thread.join(timeout=10.0)

    def _run(self) -> None:
        while not self._stopping.wait(self._period_s):
            self._work()


@contextlib.contextmanager
def beside(work: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Do a piece of work while a block does another; both are done when the block ends.

    Gives a function that waits for the work and raises what went wrong with it.
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="expkit-bookkeeping", daemon=True)

    def finish() -> None:
        thread.join()
        if errors:
            raise errors[0]

    thread.start()
    try:
        yield finish
    finally:
        thread.join()
