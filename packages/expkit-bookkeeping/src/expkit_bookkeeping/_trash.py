"""Moving runs out of the way without losing them."""

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ._claims import RunClaimed, _held_text, _is_held_by
from ._files import append_line, sync_folder
from ._owners import this_process
from ._ownership import foreign_reason
from ._records import Liveness, RunRecord, claimed_record, is_alive


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
        is_alive: Tells whether the owner of a running run lives.
        clock: Seconds since the epoch.

    Returns:
        Where the folder is now.

    Raises:
        RunClaimed: If another process that may live holds the run.
        FileNotFoundError: If there is no such folder.
        PermissionError: If the folder is not one that expkit made, or this program was started
            in it or its script lies in it.
        OSError: If it cannot be moved or noted; the folder is then where it was.
    """
    given = record_or_folder if isinstance(record_or_folder, RunRecord) else None
    folder = Path(record_or_folder if given is None else given.folder)  # type: ignore[arg-type]
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no run folder {folder} to move to the trash.")
    reason_to_stay = foreign_reason(folder)
    if reason_to_stay is not None:
        raise PermissionError(f"{folder} {reason_to_stay}. It was not moved to the trash.")
    holder = claimed_record(folder)
    if (
        holder is not None
        and holder.state == "running"
        and not _is_held_by(holder, this_process())
        and not (given is not None and given.state == "lost" and given.attempt == holder.attempt)
        and is_alive(holder) is not False
    ):
        raise RunClaimed(_held_text(folder, holder))
    now = datetime.fromtimestamp(clock(), UTC)
    # resolve() only the parent: the folder itself may be a link to another disk
    place = folder.parent.resolve()
    experiment = place.parent if place.name == "training" else place
    trash = experiment / ".trash"
    trash.mkdir(exist_ok=True)
    name = f"{folder.name}.{now:%Y%m%dT%H%M%S}"
    number = 1
    while (target := trash / (name if number == 1 else f"{name}.{number}")).exists():
        number += 1
    os.rename(place / folder.name, target)  # noqa: PTH104
    sync_folder(place)
    line = {
        "id": None if holder is None else holder.id,
        "run_name": folder.name if holder is None else holder.run_name,
        "state": "unknown" if holder is None else (given or holder).state,
        "removed_at": now.isoformat(timespec="microseconds"),
        "reason": reason,
        "trash": target.relative_to(experiment).as_posix(),
    }
    try:
        append_line(trash / "removed.jsonl", json.dumps(line, ensure_ascii=False))
    except OSError:  # a full disk: a run must not vanish without a line that says so
        os.rename(target, place / folder.name)  # noqa: PTH104
        sync_folder(place)
        raise
    return target
