"""Letting the disk begin with a large file while it is still being written."""

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

POLL_EVERY_S = 0.001
WRITEBACK_BYTES = 2_000_000
SYNC_BYTES = 16_000_000  # each fdatasync waits for the disk, also for the file's metadata
_SYNC_FILE_RANGE_WRITE = 2
_UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.ESPIPE, errno.EPERM)


@contextlib.contextmanager
def early_writeback(path: Path, meanwhile: Callable[[], None] | None = None) -> Iterator[None]:
    """Let the disk begin with a large file while the block still writes it.

    Args:
        path: The file, which the block makes.
        meanwhile: Called first in the thread that starts the writeback.

    Raises:
        OSError: If the disk refused it. The system reports each such error once, so that a later
            sync of the file would not.
        Exception: What `meanwhile` raised.
    """
    written = threading.Event()
    errors: list[BaseException] = []

    def start_writeback() -> None:
        fd, started_bytes = -1, 0
        try:
            if meanwhile is not None:
                meanwhile()
            writeback, step = _writeback()
            while writeback is not None and not written.wait(POLL_EVERY_S):
                if fd < 0:
                    with contextlib.suppress(FileNotFoundError):
                        fd = os.open(path, os.O_WRONLY)
                elif (size := os.fstat(fd).st_size) >= started_bytes + step:
                    writeback(fd, started_bytes, size - started_bytes)
                    started_bytes = size
        except BaseException as error:
            errors.append(error)
        finally:
            if fd >= 0:
                os.close(fd)

    thread = threading.Thread(target=start_writeback, name="expkit-bookkeeping", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # Python 3.12 starts no thread while the program ends
        if meanwhile is not None:
            meanwhile()
        yield
        return
    try:
        yield
    finally:
        written.set()
        thread.join()
    if errors:
        raise errors[0]


Writeback = Callable[[int, int, int], None]  # descriptor, first byte, number of bytes


@cache
def _writeback() -> tuple[Writeback | None, int]:
    """How to start the writeback of a part of a file, and how many bytes are worth a call."""
    if sys.platform == "linux":
        import ctypes

        function = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
        if function is not None:
            # The offsets have 64 bits, which ctypes does not know.
            function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

            def start_writeback(fd: int, start: int, size: int) -> None:
                if function(fd, start, size, _SYNC_FILE_RANGE_WRITE):
                    code = ctypes.get_errno()
                    if code not in _UNSUPPORTED:
                        raise OSError(code, os.strerror(code))

            return start_writeback, WRITEBACK_BYTES
    fdatasync = getattr(os, "fdatasync", None)  # not on macOS and Windows
    if fdatasync is None:
        return None, 0
    return (lambda fd, start, size: fdatasync(fd)), SYNC_BYTES
