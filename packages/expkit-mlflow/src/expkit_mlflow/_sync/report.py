"""The report of `sync`, in numbers and in one line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .._journal.entries import JOURNAL_NAME


@dataclass
class SyncReport:
    """What one or several passes of `sync` did.

    Attributes:
        folder: The experiment's folder.
        runs: Runs that have a journal.
        created: Runs that are new in MLflow.
        updated: Runs that MLflow had, and that were continued or restored.
        points: Points that were sent.
        closed: Runs that were ended because their owner is gone.
        deleted: Runs marked as deleted because their folder was removed.
        superseded: Earlier runs whose folder a new run has now.
        sending: Runs that are still sending their journal themselves.
        problems: What could not be sent, in words.
        left_to: The process that sends the rest, in words; None if that is this one.
    """

    folder: Path
    runs: int = 0
    created: int = 0
    updated: int = 0
    points: int = 0
    closed: int = 0
    deleted: int = 0
    superseded: int = 0
    sending: int = 0
    problems: list[str] = field(default_factory=list)
    left_to: str | None = None

    def __str__(self) -> str:
        """One line for people."""
        if not self.runs:
            return (
                f"{self.folder}: no run has a journal (training/*/{JOURNAL_NAME}), nothing to send"
            )
        facts: list[tuple[int, str]] = [
            (self.created, "new"),
            (self.updated, "updated"),
            (self.points, "points sent"),
            (self.closed, "closed (owner gone)"),
            (self.deleted, "deleted"),
            (self.superseded, "superseded"),
            (self.sending, "still sending themselves"),
            (len(self.problems), "problem" if len(self.problems) == 1 else "problems"),
        ]
        counts = ", ".join(f"{count} {text}" for count, text in facts if count)
        runs = "1 run" if self.runs == 1 else f"{self.runs} runs"
        return f"{self.folder}: {runs}, {counts or 'nothing missing'}"

    def add(self, other: SyncReport) -> None:
        """Adds a later pass; `runs` and `sending` become its own, the others are summed."""
        self.runs, self.sending = other.runs, other.sending
        self.created += other.created
        self.updated += other.updated
        self.points += other.points
        self.closed += other.closed
        self.deleted += other.deleted
        self.superseded += other.superseded
        self.problems += [text for text in other.problems if text not in self.problems]
