"""The runs that a run was built on, and whether they have been trained anew since."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from .._checkpoints.states import stored_path
from .._files.append_files import open_to_read
from .._files.paths import path_inside
from .._runs.records import RunRecord, read_run
from .._runs.settings import folder_name, settings_of_run


@dataclass(frozen=True, slots=True)
class UsedRun:
    """A run that another one was built on, by a file of its states; equal if that file is.

    Attributes:
        id: The used run's id.
        checkpoint: Its file, relative to `states/`: `best.pt`.
        sha256: Of the file's content.
        run: Name of the used run's folder.
        experiment: Name of its experiment's folder; None if that does not lie beside the
            experiment of the run that used it, or one of the two is in none.
        attempt: The used run's attempt.
        size: Of the file, in bytes.
        modified_ns: When the file was written, in nanoseconds since the epoch, by its file system.
        used_at: ISO 8601 in UTC.
        by_attempt: The attempt that used it.
    """

    id: str
    checkpoint: str
    sha256: str
    run: str = field(compare=False)
    experiment: str | None = field(compare=False)
    attempt: int = field(compare=False)
    size: int = field(compare=False)
    modified_ns: int = field(compare=False)
    used_at: str = field(compare=False)
    by_attempt: int = field(compare=False)

    @property
    def name(self) -> str:
        """The experiment and the run: `digits/cnn_1`."""
        return self.run if self.experiment is None else f"{self.experiment}/{self.run}"


def use_of(record: RunRecord, checkpoint: str | int, *, by: RunRecord) -> UsedRun:
    """The use of a run's checkpoint, as it is now.

    Args:
        record: The run that is used.
        checkpoint: See `stored_path`.
        by: The run that uses it.

    Raises:
        FileNotFoundError: If there is no such checkpoint; the text names those that exist.
        ValueError: If the name leaves the folder.
    """
    path = stored_path(record.folder, checkpoint, settings_of_run(record, None))
    facts = path.stat()
    sha256 = _sha256(path, facts.st_mtime_ns)
    results = _results_folder(by.folder)
    is_beside = results is not None and _results_folder(record.folder) == results
    return UsedRun(
        id=str(record.id),
        checkpoint=path.relative_to(record.folder / "states").as_posix(),
        sha256=sha256,
        run=record.folder.name,
        experiment=record.folder.parent.parent.name if is_beside else None,
        attempt=record.attempt,
        size=facts.st_size,
        modified_ns=facts.st_mtime_ns,
        used_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        by_attempt=by.attempt,
    )


def used_runs(record: RunRecord) -> list[UsedRun]:
    """The runs that a run was built on, as its run.json says; damaged entries are left out."""
    return [use for use in map(_use, _entries(record)) if use is not None]


def with_use(record: RunRecord, use: UsedRun) -> list[object]:
    """The entries of run.json with one more; one that is equal to it gives way."""
    return [*(entry for entry in _entries(record) if _use(entry) != use), asdict(use)]


def change_since(use: UsedRun, record: RunRecord) -> str | None:
    """What has become of a run since another one was built on it.

    Args:
        use: The use.
        record: The run that used it.

    Returns:
        `gone` or `trained anew since`; None if its checkpoint is what it was, or nobody can tell.
    """
    results = _results_folder(record.folder)
    if results is None or use.experiment is None:
        return None
    folder = results / use.experiment / "training" / use.run
    current = read_run(folder)
    if current is None:
        return "gone"
    if current.state == "unknown":
        return None
    if current.id == use.id and _is_unchanged(use, folder, current):
        return None
    return "trained anew since"


def _is_unchanged(use: UsedRun, folder: Path, current: RunRecord) -> bool:
    try:
        path = path_inside(folder / "states", use.checkpoint)
        facts = path.stat()
        if (facts.st_size, facts.st_mtime_ns) == (use.size, use.modified_ns):
            return True
        # Copying a results folder changes the times of files, and not what is in them.
        return facts.st_size == use.size and _sha256(path, facts.st_mtime_ns) == use.sha256
    except (OSError, ValueError):
        return current.attempt == use.attempt  # it was deleted to save space


def _results_folder(run: Path) -> Path | None:
    """The folder with the experiments, of a run in `EXPERIMENT/training/`."""
    return run.parent.parent.parent if run.parent.name == "training" else None


@lru_cache(maxsize=1000)  # many runs are built on one, and a checkpoint may have gigabytes
def _sha256(path: Path, modified_ns: int) -> str:
    with open_to_read(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entries(record: RunRecord) -> list[object]:
    entries = record.data.get("uses")
    return entries if isinstance(entries, list) else []


def _use(entry: object) -> UsedRun | None:
    if not isinstance(entry, Mapping):
        return None
    with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
        experiment = entry["experiment"]
        return UsedRun(
            id=_text(entry["id"]),
            checkpoint=_text(entry["checkpoint"]),
            sha256=_text(entry["sha256"]),
            run=folder_name(_text(entry["run"]), "run"),
            experiment=None if experiment is None else folder_name(experiment, "experiment"),
            attempt=int(entry["attempt"]),
            size=int(entry["size"]),
            modified_ns=int(entry["modified_ns"]),
            used_at=_text(entry["used_at"]),
            by_attempt=int(entry["by_attempt"]),
        )
    return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
