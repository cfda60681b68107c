"""A zip whose bytes depend on nothing but its files, and which appears when it is whole."""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .selection import Member

_CHUNK_BYTES = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can hold
# Compressed already: it would take long and save nothing.
_STORED = (".pt", ".png", ".pdf", ".jpg", ".jpeg", ".gz", ".npz", ".zip", ".parquet")


def write_archive(
    target: Path,
    folder: str,
    members: Sequence[Member],
    texts: Mapping[str, str],
    *,
    replace: bool = False,
    advance: Callable[[int], None] = lambda size_bytes: None,
) -> list[str]:
    """Write files into a zip, under one folder.

    Args:
        target: The zip.
        folder: The folder's name.
        members: The files.
        texts: By name, files whose content is given.
        replace: Whether an existing zip is replaced.
        advance: Called with the number of bytes that have been read since the last call.

    Returns:
        What could not be read, with the reason.

    Raises:
        FileExistsError: If there is a file by that name, which stays as it is.
        OSError: If it cannot be written; then nothing is left of it.
    """
    if not replace and os.path.lexists(target):
        raise _exists(target)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target.parent} is no folder: make it, or name another with --to")
    unreadable = []
    temporary = target.with_name(f".{target.name[:200]}.{os.urandom(6).hex()}.tmp")
    try:
        with temporary.open("xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
                places: dict[str, Member | str] = {member.name: member for member in members}
                for name, content in sorted({**places, **texts}.items()):
                    info = _entry(f"{folder}/{name}")
                    if isinstance(content, str):
                        archive.writestr(info, content)
                        continue
                    problem = _copy(archive, info, content, advance)
                    if problem is not None:
                        unreadable.append(f"{name} ({problem})")
            file.flush()
            os.fsync(file.fileno())
        _publish(temporary, target, replace=replace)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return unreadable


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3  # Unix, whatever this is
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    if name.endswith(_STORED):
        info.compress_type = zipfile.ZIP_STORED
    return info


def _copy(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    member: Member,
    advance: Callable[[int], None],
) -> str | None:
    """Copy a file as far as it is now; returns why that is not possible."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        fd = os.open(member.path, flags)
    except OSError as error:
        return error.strerror or str(error)
    with os.fdopen(fd, "rb") as source:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return "no file"
        remaining = info.file_size = status.st_size  # a run that goes on appends to its files
        with archive.open(info, "w", force_zip64=status.st_size > 1 << 30) as place:
            while remaining and (chunk := source.read(min(_CHUNK_BYTES, remaining))):
                place.write(chunk)
                remaining -= len(chunk)
                advance(len(chunk))
    return None


def _publish(temporary: Path, target: Path, *, replace: bool) -> None:
    if replace:
        temporary.replace(target)
        return
    try:
        os.link(temporary, target)  # never over another file
    except FileExistsError:
        raise _exists(target) from None
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise _exists(target) from None
        temporary.rename(target)


def _exists(target: Path) -> FileExistsError:
    return FileExistsError(f"{target} exists: name another file with --to, or give --force.")
