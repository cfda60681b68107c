"""Reading a journal, whole or from a position on."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from .entries import Entry


def read_entries(path: Path, start: int = 0) -> Iterator[tuple[Entry, int]]:
    """The entries from byte `start` on, each with the offset of the byte after it.

    A torn last line is left for later; a damaged line in the middle becomes an empty entry.
    """
    with path.open("rb") as file:
        file.seek(start)
        offset = start
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                entry = json.loads(line.decode())  # json would guess the encoding of each line
            except ValueError:
                entry = None
            yield (entry if isinstance(entry, dict) else {}), offset


def read_attempts(path: Path) -> list[Entry]:
    """The `run` entries, one per attempt, read without parsing the metrics between them."""
    entries = []
    with path.open("rb") as file:
        for line in file:
            if b'"run"' in line[:32] and line.endswith(b"\n"):
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, dict) and entry.get("kind") == "run":
                        entries.append(entry)
    return entries


def has_ended(path: Path) -> bool:
    """Whether the journal's last entry says how the run ended."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4096))
        lines = file.read().splitlines(keepends=True)
    return bool(lines) and lines[-1].endswith(b"\n") and b'"kind": "end"' in lines[-1][:64]


def is_completed(path: Path) -> bool:
    """Whether the journal's last entry says that the run was completed."""
    return has_ended(path) and b'"FINISHED"' in path.read_bytes().rsplit(b"\n", 2)[-2]
