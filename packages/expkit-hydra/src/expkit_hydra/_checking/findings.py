"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass

REFUSED, WARNING, NOTE = "refused", "warning", "note"
LEVELS = (REFUSED, WARNING, NOTE)


@dataclass(frozen=True)
class Finding:
    """One thing that a check has found.

    Attributes:
        level: `refused`: no grid is made; `warning`: it is, and something may not be what you
            mean; `note`: good to know.
        subject: What it is about, one word of the list in docs/formats.md.
        text: A sentence, with what to write instead.
        file: The file that it is about, if known.
        line: The line in it, from 1, if known.
    """

    level: str
    subject: str
    text: str
    file: str | None = None
    line: int | None = None
