"""Which runs the sync and the figures of an experiment are of.

A sweep may be killed between its last run and the end of what follows it. The next one finds
nothing left to run, and has to know whether something is left to do.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

NAME = ".after.json"


def was_done(experiment: Path, records: Iterable[RunRecord], verbs: Sequence[str]) -> bool:
    """Whether these commands have succeeded since the last of these runs changed."""
    try:
        noted = json.loads((experiment / NAME).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(noted == _note(records, verbs))


def note_done(experiment: Path, records: Iterable[RunRecord], verbs: Sequence[str]) -> None:
    """Remember that these commands have succeeded; where that cannot be written, they repeat."""
    from expkit_bookkeeping import write_file

    with contextlib.suppress(OSError):
        write_file(experiment / NAME, json.dumps(_note(records, verbs)) + "\n")


def _note(records: Iterable[RunRecord], verbs: Sequence[str]) -> dict[str, object]:
    states = sorted(
        [str(each.id), str(each.state), str(each.attempt), str(each.ended_at)] for each in records
    )
    runs = hashlib.sha256(json.dumps(states).encode()).hexdigest()
    return {"schema": 1, "after": list(verbs), "runs": runs}
