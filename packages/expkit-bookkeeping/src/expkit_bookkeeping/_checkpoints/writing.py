"""Checkpoint files: a snapshot made durable, the best one linked, superseded ones removed."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from .._files.append_files import open_to_read
from .._files.durable import Check, atomic_path, checked_if_missing, remove_file, temporary_path
from .._files.torch_archives import write_torch
from .._runs.refusals import ClaimLost
from .files import CheckpointFile, checkpoint_path, find_checkpoints, parse_name
from .rng import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._runs.settings import RunSettings
    from .snapshots import CheckpointContent, Keeping, RankingMetric

Report = Callable[[str], None]
_KEEP_ALL: Keeping = {"last": None, "best": 1, "direction": "maximize"}


def write(
    folder: Path,
    content: CheckpointContent,
    *,
    report: Report,
    meanwhile: Callable[[], None] | None = None,
    check: Check | None = None,
) -> list[Path]:
    """Make a snapshot durable as `states/epoch_0007.pt`; return which files are superseded.

    At every moment there is a valid checkpoint: the new one is on the disk before the caller
    removes older files. `states/best.pt` is the best one by the metric, as a hard link where that
    works.

    Args:
        folder: The run folder.
        content: What `snapshot` returned.
        report: Called with a sentence if there are files of a later epoch.
        meanwhile: Called in another thread while the content is written.
        check: Called when the content is on the disk, and before each change of another file; if
            it raises, everything stays as it was.

    Returns:
        The files to remove, for `remove`.

    Raises:
        OSError: If the file could not be written; then older checkpoints are untouched.
    """
    path = checkpoint_path(folder, content["epoch"], content["batch"])
    write_torch(path, {**content, "rng": pack(content["rng"])}, meanwhile, check)
    _remember_metric(path, content["metric"])

    new = parse_name(path)
    assert new is not None
    files = find_checkpoints(folder)
    for later in (file for file in files if (file.epoch, file.batch) > (new.epoch, new.batch)):
        # The run was started again without resume(): resuming there would be wrong, and after
        # deleting it a forgotten resume() would cost a training.
        set_aside(later.path, "replaced", check)
        report(
            f"{later.path.name} is of a later epoch than {path.name}, which was just saved: it is "
            f"now {later.path.name}.replaced. To continue a run, call resume() first."
        )
    files = [file for file in files if (file.epoch, file.batch) <= (new.epoch, new.batch)]
    return _link_and_rank(files, content["metric"], content["keeping"] or _KEEP_ALL, check)


def finish_save(folder: Path, path: Path, settings: RunSettings, *, check: Check) -> list[Path]:
    """Do what a kill has kept the save of a checkpoint from doing: the best, superseded files.

    Which files it was to keep, the checkpoint itself says, not the settings of this attempt, which
    may be an evaluation's. Older files do not say it: then nothing is superseded.

    Args:
        folder: The run folder.
        path: The checkpoint from which the run was resumed.
        settings: Of this attempt, for older files.
        check: Called before anything is changed; if it raises, everything stays as it was.

    Returns:
        The files to remove, for `remove`.
    """
    resumed = parse_name(path)
    if resumed is None:  # best.pt, the only one that is left
        return []
    content = _structure(path)
    metric, keeping = content["metric"], content.get("keeping")
    end = resumed.epoch, resumed.batch
    files = [file for file in find_checkpoints(folder) if (file.epoch, file.batch) <= end]
    check()
    _set_aside_best_of_later(path.with_name("best.pt"), content, check)
    if keeping is not None:
        return _link_and_rank(files, metric, keeping, check)
    if metric is not None and metric["name"] == settings.metric:
        keep_all: Keeping = {**_KEEP_ALL, "direction": settings.direction}
        _link_and_rank(files, metric, keep_all, check)
    return []


def _link_and_rank(
    files: list[CheckpointFile],
    metric: RankingMetric | None,
    keeping: Keeping,
    check: Check | None,
) -> list[Path]:
    """Link the best of the files, oldest first; return those that are not to be kept."""
    best = _best(files, metric, keeping["direction"])[: keeping["best"]]
    if best:
        _link_best(best[0].path, check)
    last = files if keeping["last"] is None else files[-keeping["last"] :]
    return [file.path for file in files if file not in last and file not in best]


def _set_aside_best_of_later(best: Path, resumed: CheckpointContent, check: Check | None) -> None:
    """Set the best checkpoint aside if the run goes on from an earlier one, or it is damaged."""
    if not best.exists():
        return
    try:
        content = _structure(best)
        is_later = _position(content) > _position(resumed)
    except Exception:  # of any kind that torch.load raises for a damaged file
        set_aside(best, "damaged", check)
        return
    if is_later:
        set_aside(best, "replaced", check)


def _position(content: CheckpointContent) -> tuple[int, float]:
    batch = content["batch"]
    return content["epoch"], math.inf if batch is None else batch


def _structure(path: Path) -> CheckpointContent:
    """A checkpoint without reading its weights, which are mapped."""
    from .._optional import torch

    open_to_read(path).close()  # what is no file would be waited for
    content: CheckpointContent = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return content


def remove(paths: Sequence[Path], report: Report, check: Check | None = None) -> None:
    """Remove files. One that cannot be removed is reported, and tried again with the next.

    They all stay if `check` raises ClaimLost: the next owner has its own view of what to keep.
    """
    for path in paths:
        try:
            remove_file(path, check)
        except OSError as error:
            report(f"{path} could not be removed: {error}")
        except ClaimLost:  # the next call of the training says so
            return


def _best(
    files: list[CheckpointFile], metric: RankingMetric | None, direction: str
) -> list[CheckpointFile]:
    """Files that hold this metric, the best first; of equal ones the earlier first."""
    if metric is None:
        return []
    ranked = []
    for file in files:
        name, value = _metric_of(file.path)
        if name == metric["name"] and value is not None and not math.isnan(value):
            ranked.append((-value if direction == "maximize" else value, file))
    return [file for _, file in sorted(ranked)]


# Of each checkpoint by its file's identity, as a file's content is read once.
_metrics: dict[tuple[int, int, int], tuple[str | None, float | None]] = {}


def _identity(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _remember_metric(path: Path, metric: RankingMetric | None) -> tuple[str | None, float | None]:
    name_and_value = (metric["name"], metric["value"]) if metric else (None, None)
    _metrics[_identity(path)] = name_and_value
    return name_and_value


def _metric_of(path: Path) -> tuple[str | None, float | None]:
    """Name and value of the metric in a checkpoint."""
    try:
        name_and_value = _metrics.get(_identity(path))
        if name_and_value is None:
            name_and_value = _remember_metric(path, _structure(path)["metric"])
        return name_and_value
    except Exception:  # a file that cannot be read is never the best; resume() reports it
        return None, None


def _link_best(source: Path, check: Check | None) -> None:
    best = source.with_name("best.pt")
    with contextlib.suppress(FileNotFoundError):
        if best.samefile(source):
            return
        same = _metric_of(best) == _metric_of(source)
        if same and best.stat().st_mtime_ns >= source.stat().st_mtime_ns:
            return  # a copy, on a file system without links
    # The folder was synced for the checkpoint itself; a power cut now leaves the former best.
    if not _link_into_place(source, best, check):
        with atomic_path(best, check) as copy:
            shutil.copyfile(source, copy)


def set_aside(path: Path, reason: str, check: Check | None = None) -> None:
    """Rename a checkpoint so that nothing resumes from it: `epoch_0007.pt.damaged`."""
    aside = path.with_name(f"{path.name}.{reason}")
    with contextlib.suppress(FileNotFoundError):
        if check is not None and _link_into_place(path, aside, check):
            remove_file(path, check)  # which has another name by now
        else:
            if check is not None:
                check()
            path.replace(aside)


def _link_into_place(source: Path, target: Path, check: Check | None) -> bool:
    """Let `target` be another name of a file; False on a file system without links."""
    temporary = temporary_path(target)
    try:
        os.link(source, temporary)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    with checked_if_missing(check):
        try:
            if check is not None:
                check()
            os.replace(temporary, target)  # noqa: PTH105
        finally:
            # There still, too, if both were the same file already: then rename does nothing.
            temporary.unlink(missing_ok=True)
    return True
