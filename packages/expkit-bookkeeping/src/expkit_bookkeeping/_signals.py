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
    that context managers unwind. The handlers before are restored when the last of several such
    blocks ends, in whatever order they end.

    Yields:
        Whether handlers were installed: only in the main thread, and only where SIGTERM still has
        its default.
    """
    global _blocks
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if in_main else None
    if handler is not signal.SIG_DFL and handler is not _terminate:
        yield False
        return
    try:
        _blocks += 1
        if handler is signal.SIG_DFL:
            _install()
        yield handler is signal.SIG_DFL
    finally:
        _blocks = max(0, _blocks - 1)  # a forked child counts anew and may still leave a block
        if _blocks == 0:
            _restore()


_blocks = 0  # open ones that rely on our handlers; two runs may be open, and end in any order
_watches_forks: list[bool] = []


def _install() -> None:
    _before[signal.SIGTERM] = signal.signal(signal.SIGTERM, _terminate)
    warning = getattr(signal, WARNING_SIGNAL, None)
    if warning is not None and signal.getsignal(warning) is signal.SIG_DFL:
        _before[warning] = signal.signal(warning, _warn)
    if not _watches_forks and hasattr(os, "register_at_fork"):
        _watches_forks.append(True)
        os.register_at_fork(after_in_child=_restore)


def _restore() -> None:
    """Put the former handlers back; in a forked child too, which has nothing to save.

    Otherwise a DataLoader worker that is inside C code would outlive SIGTERM.
    """
    global _blocks
    _blocks = 0
    if threading.current_thread() is not threading.main_thread():
        return  # only that one may; the end of its next block does
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
