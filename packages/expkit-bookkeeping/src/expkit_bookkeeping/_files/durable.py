"""Files that a crash cannot tear: replaced as a whole, or appended to line by line."""

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

TMP_SUFFIX = ".tmp"
# Files and folders of `temporary_path`, those that expkit-mlflow and expkit-timer write in a run
# folder, and the files by which heartbeats are measured.
_TEMPORARY = re.compile(
    r"\..+\.(?:[0-9a-f]{12}|[0-9a-f]{32}|[0-9]+-[0-9a-f]{8})\.tmp"
    r"|\.own\.[0-9a-f]+\.tmp|\.clock\.\w{8}\.tmp",
    re.DOTALL,
)

# Raises if what is about to be changed is no longer the caller's, such as `Claim.check`.
Check = Callable[[], None]
# What to do about an error of the system, as its own text says only what happened.
_ADVICE = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "your quota there is used up: delete something, or ask for more",
    errno.EFBIG: "files there may not be so large (`ulimit -f` shows the shell's limit)",
    errno.EACCES: "you may not write there: ask its owner, or choose another folder",
    errno.EPERM: "you may not write there: ask its owner, or choose another folder",
    errno.EROFS: "choose a folder that can be written",
    errno.ENOENT: "was its folder moved, deleted or unmounted?",
    errno.ESTALE: "the file server has lost it: is it mounted as before?",
    errno.EIO: "the disk or file server fails",
}


def write_file(
    path: Path,
    data: bytes | str,
    *,
    check: Check | None = None,
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
            is moved; if it raises, the old file stays. Also called if the file cannot be written
            because something is gone: what it raises says more.
        durable: Whether to wait until the data is on the disk. If not, a power cut may leave the
            file empty; a killed process still cannot.
        sync_parent: Whether to wait until the move is on the disk too; not needed if another
            durable write in the same directory follows.

    Raises:
        OSError: If the directory is missing, not writable or full.
    """
    path = Path(path)
    try:
        with checked_if_missing(check):
            _write_and_move(path, data, check, durable=durable)
    except FileNotFoundError:
        # The run is still the caller's: somebody who was about to move its folder to the trash
        # learned that, and has put it back.
        if check is None or not path.parent.is_dir():
            raise
        _write_and_move(path, data, check, durable=durable)
    if sync_parent:
        sync_folder(path.parent)


def _write_and_move(path: Path, data: bytes | str, check: Check | None, *, durable: bool) -> None:
    temporary = write_temporary(path, data, durable=durable)
    try:
        if check is not None:
            check()
        with naming(path):
            temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise


def temporary_path(path: Path) -> Path:
    """A unique name beside `path`, which `remove_temporaries` knows as ours."""
    return path.with_name(f".{path.name[:200]}.{os.urandom(6).hex()}{TMP_SUFFIX}")


@contextlib.contextmanager
def checked_if_missing(check: Check | None) -> Iterator[None]:
    """Call `check` if a file or folder is missing in the block: it may have been taken over."""
    try:
        yield
    except FileNotFoundError:
        if check is not None:
            check()
        raise


def make_folder(path: Path, check: Check | None = None) -> None:
    """Make a folder and the ones above it, unless it exists.

    Args:
        path: The folder.
        check: See `write_file`; called for each folder that is missing, before it is in its place.
    """
    if path.is_dir():
        return
    if check is None:
        with naming(path):
            path.mkdir(parents=True, exist_ok=True)
        return
    check()
    make_folder(path.parent, check)
    with checked_if_missing(check), naming(path):
        temporary = temporary_path(path)
        temporary.mkdir()
        try:
            check()
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
        finally:
            with contextlib.suppress(OSError):  # it has moved
                temporary.rmdir()


def remove_file(path: Path, check: Check | None = None) -> None:
    """Remove a file, if there is one.

    Args:
        path: The file.
        check: As in `write_file`. The file is moved aside first, and put back if this raises: by
            its name alone it could be one that somebody else has written since.
    """
    if check is None:
        path.unlink(missing_ok=True)
        return
    aside = temporary_path(path)
    try:
        path.rename(aside)
    except FileNotFoundError:
        check()
        return
    try:
        check()
    except BaseException:
        with contextlib.suppress(OSError):
            _put_back(aside, path)
        raise
    aside.unlink(missing_ok=True)


def _put_back(aside: Path, path: Path) -> None:
    """Give a file its name back, unless there is a newer one by this name."""
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            aside.rename(path)
            return
    aside.unlink()


def write_temporary(path: Path, data: bytes | str, *, durable: bool = True) -> Path:
    """Write a complete file beside `path`, under a unique name."""
    # Not tempfile: its files are private (0600), and a group shares results on a cluster.
    temporary = temporary_path(path)
    with naming(path):
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                if durable:
                    os.fsync(fd)
        except BaseException:
            _remove(temporary)
            raise
    return temporary


def free_bytes(folder: Path) -> float:
    """The space that is left where a folder is; infinity where the system does not say."""
    try:
        facts = os.statvfs(folder)
    except (AttributeError, OSError):  # Windows
        return float("inf")
    return facts.f_bavail * facts.f_frsize


def reserve_space(folder: Path, size: int) -> int | None:
    """Occupy space for a file to be written when the disk is full.

    No name shows it, and it is free again when the descriptor is closed or the process ends.

    Returns:
        A descriptor for `write_reserved`; None where the system has no files without a name.
    """
    try:
        fd = os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o666)
    except (AttributeError, OSError):  # not Linux, NFS
        return None
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError:
        os.close(fd)
        return None
    return fd


def write_reserved(
    fd: int, path: Path, data: bytes, *, check: Callable[[], None] | None = None
) -> None:
    """Write a whole file as `write_file` does, into space that `reserve_space` has occupied.

    Args:
        fd: The descriptor; it stays open.
        path: The target, in the folder for which the space was reserved.
        data: The content, which must fit.
        check: See `write_file`.

    Raises:
        OSError: If that is not possible; then the old file stays.
    """
    temporary = path.with_name(f".{path.name[:200]}.{os.urandom(6).hex()}{TMP_SUFFIX}")
    with naming(path):
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))
        os.fsync(fd)
        # Python follows the link, as is needed here, only where it is given a folder's descriptor.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.link(f"/proc/self/fd/{fd}", temporary.name, dst_dir_fd=folder)
        finally:
            os.close(folder)
    try:
        if check is not None:
            check()
        with naming(path):
            temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors of the system within a block name this path, and say what to do about them.

    An error of writing to an open file names no path: `[Errno 28] No space left on device`.
    """
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno) if error.errno is not None else None
        if advice is None or (error.strerror or "").endswith(advice):
            raise
        raise OSError(error.errno, f"{error.strerror}; {advice}", os.fspath(path)) from None


def _remove(temporary: Path) -> None:
    """Remove a file that has become useless; the error under way matters more than one here."""
    with contextlib.suppress(OSError):
        temporary.unlink()


@contextlib.contextmanager
def atomic_path(path: Path, check: Check | None = None) -> Iterator[Path]:
    """Give a temporary path in the same directory; move it over the target when the block ends.

    For writers that need a path (`torch.save`); `write_file` is for data in memory. If the block
    or `check` (see `write_file`) raises, the old file is untouched and the temporary one is
    removed.
    """
    temporary = temporary_path(path)
    with checked_if_missing(check):
        try:
            with naming(path):
                yield temporary
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            if check is not None:
                check()
            with naming(path):
                os.replace(temporary, path)  # noqa: PTH105
        except BaseException:
            # Emptied first: as long as torch's error lives, its writer keeps the file open, and a
            # full disk would stay full after the file is removed.
            with contextlib.suppress(OSError):
                os.truncate(temporary, 0)
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
            raise
    sync_folder(path.parent)


def append_line(path: Path, line: str) -> None:
    """Append one line as a whole, with a single write: lines of several processes do not mix.

    If somebody else's write ended within a line, this one begins on a line of its own.

    Raises:
        OSError: If the line could not be written as a whole; then nothing of it is left.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    with naming(path):
        fd = os.open(path, flags, 0o666)
    try:
        wait_for_lock(fd)
        append_line_to(fd, path, line)
    finally:
        os.close(fd)


def append_line_to(fd: int, path: Path, line: str) -> None:
    """`append_line` to a file that is open to read and append, and locked."""
    data = line.encode() + b"\n"
    size = os.lseek(fd, 0, os.SEEK_END)
    if size:
        os.lseek(fd, size - 1, os.SEEK_SET)
        if os.read(fd, 1) != b"\n":
            data = b"\n" + data
    with naming(path):
        written = os.write(fd, data)
    if written < len(data):  # a full disk takes what fits and reports no error
        if os.fstat(fd).st_size == size + written:  # without locks another one may have written
            os.ftruncate(fd, size)
        raise OSError(
            errno.ENOSPC,
            f"{os.strerror(errno.ENOSPC)}: {written} of {len(data)} bytes of a line fitted",
            os.fspath(path),
        )
    os.fsync(fd)


def wait_for_lock(fd: int) -> None:
    """Let one process after another write, where the file system has locks.

    A page of a line that is being written can be seen before the rest.
    """
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows and some network file systems refuse
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is one that expkit is about to move into its place."""
    return name.endswith(TMP_SUFFIX) and _TEMPORARY.fullmatch(name) is not None
