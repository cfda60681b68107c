"""Moving run folders to the experiment's trash, where nothing is lost."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import cast

from .._files.durable import append_line, sync_folder
from .._files.json_files import parse_json
from .claims import (
    RunClaimed,
    check_not_newer,
    check_purpose,
    claimed_message,
    is_owned_by,
)
from .folder_ownership import reason_to_stay
from .processes import this_process
from .records import SCHEMA, Liveness, RunRecord, claimed_record, is_alive

REMOVED = ".trash/removed.jsonl"


@dataclass(frozen=True, slots=True)
class RemovedRun:
    """One line of `removed.jsonl`: a run folder that was moved to the trash.

    Attributes:
        id: The run's id; None if it never had one.
        run_name: Its name.
        state: Its state when it was moved.
        removed_at: When, ISO 8601 in UTC.
        reason: Why, in a word: cleanup, rerun, fresh.
        trash: Where the folder was moved to, which may be empty by now; None if the line names no
            place below the experiment's `.trash/`.
    """

    id: str | None
    run_name: str
    state: str
    removed_at: str
    reason: str
    trash: Path | None


def move_to_trash(
    record_or_folder: RunRecord | Path,
    *,
    reason: str,
    is_alive: Liveness = is_alive,
    clock: Callable[[], float] = time.time,
) -> Path:
    """Move a run folder to the experiment's `.trash/` and note it in `removed.jsonl`.

    Args:
        record_or_folder: The run, or its folder.
        reason: Why, in a word: cleanup, rerun, fresh.
        is_alive: Says whether the owner of a running run is alive.
        clock: Seconds since the epoch.

    Returns:
        Where the folder is now.

    Raises:
        RunClaimed: If another process that may be alive owns the run, or a newer version wrote it.
        FileNotFoundError: If there is no such folder.
        PermissionError: If expkit did not make the folder, or it holds more than one run: files of
            others, a repository, an experiment, this program or its script.
        OSError: If it cannot be moved or noted; then the folder stays where it was.
    """
    record = record_or_folder if isinstance(record_or_folder, RunRecord) else None
    folder = Path(record_or_folder if record is None else record.folder)  # type: ignore[arg-type]
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no run folder {folder} to move to the trash.")
    obstacle = reason_to_stay(folder)
    if obstacle is not None:
        raise PermissionError(
            f"{folder} {obstacle}. It is never moved to the trash: choose another run_name, or "
            "move it yourself."
        )
    current = claimed_record(folder)
    check_not_newer(current)
    if (
        current is not None
        and current.state == "running"
        and not is_owned_by(current, this_process())
        and not (
            record is not None and record.state == "lost" and record.attempt == current.attempt
        )
        and is_alive(current) is not False
    ):
        raise RunClaimed(claimed_message(folder, current))
    check_purpose(folder)
    now = datetime.fromtimestamp(clock(), UTC)
    # resolve() only the parent: the folder itself may be a link to another disk
    parent = folder.parent.resolve()
    experiment = _experiment_of(folder)
    trash = experiment / ".trash"
    trash.mkdir(exist_ok=True)
    name = f"{folder.name}.{now:%Y%m%dT%H%M%S}"
    number = 1
    # lexists: a run that was a link may lie there, whose target is gone
    while os.path.lexists(target := trash / (name if number == 1 else f"{name}.{number}")):
        number += 1
    os.rename(parent / folder.name, target)  # noqa: PTH104
    sync_folder(parent)
    line = {
        "id": None if current is None else current.id,
        "run_name": folder.name if current is None else current.run_name,
        "state": "unknown" if current is None else (record or current).state,
        "removed_at": now.isoformat(timespec="microseconds"),
        "reason": reason,
        "trash": target.relative_to(experiment).as_posix(),
    }
    try:
        append_line(experiment / REMOVED, json.dumps(line, ensure_ascii=False))
    except OSError:  # a full disk: a run must not vanish without a line that says so
        os.rename(target, parent / folder.name)  # noqa: PTH104
        sync_folder(parent)
        raise
    return target


def _experiment_of(folder: Path) -> Path:
    """The folder with the trash of a run: its experiment, or the folder that holds the run."""
    parent = folder.absolute().parent
    real = parent.resolve()
    if parent.name == "training":  # it may be a link, and not from another disk
        experiment = parent.parent.resolve()
        if experiment.stat().st_dev == real.stat().st_dev:
            return experiment
    return real.parent if real.name == "training" else real


def removed_runs(experiment: Path) -> list[RemovedRun]:
    """The runs that were ever moved to an experiment's trash, the oldest first.

    A run that was moved back is still listed. A torn last line is left for later, and a damaged
    one elsewhere is passed over.

    Args:
        experiment: The experiment's folder.
    """
    experiment = Path(experiment)
    try:
        raw = (experiment / REMOVED).read_bytes()
    except FileNotFoundError:
        return []
    removed = []
    for text in raw.split(b"\n")[:-1]:
        try:  # of a newer version's line it is not known what became of the run
            line = parse_json(text, experiment / REMOVED, schema=SCHEMA)
        except ValueError:
            continue
        removed.append(_removed_run(cast("dict[str, object]", line), experiment))
    return removed


def _removed_run(line: dict[str, object], experiment: Path) -> RemovedRun:
    def text(key: str) -> str:
        value = line.get(key)
        return value if isinstance(value, str) else ""

    trash = PurePosixPath(text("trash"))
    inside = trash.parts[:1] == (".trash",) and len(trash.parts) > 1 and ".." not in trash.parts
    return RemovedRun(
        id=text("id") or None,
        run_name=text("run_name"),
        state=text("state"),
        removed_at=text("removed_at"),
        reason=text("reason"),
        trash=experiment / trash if inside else None,
    )
