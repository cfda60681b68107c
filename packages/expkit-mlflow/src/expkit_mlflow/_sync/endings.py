"""The end of a run whose journal does not record it."""

from datetime import datetime
from pathlib import Path

from .._journal.entries import STATUS, Entry
from .._journal.ownership import has_owner
from .._journal.processes import is_gone
from .._journal.reading import has_ended
from .siblings import reader_of_runs


def inferred_end(journal: Path, head: Entry) -> tuple[str, float | None] | None:
    """MLflow's status and the time of the end, for a journal without `end`; None if still running.

    Bookkeeping says how its run ended. A lone run was killed if its journal's owner is gone.

    Raises:
        ImportError: If there is a run.json, and no expkit-bookkeeping to read it.
    """
    if (journal.parent / "run.json").exists():
        with reader_of_runs("How a run ended whose journal does not say it"):
            from expkit_bookkeeping.reading import find_run

        record = find_run(journal.parent)
        if record is not None and record.is_newer:  # only a newer version knows how it stands
            return None
        if record is not None and record.id == head["id"]:
            if record.state == "lost":
                return "KILLED", _seconds(record.heartbeat_at)
            status = STATUS.get(record.state)
            return None if status is None else (status, _seconds(record.ended_at))
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
