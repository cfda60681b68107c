"""Asking a process to stop: signals become a question that the training loop can ask."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

WARNING_SIGNAL = "SIGUSR1"  # Windows has no such attribute in `signal`

_reasons: list[str] = []  # of this process, as signals are
_before: dict[int, object] = {}  # handlers to restore


def request_stop(reason: str) -> None:
    """Let `should_stop()` of every open run in this process say yes from now on.

    For the outermost piece of a process that handles signals itself, such as a launcher.

    Args:
        reason: What asked for it, such as the signal's name.
    """
    _reasons.append(reason)


def stop_requested() -> str | None:
    """What asked this process to stop, or None."""
    return _reasons[0] if _reasons else None


def termination_requested() -> bool:
    """Whether it was SIGTERM, which also ends the process."""
    return "SIGTERM" in _reasons


@contextlib.contextmanager
def stop_signals() -> Iterator[bool]:
    """Handle SIGUSR1 and SIGTERM for the time of a block, if nobody outside does so already.

    SIGUSR1 (Slurm's warning before the time limit: `--signal=USR1@90`) only makes
    `stop_requested` true. SIGTERM does so too and raises SystemExit(143) in the main thread, so
    that context managers unwind. The handlers before it are restored at the end.

    Yields:
        Whether handlers were installed: only in the main thread, and only where SIGTERM still has
        its default.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield False
        return
    _before[signal.SIGTERM] = signal.signal(signal.SIGTERM, _terminate)
    warning = getattr(signal, WARNING_SIGNAL, None)
    if warning is not None and signal.getsignal(warning) is signal.SIG_DFL:
        _before[warning] = signal.signal(warning, _warn)
    if not _watches_forks:
        _watches_forks.append(True)
        os.register_at_fork(after_in_child=_restore)
    try:
        yield True
    finally:
        _restore()


_watches_forks: list[bool] = []


def _restore() -> None:
    """Put the former handlers back; in a forked child too, which has nothing to save.

    Otherwise a DataLoader worker that is inside C code would outlive SIGTERM.
    """
    for number, handler in _before.items():
        signal.signal(number, handler)  # type: ignore[arg-type]
    _before.clear()
    _reasons.clear()


def _warn(number: int, frame: FrameType | None) -> None:
    request_stop(signal.Signals(number).name)


def _terminate(number: int, frame: FrameType | None) -> None:
    first = not termination_requested()
    request_stop("SIGTERM")
    if first:  # a second one must not tear what the first one's unwinding writes
        raise SystemExit(128 + number)
