"""Reading a journal, whole or from a position on."""

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .entries import SCHEMA, Entry


class NewerJournalError(ValueError):
    """A journal that a newer version wrote: what it means by its entries is not known here.

    Attributes:
        run_id: The id of its run, if it says one.
    """

    def __init__(self, message: str, run_id: str | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id


def open_to_read(path: Path) -> BinaryIO:
    """Opens a journal, without ever waiting for it, as opening a pipe would.

    Raises:
        OSError: If it cannot be opened, or is a folder, pipe or device.
    """
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return os.fdopen(fd, "rb")
    os.close(fd)
    raise OSError(errno.EINVAL, "It is a folder, a pipe or a device, not a file", os.fspath(path))


def read_journal(path: Path) -> bytes:
    """The content of a journal; raises as `open_to_read`."""
    with open_to_read(path) as file:
        return file.read()


def read_entries(path: Path, start: int = 0) -> Iterator[tuple[Entry, int]]:
    """The entries from byte `start` on, each with the offset of the byte after it.

    A torn last line is left for later; a damaged line in the middle becomes an empty entry.
    """
    with open_to_read(path) as file:
        file.seek(start)
        offset = start
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                entry = json.loads(line.decode())  # json would guess the encoding of each line
            except (ValueError, RecursionError):
                entry = None
            yield (entry if isinstance(entry, dict) else {}), offset


def read_attempts(path: Path) -> list[Entry]:
    """The `run` entries, one per attempt, read without parsing the metrics between them.

    Raises:
        NewerJournalError: If a newer version wrote one of them.
    """
    entries = []
    with open_to_read(path) as file:
        for line in file:
            if b'"run"' in line[:32] and line.endswith(b"\n"):
                entry = None
                with contextlib.suppress(ValueError, RecursionError):
                    entry = json.loads(line.decode())
                if isinstance(entry, dict) and entry.get("kind") == "run":
                    _check_schema(entry, path)
                    entries.append(entry)
    return entries


def _check_schema(entry: Entry, path: Path) -> None:
    schema = entry.get("schema", SCHEMA)
    if isinstance(schema, int) and schema > SCHEMA:
        raise NewerJournalError(
            f"{path} was written by a newer version of expkit-mlflow (schema {schema}; this one "
            f"reads {SCHEMA}): upgrade it, pip install -U expkit-mlflow",
            run_id=str(entry["id"]) if entry.get("id") else None,
        )


def has_ended(path: Path) -> bool:
    """Whether the journal's last entry says how the run ended."""
    with open_to_read(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4096))
        lines = file.read().splitlines(keepends=True)
    return bool(lines) and lines[-1].endswith(b"\n") and b'"kind": "end"' in lines[-1][:64]


def is_completed(path: Path) -> bool:
    """Whether the journal's last entry says that the run was completed."""
    return has_ended(path) and b'"FINISHED"' in read_journal(path).rsplit(b"\n", 2)[-2]
