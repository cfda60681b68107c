"""The end of a run whose journal does not record it."""

import json
from datetime import datetime
from pathlib import Path

from .entries import STATUS, Entry
from .ownership import has_owner
from .processes import is_gone
from .reading import has_ended


def inferred_end(journal: Path, head: Entry) -> tuple[str, float | None] | None:
    """MLflow's status and the time of the end, for a journal without `end`; None if still running.

    run.json says how the run ended. Without Bookkeeping there is none: then the run was killed if
    the journal's owner is gone.
    """
    record_path = journal.parent / "run.json"
    try:
        record = json.loads(record_path.read_bytes())
    except (OSError, ValueError, RecursionError):
        record = {}
    if isinstance(record, dict) and record.get("id") == head["id"]:
        schema = record.get("schema", 1)
        if not isinstance(schema, int) or schema > 1:  # a newer version knows how it stands
            return None
        status = STATUS.get(str(record.get("state")))
        if status is not None:
            return status, _seconds(record.get("ended_at"))
        if is_gone(record, record_path):
            return "KILLED", _seconds(record.get("heartbeat_at"))
        return None
    if has_owner(journal) or not is_gone(head, journal):
        return None
    return "KILLED", journal.stat().st_mtime


def is_sending(journal: Path, head: Entry) -> bool:
    """Whether the run's own process is alive and sends its journal to a server itself."""
    if has_owner(journal):
        return True
    return not has_ended(journal) and inferred_end(journal, head) is None


def _seconds(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
