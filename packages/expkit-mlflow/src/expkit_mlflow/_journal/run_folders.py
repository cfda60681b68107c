"""The folder of a run without Bookkeeping."""

import re
import time
import uuid
from pathlib import Path

from .entries import JOURNAL_NAME, Entry
from .processes import is_gone
from .reading import has_ended, is_completed, open_to_read, read_attempts, read_journal
from .writing import Journal


def open_run_folder(training: Path, name: str) -> tuple[Journal, str, int]:
    """Opens the run folder of this name, or of this name with a number.

    A folder is taken if it is new, or if its run is neither completed nor running; one with
    somebody else's tracking.jsonl is left alone.

    Returns:
        Its journal, the run's id, and the number of this attempt.
    """
    number = 1
    while True:
        path = training / (name if number == 1 else f"{name}_{number}") / JOURNAL_NAME
        if _is_foreign(path):
            number += 1
            continue
        journal = Journal(path)
        attempts = read_attempts(path)
        if _is_free(journal, attempts) and not (attempts and is_completed(path)):
            run_id = str(attempts[-1]["id"]) if attempts else uuid.uuid4().hex
            return journal, run_id, len(attempts) + 1
        journal.close()
        number += 1


def owns_config(journal: Path) -> bool:
    """Whether config.yaml beside a journal is the logger's to write: its own, or none is there."""
    if not journal.with_name("config.yaml").exists():
        return True
    return b'"path": "config.yaml"' in read_journal(journal)


def _is_foreign(path: Path) -> bool:
    """Whether a tracking.jsonl is no journal, not even one that was killed at its first line."""
    begin = b'{"kind": "run"'
    try:
        with open_to_read(path) as file:
            return not begin.startswith(file.read(len(begin)))
    except FileNotFoundError:
        return False


def _is_free(journal: Journal, attempts: list[Entry]) -> bool:
    if journal.is_owner is not None or not attempts:
        return journal.is_owner is not False
    # Without locks the journal's entries decide, so that two processes do not write one run.
    return has_ended(journal.path) or is_gone(attempts[-1], journal.path)


def name_from_time(time_s: float) -> str:
    """A run's name made from the time: `20261123-080550`."""
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(time_s))


def is_folder_name(name: str) -> bool:
    """Whether the text can name one folder that readers of experiments look into."""
    return bool(name) and not name.startswith(".") and not re.search(r"[/\\\0]", name)
