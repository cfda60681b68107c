"""Removing runs, by state or by name: moved to the trash, and freed on request."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from os import PathLike
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

# All others stay: completed, running, and `unknown`, whose run.json cannot be read.
REMOVABLE = ("failed", "interrupted", "lost")
# Of a run that is named, too: its owner is at work, or nobody can tell what it is.
_NEVER_REMOVED = {
    "running": "stays: it is running",
    "unknown": "stays: its run.json cannot be read, so nobody can tell whether it is running",
}
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Removal:
    """A run that cleanup removes, or would remove; `kept` says why it stays after all."""

    record: RunRecord
    checkpoint: str | None  # name of the newest, from which the run would resume
    size_bytes: int
    trash: Path | None = None
    kept: str | None = None


@dataclass(frozen=True)
class Cleanup:
    """What a cleanup did, or would do."""

    dry_run: bool
    removals: tuple[Removal, ...]
    left_alone: Mapping[str, int]  # states of the runs that stay, with their number
    trash_bytes: int  # in the trash: freed with `purge`, otherwise still there
    purged: bool = False
    trash_kept: tuple[str, ...] = ()  # why which folders that `removed.jsonl` names are not purged


def cleanup(
    experiment: str | PathLike[str],
    runs: Sequence[str] = (),
    *,
    dry_run: bool = True,
    keep_resumable: bool = False,
    older_than: timedelta | None = None,
    purge: bool = False,
    is_alive: Callable[[RunRecord], bool | None] | None = None,
    now: datetime | None = None,
) -> Cleanup:
    """Move runs of an experiment to its trash: those that were not completed, or those named.

    Runs that are failed, interrupted or lost go, with their folders; a completed one goes only if
    it is named. Running and unknown runs are never touched, and a run that somebody starts
    meanwhile stays.

    Args:
        experiment: The experiment's folder, `results/EXPERIMENT`.
        runs: Names of runs, whole; none: all that were not completed.
        dry_run: Only say what would be done.
        keep_resumable: Keep runs that have a checkpoint.
        older_than: Keep runs that ended, or gave their last sign of life, more recently.
        purge: Also delete the runs in the trash for good: the folders that `removed.jsonl` names.
        is_alive: Says whether the owner of a running run is alive; see `find_runs`.
        now: The present time, for tests.

    Returns:
        What was done, or would be.

    Raises:
        FileNotFoundError: If there is no such experiment.
        LookupError: If it has no run of a name; then nothing is done.
        PermissionError: If the trash is to be purged and is a link; then nothing is done.
    """
    from expkit_bookkeeping import RunClaimed, find_checkpoints, find_runs, write_results_csv
    from expkit_bookkeeping.launching import move_to_trash, reason_to_stay

    from ._console.rows import last_sign
    from ._grid.schedulers import ask_schedulers
    from ._verbs.experiments import find_experiment

    folder = find_experiment(Path(experiment))
    if purge:
        _check_trash(folder)
    is_alive = is_alive or ask_schedulers(folder).is_alive
    records = find_runs(folder, is_alive=is_alive)
    present = now or datetime.now(UTC)
    if runs:
        _check_names(folder, runs, [record.run_name for record in records])
    removals = []
    for record in records:
        if record.run_name not in runs if runs else record.state not in REMOVABLE:
            continue
        checkpoints = find_checkpoints(record.folder)
        if keep_resumable and checkpoints:
            continue
        if older_than is not None and present - (last_sign(record) or present) < older_than:
            continue
        newest = checkpoints[-1].path.name if checkpoints else None
        kept = _NEVER_REMOVED.get(record.state)
        try:
            obstacle = reason_to_stay(record.folder)
        except OSError as error:
            obstacle = f"cannot be read: {error}"
        if kept is None and obstacle is not None:
            kept = f"stays: its folder {obstacle}"
        removals.append(Removal(record, newest, folder_size(record.folder), kept=kept))
    names = {removal.record.run_name for removal in removals}
    states = [record.state for record in records if record.run_name not in names]
    if not dry_run:
        for position, removal in enumerate(removals):
            if removal.kept is not None:
                continue
            try:
                # It judges again under its claim: a run that has been resumed since stays.
                trash = move_to_trash(removal.record, reason="cleanup", is_alive=is_alive)
                removals[position] = replace(removal, trash=trash)
            except (RunClaimed, OSError) as error:
                removals[position] = replace(removal, kept=str(error))
        if any(removal.trash is not None for removal in removals):
            write_results_csv(folder)
    trashed, trash_kept = _trashed_folders(folder)
    size = sum(map(folder_size, trashed))
    if purge and not dry_run:
        for entry in trashed:
            _delete(entry)  # removed.jsonl stays: it tells `sync` what is gone
    return Cleanup(
        dry_run=dry_run,
        removals=tuple(removals),
        left_alone={state: states.count(state) for state in dict.fromkeys(sorted(states))},
        trash_bytes=size,
        purged=purge and not dry_run,
        trash_kept=tuple(trash_kept) if purge else (),
    )


def _check_names(experiment: Path, runs: Sequence[str], names: Sequence[str]) -> None:
    from difflib import get_close_matches

    missing = [name for name in dict.fromkeys(runs) if name not in names]
    if not missing:
        return
    near = get_close_matches(missing[0], names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise LookupError(
        f"No run {', '.join(map(repr, missing))} in {experiment}, so nothing is removed.{hint} "
        "Give whole names, as `expkit status` lists them; a run that was never started has no "
        "folder to remove."
    )


def parse_age(text: str) -> timedelta:
    """An age as people write it: a number and s, m, h, d or w.

    Raises:
        ValueError: If it is written otherwise.

    Examples:
        >>> parse_age("2d"), parse_age("1.5h")
        (datetime.timedelta(days=2), datetime.timedelta(seconds=5400))
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is not an age. Write a number and a unit: 45m, 12h, 2d, 1w "
            "(s seconds, m minutes, h hours, d days, w weeks)."
        )
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder; links are counted, not followed."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118
            except OSError:  # removed meanwhile
                continue
    return total


def _trashed_folders(experiment: Path) -> tuple[list[Path], list[str]]:
    """The folders in an experiment's trash that a purge deletes, and what it leaves, with why.

    It deletes only what removed.jsonl names and expkit made. Anything else in the trash belongs to
    somebody else, and so does all that lies behind a link.
    """
    from expkit_bookkeeping.launching import reason_to_stay
    from expkit_bookkeeping.reading import removed_runs

    trash = experiment / ".trash"
    if trash.is_symlink():
        return [], []
    try:
        folders = {run.trash for run in removed_runs(experiment) if run.trash is not None}
    except OSError:
        return [], []
    deleted, kept = [], []
    for folder in sorted(folders):
        if folder.parent != trash or not folder.is_dir():
            continue
        obstacle = "is a link" if folder.is_symlink() else reason_to_stay(folder)
        if obstacle is None:
            deleted.append(folder)
        else:
            kept.append(f"{folder} stays: it {obstacle}")
    return deleted, kept


def _delete(folder: Path) -> None:
    """Delete a folder that another purge may be deleting, or its mover be finishing, right now."""
    for _ in range(10):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            if not folder.exists():
                return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
        else:
            return


def _check_trash(experiment: Path) -> None:
    trash = experiment / ".trash"
    if trash.is_symlink():
        raise PermissionError(
            f"{trash} is a link to {trash.readlink()}: --purge deletes nothing through a link, "
            "as other files may lie there. Delete the runs there by hand, or leave out --purge."
        )
