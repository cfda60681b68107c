"""Whole files that a crash cannot tear."""

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

TMP_SUFFIX = ".tmp"
LOOK_EVERY_S = 0.001
BEGIN_BYTES = 2_000_000
SYNC_BYTES = 16_000_000  # each sync waits for the disk, also for its own notes
_BEGIN = 2  # SYNC_FILE_RANGE_WRITE of Linux
_UNKNOWN = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.ESPIPE, errno.EPERM)


def write_file(
    path: Path,
    data: bytes | str,
    *,
    check: Callable[[], None] | None = None,
    durable: bool = True,
    sync_parent: bool = True,
) -> None:
    """Write a whole file so that a reader sees the old or the new one, never half of one.

    The data goes to a temporary name in the same directory, is flushed to disk and moved over
    the target. On an error the old file is untouched and the temporary one is removed.

    Args:
        path: The target. Its directory must exist.
        data: The content; text is encoded as UTF-8.
        check: Called when the data is on the disk, which may have taken long, and just before it
            is moved; where it raises, the old file stays.
        durable: Whether to wait until the data is on the disk. Without, a power cut may leave the
            file empty, a killed process still does not.
        sync_parent: Whether to wait until the move is on the disk too. It may be left out where
            another durable write in the same directory follows.

    Raises:
        OSError: If the directory is missing, not writable or full.
    """
    path = Path(path)
    temporary = write_temporary(path, data, durable=durable)
    try:
        if check is not None:
            check()
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync_parent:
        sync_folder(path.parent)


def write_temporary(path: Path, data: bytes | str, *, durable: bool = True) -> Path:
    """Write a finished file beside `path`, under a name that only this call knows."""
    # Not tempfile: its files are private (0600), and a group shares results on a cluster.
    temporary = path.with_name(f".{path.name[:200]}.{os.urandom(6).hex()}{TMP_SUFFIX}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            if durable:
                os.fsync(fd)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


@contextlib.contextmanager
def atomic_path(path: Path, check: Callable[[], None] | None = None) -> Iterator[Path]:
    """Give a temporary path in the same directory; move it over the target when the block ends.

    For writers that want a path of their own (`torch.save`); `write_file` is for data in memory.
    Where the block or `check` (see `write_file`) raises, the old file is untouched and the
    temporary one is removed.
    """
    temporary = path.with_name(f".{path.name[:200]}.{os.urandom(6).hex()}{TMP_SUFFIX}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if check is not None:
            check()
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        # Emptied first: as long as torch's error lives, its writer holds the file open, and a
        # full disk would stay full when the file is gone.
        with contextlib.suppress(OSError):
            os.truncate(temporary, 0)
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def sent_ahead(path: Path, first: Callable[[], None] | None = None) -> Iterator[None]:
    """Let the disk begin with a large file while the block still writes it.

    Args:
        path: The file, which the block makes.
        first: Called in the thread that does so, before anything else.

    Raises:
        OSError: If the disk refused it. The system tells each such error once: whoever syncs the
            file afterwards would not hear of it.
        Exception: What `first` raised.
    """
    written = threading.Event()
    errors: list[BaseException] = []

    def send() -> None:
        fd, sent = -1, 0
        try:
            if first is not None:
                first()
            begin, step = _sender()
            while begin is not None and not written.wait(LOOK_EVERY_S):
                if fd < 0:
                    with contextlib.suppress(FileNotFoundError):
                        fd = os.open(path, os.O_WRONLY)
                elif (size := os.fstat(fd).st_size) >= sent + step:
                    begin(fd, sent, size - sent)
                    sent = size
        except BaseException as error:
            errors.append(error)
        finally:
            if fd >= 0:
                os.close(fd)

    thread = threading.Thread(target=send, name="expkit-bookkeeping", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # Python 3.12 starts none while the program ends: then without it
        if first is not None:
            first()
        yield
        return
    try:
        yield
    finally:
        written.set()
        thread.join()
    if errors:
        raise errors[0]


Send = Callable[[int, int, int], None]  # descriptor, first byte, number of bytes


@cache
def _sender() -> tuple[Send | None, int]:
    """What lets the disk begin with a part of a file, and for how many bytes it is worth a call."""
    if sys.platform == "linux":
        import ctypes

        function = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
        if function is not None:
            # The offsets have 64 bits, which ctypes would not guess.
            function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

            def begin(fd: int, start: int, size: int) -> None:
                if function(fd, start, size, _BEGIN):
                    code = ctypes.get_errno()
                    if code not in _UNKNOWN:
                        raise OSError(code, os.strerror(code))

            return begin, BEGIN_BYTES
    fdatasync = getattr(os, "fdatasync", None)  # not on macOS and Windows
    if fdatasync is None:
        return None, 0
    return (lambda fd, start, size: fdatasync(fd)), SYNC_BYTES


def append_line(path: Path, line: str) -> None:
    """Append one line with a single write, so that lines of several processes do not mix."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(fd, line.encode() + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows and some network file systems refuse
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that a killed owner left in this folder; only the next may do so."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.name.startswith(".") and entry.name.endswith(TMP_SUFFIX):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()
