"""What a pass of `sync` found and did, in numbers and in a line."""

from dataclasses import dataclass, field
from pathlib import Path

from ._journal import NAME


@dataclass
class SyncReport:
    """What a pass of `sync` found and did."""

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

    def __str__(self) -> str:
        """One line for people."""
        if not self.runs:
            return f"{self.folder}: no run has a journal (training/*/{NAME}), nothing to send"
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
        told = ", ".join(f"{count} {what}" for count, what in facts if count) or "nothing missing"
        runs = "1 run" if self.runs == 1 else f"{self.runs} runs"
        return f"{self.folder}: {runs}, {told}"

    def add(self, other: "SyncReport") -> None:
        """Counts a later pass; `runs` and `sending` are its own, the rest are sums."""
        self.runs, self.sending = other.runs, other.sending
        self.created += other.created
        self.updated += other.updated
        self.points += other.points
        self.closed += other.closed
        self.deleted += other.deleted
        self.superseded += other.superseded
        self.problems += [text for text in other.problems if text not in self.problems]
