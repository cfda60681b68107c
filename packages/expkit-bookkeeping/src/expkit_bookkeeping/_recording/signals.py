"""Asking a process to stop: signals become an answer that the training loop can ask for."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from .ranks import joined_group

WARNING_SIGNAL = "SIGUSR1"  # Windows has no such attribute in `signal`

_reasons: list[str] = []  # of this process, as signals are
_former_handlers: dict[int, object] = {}  # by signal, to restore


def request_stop(reason: str) -> None:
    """Make `should_stop()` of every open run in this process true from now on.

    For the outermost piece of a process that handles signals itself, such as a launcher.

    Args:
        reason: Who or what asks, such as the signal's name.
    """
    _reasons.append(reason)


def stop_requested() -> str | None:
    """Who or what asked this process to stop first; None if nobody has."""
    return _reasons[0] if _reasons else None


def termination_requested() -> bool:
    """Whether SIGTERM, which also ends the process, was among the requests."""
    return "SIGTERM" in _reasons


def true_on_any_rank(value: bool) -> bool:
    """Whether the value is true on any rank of torch.distributed's default group.

    Where there is no such group, the value itself.

    A collective: it returns when all ranks have called it.
    """
    distributed = joined_group()
    if distributed is None:
        return value
    from .._optional import torch

    # NCCL handles only what is on a GPU.
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    maximum = torch.tensor(int(value), device=device)
    distributed.all_reduce(maximum, distributed.ReduceOp.MAX)
    return bool(maximum.item())


@contextlib.contextmanager
def stop_signals() -> Iterator[bool]:
    """Handle SIGUSR1 and SIGTERM within a block, if nobody outside it does so already.

    SIGUSR1 (Slurm's warning before the time limit: `--signal=USR1@90`) only makes
    `stop_requested` true. SIGTERM does so too and raises SystemExit(143) in the main thread, so
    that context managers unwind. The former handlers are restored when the last of several such
    blocks ends, in whatever order they end.

    Yields:
        Whether handlers were installed: only in the main thread, and only where SIGTERM still has
        its default handler.
    """
    global _open_blocks
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if in_main else None
    if handler is not signal.SIG_DFL and handler is not _terminate:
        yield False
        return
    try:
        _open_blocks += 1
        if handler is signal.SIG_DFL:
            _install()
        yield handler is signal.SIG_DFL
    finally:
        # A forked child counts from 0 again, and may still leave a block.
        _open_blocks = max(0, _open_blocks - 1)
        if _open_blocks == 0:
            _restore()


_open_blocks = 0  # those that rely on our handlers; two runs may be open, and end in any order
_watches_forks: list[bool] = []


def _install() -> None:
    _former_handlers[signal.SIGTERM] = signal.signal(signal.SIGTERM, _terminate)
    warning = getattr(signal, WARNING_SIGNAL, None)
    if warning is not None and signal.getsignal(warning) is signal.SIG_DFL:
        _former_handlers[warning] = signal.signal(warning, _warn)
    if not _watches_forks and hasattr(os, "register_at_fork"):
        _watches_forks.append(True)
        os.register_at_fork(after_in_child=_restore)


def _restore() -> None:
    """Restore the former handlers; in a forked child too, which has nothing to save.

    Otherwise a DataLoader worker that is inside C code would outlive SIGTERM.
    """
    global _open_blocks
    _open_blocks = 0
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may; the end of its next block does
    for number, handler in _former_handlers.items():
        signal.signal(number, handler)  # type: ignore[arg-type]
    _former_handlers.clear()
    _reasons.clear()


def _warn(number: int, frame: FrameType | None) -> None:
    request_stop(signal.Signals(number).name)


def _terminate(number: int, frame: FrameType | None) -> None:
    first = not termination_requested()
    request_stop("SIGTERM")
    if first:  # a second one must not tear what is written while the first one unwinds
        raise SystemExit(128 + number)
