"""How a run ended whose journal does not say so."""

import json
from datetime import datetime
from pathlib import Path

from ._journal import STATUS, Entry, ends, is_owned
from ._owners import is_gone


def how_it_ended(journal: Path, head: Entry) -> tuple[str, float | None] | None:
    """MLflow's status and the time of the end, for a run whose journal does not say; else None.

    run.json tells; where Bookkeeping does not keep one, the journal's own owner is asked.
    """
    record_path = journal.parent / "run.json"
    try:
        record = json.loads(record_path.read_bytes())
    except (OSError, ValueError):
        record = {}
    if isinstance(record, dict) and record.get("id") == head["id"]:
        status = STATUS.get(str(record.get("state")))
        if status is not None:
            return status, _seconds(record.get("ended_at"))
        if is_gone(record, record_path):
            return "KILLED", _seconds(record.get("heartbeat_at"))
        return None
    if is_owned(journal) or not is_gone(head, journal):
        return None
    return "KILLED", journal.stat().st_mtime


def sends_itself(journal: Path, head: Entry) -> bool:
    """Whether the run's own process is still there to send its journal to a server."""
    if is_owned(journal):
        return True
    return not ends(journal) and how_it_ended(journal, head) is None


def _seconds(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
