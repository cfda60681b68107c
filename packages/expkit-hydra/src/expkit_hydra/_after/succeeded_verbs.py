"""For which runs the commands after a grid have succeeded: `sync`, `plot` and `report`.

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
SCHEMA = 1


def have_succeeded(experiment: Path, records: Iterable[RunRecord], verbs: Sequence[str]) -> bool:
    """Whether these commands have succeeded since the last of these runs changed."""
    from expkit_bookkeeping.launching import UnreadableFileError

    try:
        return bool(_read(experiment) == _content(records, verbs))
    except (FileNotFoundError, UnreadableFileError):
        return False


def record_success(experiment: Path, records: Iterable[RunRecord], verbs: Sequence[str]) -> None:
    """Record that these commands have succeeded; if that cannot be written, they will repeat.

    A file of a newer version stays as it is.
    """
    from expkit_bookkeeping.launching import NewerFileError, UnreadableFileError, write_file

    with contextlib.suppress(OSError):
        try:
            _read(experiment)
        except NewerFileError:
            return
        except (FileNotFoundError, UnreadableFileError):
            pass
        write_file(experiment / NAME, json.dumps(_content(records, verbs)) + "\n")


def _read(experiment: Path) -> object:
    from expkit_bookkeeping.launching import read_json

    return read_json(experiment / NAME, schema=SCHEMA, package="expkit-hydra")


def _content(records: Iterable[RunRecord], verbs: Sequence[str]) -> dict[str, object]:
    states = sorted(
        [str(run.id), str(run.state), str(run.attempt), str(run.ended_at)] for run in records
    )
    runs = hashlib.sha256(json.dumps(states).encode()).hexdigest()
    return {"schema": SCHEMA, "after": list(verbs), "runs": runs}
