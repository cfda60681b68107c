"""Files of `torch.save`: durable, checksummed, and read without unpickling."""

import contextlib
import errno
import os
import re
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from .append_files import open_to_read
from .durable import Check, atomic_path, make_folder
from .writeback import early_writeback

_WRITER = ("PytorchStreamWriter", "inline_container", "iostream")  # in errors of torch's writer


class DamagedFileError(ValueError):
    """A file whose bytes are not the ones that were written."""


def write_torch(
    path: Path,
    content: object,
    meanwhile: Callable[[], None] | None = None,
    check: Check | None = None,
) -> None:
    """Write content with `torch.save`, durable and checksummed; until then the old file stays.

    Args:
        path: The file; its folder is made.
        content: What `saveable` returned.
        meanwhile: Called in another thread while the content is written.
        check: See `write_file`.

    Raises:
        OSError: If it could not be written; the text has the path and the free space.
    """
    from .._optional import torch

    make_folder(path.parent, check)
    with atomic_path(path, check) as temporary, _checksums():
        try:
            with early_writeback(temporary, meanwhile):
                torch.save(content, temporary)
        except RuntimeError as error:  # torch's writer in C++ raises it for a full disk
            if not path.parent.is_dir():
                raise FileNotFoundError(errno.ENOENT, f"{error}", os.fspath(path)) from error
            if not any(name in str(error) for name in _WRITER):
                raise
            free = shutil.disk_usage(path.parent).free
            number = _refusal(temporary) or (errno.ENOSPC if free < 1 << 20 else errno.EIO)
            raise OSError(
                number,
                f"{os.strerror(number)} ({free / 1e6:.0f} MB are free there, files written before "
                "are untouched)",
                os.fspath(path),
            ) from error


def _refusal(path: Path) -> int | None:
    """Why the system takes no more for a file, which torch does not tell: a number of errno."""
    try:
        with path.open("ab", buffering=0) as file:
            file.write(bytes(4096))
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno
    return None


_checksum_lock = threading.Lock()
_saves_under_way: list[bool] = []  # for each, whether checksums were off when it began


def _renew_lock() -> None:
    """Make a new lock in a forked child: the old one may be held by a thread of the parent."""
    global _checksum_lock
    _checksum_lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew_lock)


@contextlib.contextmanager
def _checksums() -> Iterator[None]:
    """Write checksums in this block, even if the program has turned them off for its files."""
    from .._optional import torch

    serialization = torch.serialization
    get = getattr(serialization, "get_crc32_options", None)  # since torch 2.6
    if get is None:
        yield
        return
    with _checksum_lock:  # a checkpoint may be written in the background at the same time
        _saves_under_way.append(not get())
        serialization.set_crc32_options(True)
    try:
        yield
    finally:
        with _checksum_lock:
            # The first of several at once saw the program's own setting, and passes it on.
            were_off = _saves_under_way.pop(0)
            if _saves_under_way:
                _saves_under_way[0] = were_off
            else:
                serialization.set_crc32_options(not were_off)


def read_torch(path: Path, *, unsafe: bool = False) -> object:
    """Compare the checksums of a file of `write_torch`, and read it onto the CPU.

    Args:
        path: The file.
        unsafe: Whether to unpickle arbitrary objects, which runs code from the file. Only for old
            files of your own.

    Raises:
        DamagedFileError: If the bytes are not the ones that were written.
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds what cannot be read without running code.
    """
    from pickle import UnpicklingError

    from .._optional import torch

    if not unsafe:
        check_archive(path)
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=not unsafe)
    except RuntimeError as error:
        if "PytorchStreamReader" not in str(error):  # for instance out of memory
            raise
        raise DamagedFileError(f"{path} is damaged: {str(error)[:200]}") from error
    except UnpicklingError as error:  # its bytes are right, so older ones may be as unreadable
        reason = re.search(
            r"(?:Unsupported (?:global|class|operand)|WeightsUnpickler).*", str(error)
        )
        raise ValueError(
            f"{path} holds what cannot be read without running code from the file"
            f"{f' ({reason[0][:200]})' if reason else ''}. If the file is your own, allow its "
            "classes first, torch.serialization.add_safe_globals([TheClass]), or read it with "
            "load_model(…, unsafe=True)."
        ) from error
    return content


def check_archive(path: Path) -> None:
    """Compare a zip file's checksums, which `torch.load` does not do.

    torch is built without this check (MINIZ_DISABLE_ZIP_READER_CRC32_CHECKS): a flipped bit in
    the weights would go unnoticed.

    Raises:
        DamagedFileError: If a checksum differs or the file is torn.
    """
    try:
        with open_to_read(path) as file, zipfile.ZipFile(file) as archive:
            # torch compresses nothing: such a file could hold any number of bytes.
            packed = [info for info in archive.infolist() if info.compress_type]
            size = sum(info.file_size for info in archive.infolist())
            if packed or size > os.fstat(file.fileno()).st_size:
                raise zipfile.BadZipFile("it is compressed, or parts of it lie in one place")
            fault = archive.testzip()
            # No checksum covers this bit, and torch reads garbage from a file marked a directory.
            marked = [info.filename for info in archive.infolist() if info.external_attr & 0x10]
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EIO):  # EINVAL: an offset that makes no sense
            raise
        raise DamagedFileError(f"{path} cannot be read: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # zipfile lets struct, zlib, unicode and index errors through
        raise DamagedFileError(f"{path} is damaged: {error or type(error).__name__}") from error
    if fault is not None:
        raise DamagedFileError(f"{path} is damaged: the checksum of {fault} differs.")
    if marked:
        raise DamagedFileError(f"{path} is damaged: {marked[0]} is marked as a directory.")
