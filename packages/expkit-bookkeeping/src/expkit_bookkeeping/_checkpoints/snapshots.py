"""What a checkpoint holds: the states of a training, collected on its own thread."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import TypedDict

from .._files.saveable import same_memory, saveable
from .parameter_names import parameter_names
from .rng import has_kept_workers, loader_generators, rng_state
from .states import Stateful, state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from torch import Tensor

    from .parameter_names import GroupNames

    KeepTensor = Callable[[Tensor], Tensor]

SCHEMA = 1


class RankingMetric(TypedDict):
    """The metric that ranks checkpoints; its value is None if it was not logged."""

    name: str
    value: float | None


class Keeping(TypedDict):
    """Which checkpoints a save keeps, so that a resume can finish it after a kill."""

    last: int | None
    best: int | None
    direction: str


class CheckpointContent(TypedDict):
    """What a checkpoint's file holds."""

    schema: int
    epoch: int
    batch: int | None
    step: int | None
    metrics_size: int | None
    metric: RankingMetric | None
    keeping: Keeping | None
    timers: str | None
    states: dict[str, object]
    parameter_names: dict[str, GroupNames]
    extra: dict[str, object]
    loader: object
    kept_workers: bool | None
    generators: list[Tensor]
    rng: dict[str, object]


def snapshot(
    epoch: int,
    *,
    batch: int | None = None,
    objects: Mapping[str, object],
    loader: object = None,
    step: int | None = None,
    metrics_size: int | None = None,
    metric: tuple[str, float | None] | None = None,
    keeping: Keeping | None = None,
    timers: str | None = None,
    keep: KeepTensor = same_memory,
) -> CheckpointContent:
    """Collect what a checkpoint holds. Tensors are references: write them before the next step.

    Everything else is copied, so that with a `keep` that copies tensors nothing changes later.

    Args:
        epoch: The epoch, counted from 0. Without `batch` it is complete.
        batch: Batches of the epoch that are done, if it is not complete.
        objects: What to save by name: objects with a `state_dict`, and plain values. None is left
            out, so that an optional scheduler needs no branch.
        loader: A DataLoader; its generators are saved, and its own state if it has one.
        step: Last step whose metrics this checkpoint covers; -1 for none, None if unknown.
        metrics_size: Bytes of metrics.jsonl that it covers.
        metric: Name of the metric that ranks checkpoints, and its value for this one; None if it
            was not logged.
        keeping: Which checkpoints are kept once this one is written; None if unknown.
        timers: What timer.yaml holds; None if unknown.
        keep: Called with each tensor; returns the one to write in its place.

    Raises:
        TypeError: If the epoch is no whole number, or something cannot be saved.
        ValueError: If the epoch or batch is out of range, or the loader cannot save its position
            within an epoch.
    """
    epoch = check_count(epoch, "epoch", at_least=0)
    if batch is not None:
        batch = check_count(batch, "batch", at_least=1)
        if loader is not None and not isinstance(loader, Stateful):
            raise ValueError(
                f"save_checkpoint({epoch}, batch={batch}) is inside an epoch, and a "
                f"{type(loader).__name__} cannot continue there: it has no state_dict(). Save at "
                "the end of the epoch (leave out batch), or use "
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
        "keeping": keeping,
        "timers": timers,
        "states": states,
        "parameter_names": parameter_names(objects),
        "extra": extra,
        "loader": loader_state,
        "kept_workers": None if loader is None else has_kept_workers(loader),
        "generators": [generator.get_state() for generator in loader_generators(loader)],
        "rng": rng_state(),
    }


def check_count(value: object, name: str, *, at_least: int) -> int:
    """Check that a value is a whole number of at least `at_least`, and return it as an int."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}.") from None
    if number < at_least:
        raise ValueError(f"{name} must be {at_least} or more, not {number}.")
    return number


def _loader_state(loader: object, keep: KeepTensor, *, inside_epoch: bool) -> object:
    if not isinstance(loader, Stateful):
        return None
    if not inside_epoch and getattr(loader, "_iterator", loader) is None:
        return None  # a StatefulDataLoader that was not used: asking would start its workers
    state = loader.state_dict()
    if not inside_epoch and isinstance(state, Mapping) and state.get("_iterator_finished") is False:
        # The loop left a StatefulDataLoader early and calls that an epoch. Its next `iter` starts
        # over, but one that loads this state would continue in the middle.
        return None
    return saveable(state, "loader", keep)
