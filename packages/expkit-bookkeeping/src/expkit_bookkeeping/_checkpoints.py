"""Checkpoints of a run: one file an epoch, the newest valid one is where a run resumes.

A checkpoint is made in two steps, so that writing can move to a thread of its own: `snapshot`
collects the states on the training thread, `write` makes them durable and removes older ones.
"""

import contextlib
import math
import operator
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypedDict, cast

from ._checkpoint_files import CheckpointFile, checkpoint_path, find_checkpoints, parse_name
from ._files import TMP_SUFFIX, atomic_path, remove_leftovers
from ._rng import loader_generators, packed, restore_rng_state, rng_state, start_other_rank
from ._saveable import as_it_is, saveable
from ._states import Stateful, load_into, state_of, tell_where
from ._torch_files import DamagedFileError, read_torch, write_torch

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 1
Report = Callable[[str], None]
Keep = Callable[["Tensor"], "Tensor"]


class Metric(TypedDict):
    """The metric that ranks checkpoints; its value is None where it was not measured."""

    name: str
    value: float | None


class Content(TypedDict):
    """What is in a checkpoint's file."""

    schema: int
    epoch: int
    batch: int | None
    step: int | None
    metrics_size: int | None
    metric: Metric | None
    timers: str | None
    states: dict[str, object]
    extra: dict[str, object]
    loader: object
    generators: "list[Tensor]"
    rng: dict[str, object]


def warn(text: str) -> None:
    """Report through Python's warnings, for use without a run's log."""
    warnings.warn(text, stacklevel=3)


class ResumePoint(int):
    """Where to go on: the epoch to run next, as a number, with what else the checkpoint says.

    Attributes:
        batch: Batches of that epoch that are done: 0, but for a checkpoint made inside an epoch.
            A stateful loader has already gone past them.
        step: Last step whose metrics the checkpoint covers; -1 for none, None where unknown.
        metrics_size: Bytes of metrics.jsonl that it covers; None where unknown.
        timers: What timer.yaml held by then, empty on a new run; None where unknown.
        path: The checkpoint that was read; None on a new run.
        extra: The plain values that `save_checkpoint` was given by name.

    >>> start = ResumePoint(3, batch=20)
    >>> list(range(start, 5)), start.batch
    ([3, 4], 20)
    """

    batch: int
    step: int | None
    metrics_size: int | None
    timers: str | None
    path: Path | None
    extra: Mapping[str, object]

    def __new__(
        cls,
        epoch: int,
        *,
        batch: int = 0,
        step: int | None = None,
        metrics_size: int | None = None,
        timers: str | None = None,
        path: Path | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> Self:
        """Make the number of the epoch and attach the rest."""
        point = super().__new__(cls, epoch)
        point.batch, point.path = batch, path
        point.step, point.metrics_size, point.timers = step, metrics_size, timers
        point.extra = dict(extra or {})
        return point


# --- saving ----------------------------------------------------------------------------------


def snapshot(
    epoch: int,
    *,
    batch: int | None = None,
    objects: Mapping[str, object],
    loader: object = None,
    step: int | None = None,
    metrics_size: int | None = None,
    metric: tuple[str, float | None] | None = None,
    timers: str | None = None,
    keep: Keep = as_it_is,
) -> Content:
    """Collect what a checkpoint holds. Tensors are references: write them before the next step.

    All else is copied, so that with a `keep` that copies tensors nothing of it changes later.

    Args:
        epoch: The epoch, counted from 0. Without `batch` it is complete.
        batch: Batches of the epoch that are done, where it is not complete.
        objects: What to save by name: things with a `state_dict`, and plain values. None is left
            out, so that an optional scheduler needs no branch.
        loader: A DataLoader; its generators are saved, and its own state where it has one.
        step: Last step whose metrics this checkpoint covers; -1 for none, None where unknown.
        metrics_size: Bytes of metrics.jsonl which it covers.
        metric: Name of the metric that ranks checkpoints, and its value for this one; None
            where it was not measured.
        timers: What timer.yaml holds; None where unknown.
        keep: Called with each tensor; gives what is written in its place.

    Raises:
        TypeError: If the epoch is no whole number, or something cannot be saved.
        ValueError: If the epoch or batch is out of range, or the loader cannot tell where in
            an epoch it stands.
    """
    epoch = _count(epoch, "epoch", at_least=0)
    if batch is not None:
        batch = _count(batch, "batch", at_least=1)
        if loader is not None and not isinstance(loader, Stateful):
            raise ValueError(
                f"save_checkpoint({epoch}, batch={batch}) is inside an epoch, and a "
                f"{type(loader).__name__} cannot go on there: it has no state_dict(). Save at the "
                "end of the epoch (leave out batch), or use "
                "torchdata.stateful_dataloader.StatefulDataLoader."
            )
    states, extra = {}, {}
    for name, value in objects.items():
        if value is None:
            continue
        if hasattr(value, "state_dict") and not isinstance(value, type):
            states[name] = state_of(value, name, keep)
        else:
            extra[name] = saveable(value, name, keep)
    # The loader before the generators: asking a stateful loader may draw from them.
    loader_state = _loader_state(loader, keep, inside_epoch=batch is not None)
    return {
        "schema": SCHEMA,
        "epoch": epoch,
        "batch": batch,
        "step": step,
        "metrics_size": metrics_size,
        "metric": None if metric is None else {"name": metric[0], "value": metric[1]},
        "timers": timers,
        "states": states,
        "extra": extra,
        "loader": loader_state,
        "generators": [generator.get_state() for generator in loader_generators(loader)],
        "rng": rng_state(),
    }


def _count(value: object, name: str, *, at_least: int) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}.") from None
    if number < at_least:
        raise ValueError(f"{name} must be {at_least} or more, not {number}.")
    return number


def _loader_state(loader: object, keep: Keep, *, inside_epoch: bool) -> object:
    if not isinstance(loader, Stateful):
        return None
    if not inside_epoch and getattr(loader, "_iterator", loader) is None:
        return None  # a StatefulDataLoader that was not used: asking would start its workers
    state = loader.state_dict()
    if not inside_epoch and isinstance(state, Mapping) and state.get("_iterator_finished") is False:
        # The loop left a StatefulDataLoader early and calls that an epoch. Its next `iter` starts
        # afresh, but one that loads this state would go on in the middle.
        return None
    return saveable(state, "loader", keep)


def write(
    folder: Path,
    content: Content,
    *,
    keep_last: int | None = 2,
    keep_best: int | None = 1,
    direction: str = "maximize",
    report: Report = warn,
    beside: Callable[[], None] | None = None,
    check: Callable[[], None] | None = None,
) -> list[Path]:
    """Make a snapshot durable as `states/epoch_0007.pt`; tell what need not be kept now.

    At every moment there is a valid checkpoint: the new one is on the disk before the caller
    removes older files. `states/best.pt` is the best one by the metric, as a hard link where that
    works.

    Args:
        folder: The run folder.
        content: What `snapshot` gave.
        keep_last: How many of the newest to keep; None for all.
        keep_best: How many of the best by the metric to keep besides; None for all.
        direction: Whether a greater or a smaller metric is better.
        report: Called with a sentence when files of a later epoch were in the way.
        beside: Called in another thread while the content is written.
        check: Called when the content is on the disk and before anything else is changed; where
            it raises, all stays as it was.

    Returns:
        The files to remove, for `remove`.

    Raises:
        ValueError: If a setting is out of range.
        OSError: If the file could not be written; older checkpoints are untouched then.
    """
    if keep_last is not None:
        _count(keep_last, "keep_last", at_least=1)
    if keep_best is not None:
        _count(keep_best, "keep_best", at_least=0)
    if direction not in ("maximize", "minimize"):
        raise ValueError(f"direction must be 'maximize' or 'minimize', not {direction!r}.")
    path = checkpoint_path(folder, content["epoch"], content["batch"])
    write_torch(path, {**content, "rng": packed(content["rng"])}, beside, check)
    _remember_metric(path, content["metric"])

    new = parse_name(path)
    assert new is not None
    files = find_checkpoints(folder)
    for later in (file for file in files if (file.epoch, file.batch) > (new.epoch, new.batch)):
        # Left by a run that was started again without resume(): resuming there would be wrong,
        # and deleting it would make a forgotten resume() cost a training.
        set_aside(later.path, "replaced")
        report(
            f"{later.path.name} is of a later epoch than {path.name}, which was just saved: it is "
            f"now {later.path.name}.replaced. A run that goes on calls resume() first."
        )
    files = [file for file in files if (file.epoch, file.batch) <= (new.epoch, new.batch)]
    best = _best(files, content["metric"], direction)[:keep_best]
    if best:
        _link_best(best[0].path)
    last = files if keep_last is None else files[-keep_last:]
    return [file.path for file in files if file not in last and file not in best]


def remove(paths: Sequence[Path], report: Report) -> None:
    """Remove files; one that the system keeps is reported, and tried again with the next."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            report(f"{path} could not be removed: {error}")


def _best(
    files: list[CheckpointFile], metric: Metric | None, direction: str
) -> list[CheckpointFile]:
    """Files that hold this metric, best first; of equals the earlier first."""
    if metric is None:
        return []
    ranked = []
    for file in files:
        name, value = _metric_of(file.path)
        if name == metric["name"] and value is not None and not math.isnan(value):
            ranked.append((-value if direction == "maximize" else value, file))
    return [file for _, file in sorted(ranked)]


_metrics: dict[tuple[int, int, int], tuple[str | None, float | None]] = {}


def _identity(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _remember_metric(path: Path, metric: Metric | None) -> tuple[str | None, float | None]:
    known = (metric["name"], metric["value"]) if metric else (None, None)
    _metrics[_identity(path)] = known
    return known


def _metric_of(path: Path) -> tuple[str | None, float | None]:
    """Name and value of the metric in a checkpoint; a file's content is read once."""
    import torch

    try:
        known = _metrics.get(_identity(path))
        if known is None:
            # Mapped, so that only the structure is read and not the weights.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            known = _remember_metric(path, content["metric"])
        return known
    except Exception:  # a file that cannot be read is nobody's best; resume() reports it
        return None, None


def _link_best(source: Path) -> None:
    best = source.with_name("best.pt")
    with contextlib.suppress(FileNotFoundError):
        if best.samefile(source):
            return
        same = _metric_of(best) == _metric_of(source)
        if same and best.stat().st_mtime_ns >= source.stat().st_mtime_ns:
            return  # a copy, where the file system has no links
    temporary = best.with_name(f".best.pt.{os.urandom(6).hex()}{TMP_SUFFIX}")
    try:
        os.link(source, temporary)
    except OSError:
        with atomic_path(best) as copy:
            shutil.copyfile(source, copy)
        return
    # The folder was synced for the checkpoint itself. A power cut now leaves the former best.
    os.replace(temporary, best)  # noqa: PTH105


def set_aside(path: Path, reason: str) -> None:
    """Rename a checkpoint so that nothing resumes from it: `epoch_0007.pt.damaged`."""
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name(f"{path.name}.{reason}"))


# --- resuming --------------------------------------------------------------------------------


def resume(
    folder: Path,
    *,
    objects: Mapping[str, object],
    loader: object = None,
    rank: int = 0,
    report: Report = warn,
) -> ResumePoint:
    """Put back the newest valid checkpoint of a run folder.

    A damaged file is reported, renamed to `….pt.damaged` and passed over. Things are restored in
    the order in which they are given, then the loader, then all random number generators. Nothing
    is changed where there is no checkpoint.

    Args:
        folder: The run folder.
        objects: What to restore, by the names used for saving. None is left out. Values without
            `load_state_dict` are taken for the default of a plain value that is not saved yet.
        loader: The DataLoader; it must not have been iterated yet.
        rank: Ranks other than 0 rename nothing, and get random streams of their own.
        report: Called with a sentence a damaged file or a mismatch that does not stop the run.

    Returns:
        The epoch to run next, with `batch` and `extra`; 0 on a new run or where no file is valid.

    Raises:
        ValueError: If the checkpoint lacks the state of something that is to be restored.
        RuntimeError: If a state does not fit, such as that of another model.
        OSError: If a checkpoint cannot be read although it is there.
    """
    states = folder / "states"
    if rank == 0:
        remove_leftovers(states)
    candidates = [file.path for file in reversed(find_checkpoints(folder))]
    if (states / "best.pt").exists():
        candidates.append(states / "best.pt")  # a copy on file systems without links
    stateful = {name: value for name, value in objects.items() if hasattr(value, "load_state_dict")}
    plain = {
        name: value for name, value in objects.items() if value is not None and name not in stateful
    }
    for path in candidates:
        content = _read(path, rank, report)
        if content is not None:
            return _restore(path, content, stateful, plain, loader, rank, report)
    if candidates:
        report(f"No checkpoint in {states} could be read: the run starts anew, at epoch 0.")
    return ResumePoint(0, step=-1, metrics_size=0, timers="", extra=plain)


def _read(path: Path, rank: int, report: Report) -> Content | None:
    try:
        content = read_torch(path)
    except FileNotFoundError:
        return None  # another rank has set it aside
    except DamagedFileError as error:
        if rank == 0:
            set_aside(path, "damaged")
            report(f"{error} It is now {path.name}.damaged; the next older checkpoint is tried.")
        return None
    if not isinstance(content, dict) or "schema" not in content:
        report(f"{path} is no checkpoint of save_checkpoint() and is passed over.")
        return None
    if content["schema"] > SCHEMA:
        raise ValueError(
            f"{path} has schema {content['schema']}, this version of expkit-bookkeeping reads up "
            f"to {SCHEMA}. Update it: pip install -U expkit-bookkeeping"
        )
    return cast(Content, content)


def _restore(
    path: Path,
    content: Content,
    stateful: Mapping[str, object],
    plain: Mapping[str, object],
    loader: object,
    rank: int,
    report: Report,
) -> ResumePoint:
    states, extra = content["states"], content["extra"]
    missing = [name for name in stateful if name not in states]
    if missing:
        raise ValueError(
            f"{path} has no state of {', '.join(missing)}; it has {', '.join(states) or 'none'}. "
            "Give save_checkpoint() the same names as resume(), or leave them out here."
        )
    unused = [name for name in states if name not in stateful]
    if unused:
        report(
            f"{path.name} also holds the state of {', '.join(unused)}, which resume() was not "
            "given: what was trained goes on without it."
        )
    for name, value in stateful.items():
        with _restoring(path, name):
            load_into(value, states[name], name)
    generators = loader_generators(loader)
    if isinstance(loader, Stateful) and content["loader"] is not None:
        with _restoring(path, "loader"):
            loader.load_state_dict(content["loader"])
            # A StatefulDataLoader builds its iterator here and not at the first `iter`, so what
            # it draws from the generators meanwhile is undone below.
            loader.state_dict()
    elif content["batch"] is not None and loader is not None:
        report(
            f"{path.name} was saved inside epoch {content['epoch']}, and the loader has no state "
            f"to go on there: skip the first {content['batch']} batches (resume(…).batch)."
        )
    saved = content["generators"]
    if rank == 0:
        if len(saved) != len(generators) and loader is not None:
            report(
                f"{path.name} has the states of {len(saved)} generators of the loader, which now "
                f"has {len(generators)}: the order of the samples may differ from a run that was "
                "not stopped."
            )
        for generator, state in zip(generators, saved, strict=False):
            generator.set_state(state)
        restore_rng_state(content["rng"], report)
    else:
        start_other_rank(content["rng"], generators, rank)
    return ResumePoint(
        content["epoch"] + (content["batch"] is None),
        batch=content["batch"] or 0,
        step=content["step"],
        metrics_size=content["metrics_size"],
        timers=content.get("timers"),  # older files lack it
        path=path,
        extra={**plain, **extra},
    )


@contextlib.contextmanager
def _restoring(path: Path, name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        tell_where(error, f"{name} was not restored from {path}")
        error.add_note(
            "Where the configuration changed on purpose, start the run afresh (expkit.fresh=true) "
            "or load only what fits with load_model()."
        )
        raise
