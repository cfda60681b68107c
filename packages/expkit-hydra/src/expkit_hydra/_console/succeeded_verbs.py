"""For which runs the commands after a grid have succeeded: `sync` and `plot`.

A sweep may be killed between its last run and the end of these commands. The next sweep finds
nothing to run, and has to know whether it still has to call them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

NAME = ".after.json"


def have_succeeded(experiment: Path, records: Iterable[RunRecord], verbs: Sequence[str]) -> bool:
    """Whether these commands have succeeded since the last of these runs changed."""
    try:
        content = json.loads((experiment / NAME).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(content == _content(records, verbs))


def record_success(experiment: Path, records: Iterable[RunRecord], verbs: Sequence[str]) -> None:
    """Record that these commands have succeeded; if that cannot be written, they will repeat."""
    from expkit_bookkeeping.launching import write_file

    with contextlib.suppress(OSError):
        write_file(experiment / NAME, json.dumps(_content(records, verbs)) + "\n")


def _content(records: Iterable[RunRecord], verbs: Sequence[str]) -> dict[str, object]:
    states = sorted(
        [str(run.id), str(run.state), str(run.attempt), str(run.ended_at)] for run in records
    )
    runs = hashlib.sha256(json.dumps(states).encode()).hexdigest()
    return {"schema": 1, "after": list(verbs), "runs": runs}
