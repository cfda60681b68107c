"""Moving run folders to the experiment's trash, where nothing is lost."""

import json
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import cast

from .._files.append_files import read_file
from .._files.durable import append_line, sync_folder
from .._files.json_files import parse_json
from .claim_files import TO_REMOVE, highest_claim, link_claim, make_void
from .claiming import judge_again, owns
from .folder_ownership import reason_to_stay
from .processes import ProcessIdentity, this_process
from .records import SCHEMA, Liveness, RunRecord, claimed_record, is_alive, read_run
from .refusals import RunClaimed, check_free
from .takeover import sweep

REMOVED = ".trash/removed.jsonl"
_log = logging.getLogger(__name__)
_MOVED_AT = re.compile(r"\.\d{8}T\d{6}(\.\d+)?$")  # what a folder's name has more in the trash


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
    unless: Callable[[RunRecord | None], str | None] | None = None,
    is_alive: Liveness = is_alive,
    clock: Callable[[], float] = time.time,
) -> Path:
    """Move a run folder to the experiment's `.trash/` and note it in `removed.jsonl`.

    It takes the run's next claim first. Whoever is killed before the move leaves the run as it was,
    and a line about it in `removed.jsonl` has no effect.

    Args:
        record_or_folder: The run, or its folder. A record is what the caller has judged: if the run
            has been started, has ended or was claimed by another process since, it stays.
        reason: Why, in a word: cleanup, rerun, fresh.
        unless: Says why a run with this record must stay, or None; see `claim_run`.
        is_alive: Says whether the owner of a running run is alive.
        clock: Seconds since the epoch.

    Returns:
        Where the folder is now.

    Raises:
        RunClaimed: If another process that may be alive owns the run or is moving it, or a newer
            version wrote it.
        RunChanged: If the run is no longer the given record, or `unless` says so; a RunClaimed.
        FileNotFoundError: If there is no such folder, or no longer.
        PermissionError: If expkit did not make the folder, or it holds more than one run: files of
            others, a repository, an experiment, this program or its script.
        OSError: If it cannot be moved or noted; then the folder stays where it was.
    """
    judged = record_or_folder if isinstance(record_or_folder, RunRecord) else None
    folder = Path(record_or_folder if judged is None else judged.folder)  # type: ignore[arg-type]
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no run folder {folder} to move to the trash.")
    obstacle = reason_to_stay(folder)
    if obstacle is not None:
        raise PermissionError(
            f"{folder} {obstacle}. It is never moved to the trash: choose another run_name, or "
            "move it yourself."
        )
    # resolve() only the parent: the folder itself may be a link to another disk
    experiment = _experiment_of(folder)
    folder = folder.parent.resolve() / folder.name

    def why_not(record: RunRecord | None) -> str | None:
        changed = None if judged is None else _change(judged, record)
        return changed or (None if unless is None else unless(record))

    process = this_process()

    def is_rival_alive(record: RunRecord) -> bool | None:
        is_lost = judged is not None and (judged.state, judged.claim) == ("lost", record.claim)
        return False if is_lost or owns(record, process) else is_alive(record)

    try:
        number, record = _claim_to_remove(folder, process, is_rival_alive, why_not, clock)
        now = datetime.fromtimestamp(clock(), UTC)
        target = _move(experiment, folder, number, process, judged or record, reason, now)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"Somebody else has just moved {folder} away: {error}") from error
    make_void(target, number, process)  # so that the run can go on if somebody moves it back
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


def _claim_to_remove(
    folder: Path,
    process: ProcessIdentity,
    is_alive: Liveness,
    unless: Callable[[RunRecord | None], str | None],
    clock: Callable[[], float],
) -> tuple[int, RunRecord | None]:
    """Claim a run's folder to remove it; returns the claim's number and the run's record.

    Raises:
        RunClaimed: If it stays after all.
    """
    while True:
        number = highest_claim(folder) + 1  # before the record, as in `claim_run`
        record = claimed_record(folder, is_alive=is_alive, below=number)
        check_free(folder, number, record, is_alive, unless)
        (folder / "claims").mkdir(exist_ok=True)
        if link_claim(folder, number, process, clock, purpose=TO_REMOVE):
            break
        if not folder.is_dir():
            raise FileNotFoundError(folder)
    # A write that the former owner has begun ends here: what is judged now is the last word.
    sweep(folder, lambda: _check_highest(folder, number))
    return number, judge_again(folder, number, process, record, is_alive, unless)


def _move(
    experiment: Path,
    folder: Path,
    number: int,
    process: ProcessIdentity,
    record: RunRecord | None,
    reason: str,
    now: datetime,
) -> Path:
    """Note the move of a claimed folder, and move it."""
    trash = experiment / ".trash"
    try:
        trash.mkdir(exist_ok=True)
        name = f"{folder.name}.{now:%Y%m%dT%H%M%S}"
        copies = 1
        # lexists: a run that was a link may lie there, whose target is gone
        while os.path.lexists(target := trash / (name if copies == 1 else f"{name}.{copies}")):
            copies += 1
        line = {
            "id": None if record is None else record.id,
            "run_name": folder.name if record is None else record.run_name,
            "state": "unknown" if record is None else record.state,
            "removed_at": now.isoformat(timespec="microseconds"),
            "reason": reason,
            "trash": target.relative_to(experiment).as_posix(),
        }
        # First, as a run must not vanish without a line that says so.
        append_line(experiment / REMOVED, json.dumps(line, ensure_ascii=False))
        sync_folder(trash)
        _check_highest(folder, number)
        os.rename(folder, target)  # noqa: PTH104
        try:
            _check_highest(target, number)
        except RunClaimed:
            os.rename(target, folder)  # noqa: PTH104
            raise
    except BaseException:
        make_void(folder, number, process)
        raise
    sync_folder(folder.parent)
    sync_folder(trash)
    return target


def _check_highest(folder: Path, number: int) -> None:
    """Check that a process that stood still, for half an hour on another machine, has its claim."""
    if highest_claim(folder) > number:
        raise RunClaimed(
            f"Run {folder.name!r} has been claimed by another process, as this one did not move it "
            "in time. It stays where it is."
        )


def _change(judged: RunRecord, record: RunRecord | None) -> str | None:
    """How a run differs from what the caller has judged; None if it is the same."""
    if record is None:
        return f"{judged.folder} no longer holds run {judged.run_name!r}."
    states = [judged.state.replace("lost", "running"), record.state.replace("lost", "running")]
    if (judged.id, judged.claim, states[0]) == (record.id, record.claim, states[1]):
        return None
    return (
        f"Run {record.run_name!r} in {record.folder} has changed meanwhile: it was {judged.state} "
        f"(attempt {judged.attempt}) and is {record.state} (attempt {record.attempt}). It stays "
        "where it is."
    )


def removed_runs(experiment: str | PathLike[str]) -> list[RemovedRun]:
    """The runs that were moved to an experiment's trash, the oldest first.

    A run that is in its place is not listed: somebody has moved it back, or was killed before the
    move. A torn last line is left for later, and a damaged one elsewhere is passed over; so is a
    file that cannot be read, with a warning.

    Args:
        experiment: The experiment's folder.
    """
    experiment = Path(experiment)
    try:
        raw = read_file(experiment / REMOVED)
    except FileNotFoundError:
        return []
    except OSError as error:
        _log.warning("%s cannot be read: %s", experiment / REMOVED, error)
        return []
    removed = []
    for text in raw.split(b"\n")[:-1]:
        try:  # of a newer version's line it is not known what became of the run
            line = parse_json(text, experiment / REMOVED, schema=SCHEMA)
        except ValueError:
            continue
        removed.append(_removed_run(cast("dict[str, object]", line), experiment))
    return [run for run in removed if not _is_in_place(run, experiment)]


def _is_in_place(run: RemovedRun, experiment: Path) -> bool:
    if run.id is None or run.trash is None:
        return False
    present = read_run(experiment / "training" / _MOVED_AT.sub("", run.trash.name))
    return present is not None and present.id == run.id


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
