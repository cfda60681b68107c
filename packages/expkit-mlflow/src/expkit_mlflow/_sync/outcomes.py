"""What Bookkeeping knows of a run only at its end, as the journal's last metrics.

These are its best value, what the task function returned, and the scalars of its results. The last
two may come after the run has ended, so `sync` adds them to journals that lack them.
"""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from .._journal.entries import Entry, json_number
from .._journal.ownership import has_owner
from .._journal.reading import has_ended
from .._journal.reconciling import is_void, read_cuts
from .._journal.writing import ImplicitStep, Journal
from .siblings import reader_of_runs

_TAIL_BYTES = 300_000  # more than 200 numbers with names of 250 characters take


def outcome_of(folder: Path) -> dict[str, float]:
    """The numbers of Bookkeeping's run in this folder; none without expkit-bookkeeping."""
    if not (folder / "run.json").exists():
        return {}
    with contextlib.suppress(ImportError, OSError, ValueError):
        with reader_of_runs("The best value of a run"):
            from expkit_bookkeeping.reading import outcome_numbers

        return outcome_numbers(folder)
    return {}


def has_outcome(journal: Path, numbers: Mapping[str, float]) -> bool:
    """Whether the last entry of these names in a journal has these values, and is not void."""
    name = json.dumps(next(iter(numbers))).encode()  # whoever looks for it parses a line or two
    cuts = read_cuts(journal)
    last: object = None
    offset = 0
    with journal.open("rb") as file:
        for line in file:
            if name in line and not is_void(offset, cuts):
                with contextlib.suppress(ValueError, RecursionError):
                    entry = json.loads(line)
                    if isinstance(entry, dict) and entry.get("kind") == "metrics":
                        last = entry.get("metrics")
            offset += len(line)
    return last == {key: json_number(value) for key, value in numbers.items()}


class Outcomes:
    """Completes journals of ended runs, and remembers what it has looked at."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[object, ...]] = {}

    def complete(self, journal: Path) -> bool:
        """Adds the outcome to the journal of a run that has ended, unless it is there.

        Call it under the experiment's lock. A journal that cannot be written stays as it is.

        Returns:
            Whether something was added.
        """
        folder = journal.parent
        state = tuple(_version(path) for path in (journal, folder / "run.json", folder / "results"))
        if self._seen.get(journal) == state:
            return False
        self._seen[journal] = state
        with contextlib.suppress(OSError):
            if has_ended(journal) and not has_owner(journal):
                numbers = outcome_of(folder)
                values = {key: json_number(value) for key, value in numbers.items()}
                *before, end = _last_entries(journal)
                is_last = any(entry.get("metrics") == values for entry in before)
                if values and not is_last and not has_outcome(journal, numbers):
                    return _append(journal, numbers, end)
        return False


def _append(path: Path, numbers: dict[str, float], end: Entry) -> bool:
    journal = Journal(path)
    try:
        if journal.is_owner is False or not has_ended(path):  # it goes on in this moment
            return False
        journal.append_point(numbers, ImplicitStep.NEXT, time.time())
        journal.append(end)
    finally:
        journal.close()
    return True


def _last_entries(path: Path) -> list[Entry]:
    """The last two entries of a journal that has ended."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        lines = file.read().splitlines()[-2:]
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        entries.append(entry if isinstance(entry, dict) else {})
    return entries


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
