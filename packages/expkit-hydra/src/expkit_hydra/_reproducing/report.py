"""What a reproduction has brought back, and what it could not."""

from collections.abc import Sequence
from dataclasses import dataclass, field

MOST_NAMED = 8


@dataclass
class Report:
    """Sentences about a reproduction.

    Attributes:
        same: What is as it was.
        missing: What could not be brought back, or is another one here.
        notes: What to know before the run is started.
    """

    same: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def some(texts: Sequence[str], separator: str = ", ") -> str:
    """The first of several texts, and how many more there are."""
    more = len(texts) - MOST_NAMED
    return separator.join(texts[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
