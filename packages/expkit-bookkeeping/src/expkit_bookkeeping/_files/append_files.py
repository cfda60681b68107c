"""Append files of an owner: opened once, and then reached by their handle alone.

Whoever takes a run over puts copies in their place: the handle of the former owner then writes into
a file that has no name any more. Whoever reads one opens it here, too: what has its name may be a
pipe, which would make the reader wait for ever.
"""

import contextlib
import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from .durable import Check, checked_if_missing, temporary_path
from .json_files import UnreadableFileError

_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def open_append_file(path: Path, check: Check | None = None) -> int:
    """Open a file to append to it, and make it if it is missing.

    Args:
        path: The file. Its folder must exist.
        check: Raises if the run is no longer the caller's. Asked when the file is open and nothing
            is written yet: a file that was replaced by then is not the one that was opened.

    Returns:
        The descriptor, to read and append.

    Raises:
        OSError: If the file cannot be opened or made.
    """
    while True:
        try:
            fd = os.open(path, _FLAGS)
        except FileNotFoundError:
            if check is None:
                return os.open(path, _FLAGS | os.O_CREAT, 0o666)
            with checked_if_missing(check), contextlib.suppress(FileExistsError):
                return _make(path, check)
            continue  # somebody else has just made it
        try:
            if check is not None:
                check()
        except BaseException:
            os.close(fd)
            raise
        return fd


def open_to_read(path: Path) -> BufferedReader:
    """Open a file to read it, without ever waiting for it.

    Raises:
        FileNotFoundError: If there is none.
        OSError: If it cannot be opened, or is a folder, pipe or device.
    """
    # NONBLOCK: opening a pipe would wait for a writer.
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    fd = os.open(path, flags)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return os.fdopen(fd, "rb")
    os.close(fd)
    raise OSError(errno.EINVAL, "It is a folder, a pipe or a device, not a file", os.fspath(path))


def open_lines(path: Path) -> BufferedReader:
    """`open_to_read` for a file that must be there and be whole.

    Raises:
        FileNotFoundError: If there is none.
        UnreadableFileError: If it cannot be opened, or is a folder, pipe or device.
    """
    try:
        return open_to_read(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableFileError(f"{path} cannot be read: {error}") from error


def read_file(path: Path) -> bytes:
    """The content of a file; raises as `open_to_read`."""
    with open_to_read(path) as file:
        return file.read()


def cut_torn_end(fd: int) -> None:
    """Cut off a line that a killed writer left unfinished, before another is appended to it."""
    size = end = os.fstat(fd).st_size
    while end:
        start = max(0, end - (1 << 16))
        os.lseek(fd, start, os.SEEK_SET)
        newline = os.read(fd, end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(fd, end)


def _make(path: Path, check: Check) -> int:
    """Make the file under a temporary name, which a new owner removes, and link it to its name.

    Raises:
        FileExistsError: If there is one by now.
    """
    temporary = temporary_path(path)
    fd = os.open(temporary, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        check()
        try:
            os.link(temporary, path)
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError:  # a file system without links
            if path.exists():
                raise FileExistsError(path) from None
            temporary.rename(path)
    except BaseException:
        os.close(fd)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    return fd
