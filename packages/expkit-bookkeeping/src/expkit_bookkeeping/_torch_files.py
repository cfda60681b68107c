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

from ._files import atomic_path, sent_ahead

_WRITER = ("PytorchStreamWriter", "inline_container", "iostream")  # in errors of torch's writer


class DamagedFileError(ValueError):
    """A file whose bytes are not those that were written."""


def write_torch(
    path: Path,
    content: object,
    beside: Callable[[], None] | None = None,
    check: Callable[[], None] | None = None,
) -> None:
    """Write content with `torch.save`: durable, checksummed, the old file kept until it is.

    Args:
        path: The file; its folder is made.
        content: What `saveable` gave.
        beside: Called in another thread while the content is written.
        check: See `write_file`.

    Raises:
        OSError: If it could not be written; the text has the path and the free space.
    """
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, check) as temporary, _checksums():
        try:
            with sent_ahead(temporary, beside):
                torch.save(content, temporary)
        except RuntimeError as error:  # what torch's writer in C++ raises for a full disk
            if not any(name in str(error) for name in _WRITER):
                raise
            free = shutil.disk_usage(path.parent).free
            raise OSError(
                errno.ENOSPC if free < 1 << 20 else errno.EIO,
                f"Could not write ({error}); {free / 1e6:.0f} MB are free there. "
                "Files written before are untouched",
                os.fspath(path),
            ) from error


_checksum_lock = threading.Lock()
_checksum_users: list[bool] = []  # saves under way, and whether the program's choice was no


def _renew_lock() -> None:
    """A child may be forked while a thread holds the lock, which does not exist in the child."""
    global _checksum_lock
    _checksum_lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew_lock)


@contextlib.contextmanager
def _checksums() -> Iterator[None]:
    """Write checksums, whatever the program chose for its own files."""
    from torch import serialization

    get = getattr(serialization, "get_crc32_options", None)  # since torch 2.6
    if get is None:
        yield
        return
    with _checksum_lock:  # a checkpoint may be written in the background meanwhile
        _checksum_users.append(not get())
        serialization.set_crc32_options(True)
    try:
        yield
    finally:
        with _checksum_lock:
            # The first of those under way at once knows the program's choice, and passes it on.
            chose_no = _checksum_users.pop(0)
            if _checksum_users:
                _checksum_users[0] = chose_no
            else:
                serialization.set_crc32_options(not chose_no)


def read_torch(path: Path, *, unsafe: bool = False) -> object:
    """Read a file of `write_torch` onto the CPU, after its checksums were compared.

    Args:
        path: The file.
        unsafe: Unpickle arbitrary objects, which runs code from the file. For old files of your
            own only.

    Raises:
        DamagedFileError: If the bytes are not those that were written.
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds what cannot be read without running code.
    """
    from pickle import UnpicklingError

    import torch

    if not unsafe:
        check_archive(path)
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=not unsafe)
    except RuntimeError as error:
        if "PytorchStreamReader" not in str(error):  # of memory, say
            raise
        raise DamagedFileError(f"{path} is damaged: {str(error)[:200]}") from error
    except UnpicklingError as error:  # its bytes are right, so an older one may be as unreadable
        found = re.search(
            r"(?:Unsupported (?:global|class|operand)|WeightsUnpickler).*", str(error)
        )
        raise ValueError(
            f"{path} holds what is not read without running code from the file"
            f"{f' ({found[0][:200]})' if found else ''}. Where the file is your own, allow its "
            "classes first, torch.serialization.add_safe_globals([TheClass]), or read it with "
            "load_model(…, unsafe=True)."
        ) from error
    return content


def check_archive(path: Path) -> None:
    """Compare a zip file's checksums, which `torch.load` does not do.

    torch is built without them (MINIZ_DISABLE_ZIP_READER_CRC32_CHECKS): a flipped bit in the
    weights goes unnoticed.

    Raises:
        DamagedFileError: If a checksum differs or the file is torn.
    """
    try:
        with zipfile.ZipFile(path) as archive:
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
