"""What a run without Bookkeeping needs from its process: a state, an end by signal."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


def state_after(error: BaseException | None) -> str:
    """The state of a run whose block ended with this exception."""
    if isinstance(error, SystemExit):
        code = error.code
        if code is None or code == 0:
            return "completed"
        # 128 + signal: the code with which a handler of SIGTERM exits.
        return "interrupted" if isinstance(code, int) and code > 128 else "failed"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "completed" if error is None else "failed"


@contextlib.contextmanager
def sigterm_as_exit() -> Iterator[None]:
    """Turns SIGTERM into SystemExit(143), in the main thread and if it has no other handler."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    ):
        yield
        return

    def exit_with_code(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, exit_with_code)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is exit_with_code:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
