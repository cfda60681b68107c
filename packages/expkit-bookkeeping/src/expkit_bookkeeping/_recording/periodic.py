"""A thread that repeats a small piece of work."""

import threading
from collections.abc import Callable


class PeriodicThread:
    """Calls a function every `period_s` seconds, from `start` to `stop`."""

    def __init__(self, work: Callable[[], None], period_s: float) -> None:
        self._work = work
        self._period_s = period_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="expkit-bookkeeping", daemon=True)

    def start(self) -> None:
        """Start; the first call comes after one period."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the call under way; does nothing if it never started."""
        self._stopping.set()
        if self._thread.ident is not None:
            # Not forever: the thread may hang in a file system that is gone.
            self._thread.join(timeout=10.0)

    def _run(self) -> None:
        while not self._stopping.wait(self._period_s):
            self._work()
