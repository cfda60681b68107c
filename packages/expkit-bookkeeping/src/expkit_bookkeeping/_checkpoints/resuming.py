"""Resuming: the newest valid checkpoint of a run, restored."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from .._files.durable import Check
from .._files.json_files import NewerFileError, UnreadableFileError, check_schema
from .._files.torch_archives import DamagedFileError, read_torch
from .files import find_checkpoints
from .parameter_names import changes_groups, in_order_of, parameter_names
from .rng import (
    draws_in_workers,
    has_kept_workers,
    keeps_workers,
    loader_generators,
    restore_rng_state,
    start_kept_workers,
)
from .snapshots import SCHEMA, CheckpointContent
from .states import Stateful, hyperparameters, load_into, prepend_fact
from .writing import set_aside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from torch import Generator

    from .rng import RankStreams

Report = Callable[[str], None]


class ResumePoint(int):
    """Where to continue: the epoch to run next, as a number, with what else the checkpoint says.

    Attributes:
        batch: Batches of that epoch that are done: 0 unless the checkpoint was saved inside an
            epoch. A stateful loader has already gone past them.
        step: Last step whose metrics the checkpoint covers; -1 for none, None if unknown.
        metrics_size: Bytes of metrics.jsonl that it covers; None if unknown.
        timers: The content of timer.yaml then, empty on a new run; None if unknown.
        path: The checkpoint that was read; None on a new run.
        extra: The plain values by the names that `save_checkpoint` got them under.
        replaced: By place the hyperparameters of optimizers and schedulers that the checkpoint has
            replaced, each before and now.

    Examples:
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
    replaced: Mapping[str, tuple[object, object]]

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
        replaced: Mapping[str, tuple[object, object]] | None = None,
    ) -> Self:
        """Make the number of the epoch and attach the rest."""
        point = super().__new__(cls, epoch)
        point.batch, point.path = batch, path
        point.step, point.metrics_size, point.timers = step, metrics_size, timers
        point.extra, point.replaced = dict(extra or {}), dict(replaced or {})
        return point


def resume(
    folder: Path,
    *,
    objects: Mapping[str, object],
    loader: object = None,
    streams: RankStreams | None = None,
    read_only: bool = False,
    report: Report,
    check: Check | None = None,
) -> ResumePoint:
    """Restore the newest valid checkpoint of a run folder.

    A damaged file is reported, renamed to `….pt.damaged` and passed over. Objects are restored in
    the order of `objects`, then the loader, then all random number generators. If there is no
    checkpoint, nothing is changed.

    Args:
        folder: The run folder.
        objects: What to restore, by the names used for saving. None is left out. Values without
            `load_state_dict` are defaults of plain values that are not saved yet.
        loader: The DataLoader; it must not have been iterated yet.
        streams: The random streams of a rank above 0; None on rank 0.
        read_only: Whether nothing may be renamed or removed, as the run is another rank's, or is
            not claimed.
        report: Called with one sentence per damaged file or mismatch that does not stop the run.
        check: Raises if the run is no longer the caller's; see `write_file`.

    Returns:
        The epoch to run next, with `batch` and `extra`; 0 on a new run or if no file is valid.

    Raises:
        ValueError: If the checkpoint lacks the state of one of the objects, or a newer version
            wrote it.
        RuntimeError: If a state does not fit, such as that of another model.
        OSError: If a checkpoint exists but cannot be read.
    """
    states = folder / "states"
    candidates = [file.path for file in reversed(find_checkpoints(folder))]
    if (states / "best.pt").exists():
        candidates.append(states / "best.pt")  # a copy on file systems without links
    stateful = {name: value for name, value in objects.items() if hasattr(value, "load_state_dict")}
    plain = {
        name: value for name, value in objects.items() if value is not None and name not in stateful
    }
    for path in candidates:
        content = _read(path, report, read_only, check)
        if content is not None:
            return _restore(path, content, stateful, plain, loader, streams, report)
    if candidates:
        report(f"No checkpoint in {states} could be read: the run starts over, at epoch 0.")
    return ResumePoint(0, step=-1, metrics_size=0, timers="", extra=plain)


def _read(
    path: Path, report: Report, read_only: bool, check: Check | None
) -> CheckpointContent | None:
    try:
        content = read_torch(path)
    except FileNotFoundError:
        return None  # another rank has set it aside
    except DamagedFileError as error:
        if read_only:
            report(f"{error} The next older checkpoint is tried.")
        else:
            set_aside(path, "damaged", check)
            report(f"{error} It is now {path.name}.damaged; the next older checkpoint is tried.")
        return None
    if not isinstance(content, dict) or "schema" not in content:
        report(f"{path} is no checkpoint of save_checkpoint() and is passed over.")
        return None
    try:
        check_schema(content, path, SCHEMA)
    except NewerFileError:
        raise  # to start over, or from an older one, would overwrite what the newer version wrote
    except UnreadableFileError as error:
        report(f"{error}. It is passed over.")
        return None
    fault = _fault(content)
    if fault is not None:
        report(f"{path} is no checkpoint of save_checkpoint(): {fault}. It is passed over.")
        return None
    return cast(CheckpointContent, content)


def _fault(content: Mapping[str, object]) -> str | None:
    """What a checkpoint lacks that restoring it takes; None if it is complete."""
    count, no_count = (int,), (int, type(None))
    kinds: dict[str, tuple[type, ...]] = {
        "epoch": count, "batch": no_count, "step": no_count, "metrics_size": no_count,
        "states": (dict,), "extra": (dict,), "loader": (object,), "generators": (list,),
        "rng": (dict,),
    }  # fmt: skip
    for name, allowed in kinds.items():
        if name not in content:
            return f"it lacks {name!r}"
        value = content[name]
        if not isinstance(value, allowed) or isinstance(value, bool):
            return f"its {name!r} is {type(value).__name__}"
    if not isinstance(content.get("parameter_names"), (dict, type(None))):
        return f"its 'parameter_names' is {type(content['parameter_names']).__name__}"
    if not isinstance(content.get("timers"), (str, type(None))):
        return f"its 'timers' is {type(content['timers']).__name__}"
    return None


def _restore(
    path: Path,
    content: CheckpointContent,
    stateful: Mapping[str, object],
    plain: Mapping[str, object],
    loader: object,
    streams: RankStreams | None,
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
            "given: the training continues without it."
        )
    states = {**states, **_optimizer_states(content, stateful, path)}
    replaced: dict[str, tuple[object, object]] = {}
    for name, value in stateful.items():
        with _restoring(path, name):
            before = hyperparameters(value, name)
            load_into(value, states[name], name)
            for place, now in hyperparameters(value, name).items():
                if place in before and repr(before[place]) != repr(now):
                    replaced[place] = before[place], now
    generators = loader_generators(loader)
    if isinstance(loader, Stateful) and content["loader"] is not None:
        with _restoring(path, "loader"):
            loader.load_state_dict(content["loader"])
            # This makes a StatefulDataLoader build its iterator now and not at the first `iter`.
            # What it draws from the generators is undone below.
            loader.state_dict()
    elif content["batch"] is not None and loader is not None:
        report(
            f"{path.name} was saved inside epoch {content['epoch']}, and the loader has no state "
            f"to continue there: skip the first {content['batch']} batches (resume(…).batch)."
        )
    if streams is None:
        _continue_streams(path, content, loader, generators, report)
    else:
        if _starts_workers(content, loader, path, report):
            start_kept_workers(loader)
        streams.begin(content["epoch"], content["batch"], loader)
    return ResumePoint(
        content["epoch"] + (content["batch"] is None),
        batch=content["batch"] or 0,
        step=content["step"],
        metrics_size=content["metrics_size"],
        timers=content.get("timers"),  # older files lack it
        path=path,
        extra={**plain, **extra},
        replaced=replaced,
    )


def _continue_streams(
    path: Path,
    content: CheckpointContent,
    loader: object,
    generators: Sequence[Generator],
    report: Report,
) -> None:
    """Let rank 0 draw from here on what it drew after the checkpoint."""
    saved = content["generators"]
    if len(saved) != len(generators) and loader is not None:
        report(
            f"{path.name} has the states of {len(saved)} generators of the loader, which now "
            f"has {len(generators)}: the order of the samples may differ from a run that was "
            "not stopped."
        )
    with _restoring(path, "the random state"):
        _restore_random_states(content, generators, report)
        if _starts_workers(content, loader, path, report):
            start_kept_workers(loader)
            if not has_kept_workers(loader):  # a class with an `__iter__` of its own
                report(
                    f"The persistent workers of this {type(loader).__name__} could not be "
                    "started before the random states were restored: the order of the samples "
                    "may differ from a run that was not stopped. Use persistent_workers=False."
                )
            _restore_random_states(content, generators, lambda _: None)


def _optimizer_states(
    content: CheckpointContent, objects: Mapping[str, object], path: Path
) -> dict[str, object]:
    """The states of optimizers in the order of their parameters now, before anything is changed."""
    saved = content.get("parameter_names") or {}  # older files lack it
    states: dict[str, object] = {}
    for name, wanted in parameter_names(objects).items():
        if name not in saved:
            continue
        optimizer = objects[name]
        with _restoring(path, name):
            state = in_order_of(content["states"][name], saved[name], wanted, optimizer, name)
            states[name] = state
        for other, value in objects.items():
            if getattr(value, "optimizer", None) is not optimizer:
                continue
            with _restoring(path, other):  # a scheduler, which counts the groups
                if changes_groups(saved[name], wanted, name):
                    raise ValueError(
                        f"The groups of parameters of {name} are in another order than when it was "
                        f"saved, and {other} counts them. Give them to it in the saved order."
                    )
    return states


def _restore_random_states(
    content: CheckpointContent, generators: Sequence[Generator], report: Report
) -> None:
    for generator, state in zip(generators, content["generators"], strict=False):
        generator.set_state(state)
    restore_rng_state(content["rng"], report)


def _starts_workers(content: CheckpointContent, loader: object, path: Path, report: Report) -> bool:
    """Whether a loader's workers have to be started to draw what a run draws that goes on."""
    had_workers = content.get("kept_workers")  # older files lack it
    has_workers = has_kept_workers(loader)
    if loader is None:
        return False
    if not keeps_workers(loader):
        if had_workers:
            report(
                f"{path.name} was saved with persistent_workers=True, and the loader has it no "
                "longer: the order of the samples differs from a run that was not stopped."
            )
        return False
    if had_workers is not False and draws_in_workers(loader):
        report(
            "The loader has persistent_workers=True, and the random states inside its workers are "
            "in no checkpoint: the order of the samples is that of a run that was not stopped, but "
            "not what the dataset draws itself, such as random augmentation. If it draws anything, "
            "use persistent_workers=False, or SeededDataset of expkit-seed."
        )
    return had_workers is not False and not has_workers and not isinstance(loader, Stateful)


@contextlib.contextmanager
def _restoring(path: Path, name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        prepend_fact(error, f"{name} was not restored from {path}")
        error.add_note(
            "If the configuration changed on purpose, start the run over (expkit.fresh=true) or "
            "load only what fits with load_model()."
        )
        raise
