"""Curves as arrays: aligned, averaged, ranked. Pure functions of numpy arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .runs import Curve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy import bool_
    from numpy.typing import NDArray

    from .runs import Array

# Words that mark a metric as one where less is better.
_LESS_IS_BETTER = frozenset(
    (
        *("loss", "error", "err", "mse", "mae", "rmse", "mape", "nll", "perplexity", "ppl"),
        *("wer", "cer", "eer", "fid", "time", "seconds", "latency", "memory", "divergence", "kl"),
    )
)
# Words that mark a metric as a share of one, or of a hundred, whose upper end is what counts.
_SHARES = frozenset(
    ("accuracy", "acc", "auc", "auroc", "dice", "f1", "iou", "map", "precision", "recall", "uar")
)
LOG_SCALE_RATIO = 1e3
SMALLEST = 1e-200  # below, a log scale would underflow
LARGEST = 1e200  # above, matplotlib's axes overflow; a loss of this size has diverged like inf
MOST_STEPS = 4000  # more than a page has dots in its width
EDGES = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles of the two bands and the line between them


def align(curves: Sequence[Curve]) -> tuple[Array, Array]:
    """Curves on one grid of steps: the union of theirs, or `MOST_STEPS` of it.

    Between two of its own points a curve is interpolated linearly, so that runs logged at
    different steps can be averaged; before its first and after its last point it is NaN.
    A NaN that was logged stays a gap, as does an infinity or what comes close to one (`LARGEST`).

    Returns:
        Steps of shape (steps,), values of shape (curves, steps).

    Examples:
        >>> steps, values = align([Curve(np.array([0., 2.]), np.array([0., 2.])),
        ...                        Curve(np.array([0., 1.]), np.array([5., 6.]))])
        >>> steps.tolist(), values.tolist()
        ([0.0, 1.0, 2.0], [[0.0, 1.0, 2.0], [5.0, 6.0, nan]])
    """
    first = curves[0].steps
    if all(
        len(curve.steps) == len(first) and np.array_equal(curve.steps, first) for curve in curves
    ):
        values = np.array([curve.values for curve in curves], dtype=float)
        values[~drawable(values)] = np.nan
        return np.asarray(first, dtype=float), values
    steps = np.unique(np.concatenate([curve.steps for curve in curves])).astype(float)
    if len(steps) > MOST_STEPS:
        # Runs that share no steps would make a table of the square of their points.
        steps = steps[np.linspace(0, len(steps) - 1, MOST_STEPS).round().astype(int)]
    values = np.full((len(curves), len(steps)), np.nan)
    for row, curve in zip(values, curves, strict=True):
        finite = drawable(curve.values)
        if finite.any():
            row[:] = np.interp(
                steps, curve.steps[finite], curve.values[finite], left=np.nan, right=np.nan
            )
        row[np.isin(steps, curve.steps[~finite])] = np.nan
    return steps, values


def drawable(values: Array) -> NDArray[bool_]:
    """Which values have a place on an axis: neither NaN nor infinite, nor close to it."""
    within: NDArray[bool_] = np.abs(values) <= LARGEST
    return within


def isolated(values: Array) -> NDArray[bool_]:
    """Which points of a curve no line reaches, because both neighbours are missing.

    Examples:
        >>> isolated(np.array([1.0, 2.0, np.nan, 3.0])).tolist()
        [False, False, False, True]
    """
    finite = np.concatenate([[False], drawable(values), [False]])
    alone: NDArray[bool_] = finite[1:-1] & ~finite[:-2] & ~finite[2:]
    return alone


def mean_and_spread(values: Array) -> tuple[Array, Array, Array]:
    """Mean over runs, sample standard deviation, and how many runs each rests on.

    Args:
        values: Shape (runs, steps); NaN where a run has none.

    Returns:
        Mean, standard deviation (NaN for fewer than two runs) and count, each (steps,).

    Examples:
        >>> mean, spread, count = mean_and_spread(np.array([[1.0, 2.0], [3.0, np.nan]]))
        >>> mean.tolist(), spread.round(3).tolist(), count.tolist()
        ([2.0, 2.0], [1.414, nan], [2, 1])
    """
    logged = ~np.isnan(values)
    count = logged.sum(axis=0)
    filled = np.where(logged, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # squares may overflow
        mean = np.where(count > 0, filled.sum(axis=0) / count, np.nan)
        squares = np.where(logged, (values - mean) ** 2, 0.0).sum(axis=0)
        spread = np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
    return mean, spread, count


def average_inner(values: Array, repetitions: Sequence[tuple[str, ...]]) -> Array:
    """Curves averaged over all levels of repetition but the outermost: one per seed, not per fold.

    Args:
        values: Shape (runs, steps); NaN where a run has none.
        repetitions: For each run its values of the repeated keys, the outermost first.

    Returns:
        Shape (repetitions of the outermost level, steps); `values` itself if there is one level.

    Examples:
        >>> folds = np.array([[1.0], [3.0], [5.0]])
        >>> average_inner(folds, [("1", "a"), ("1", "b"), ("2", "a")]).tolist()
        [[2.0], [5.0]]
    """
    while any(len(repetition) > 1 for repetition in repetitions):
        rows: dict[tuple[str, ...], list[int]] = {}
        for row, repetition in enumerate(repetitions):
            rows.setdefault(repetition[:-1], []).append(row)
        values = np.array([mean_and_spread(values[members])[0] for members in rows.values()])
        repetitions = list(rows)
    return values


def quantiles(values: Array) -> Array:
    """The quantiles `EDGES` over runs, NaN left out.

    Args:
        values: Shape (runs, steps).

    Returns:
        Shape (len(EDGES), steps).
    """
    # numpy's nanquantile takes ten times as long: it goes through the columns one by one.
    ordered = np.sort(values, axis=0)  # NaN comes last
    last = np.maximum((~np.isnan(values)).sum(axis=0) - 1, 0)
    position = np.outer(EDGES, last)  # between the ranks, as numpy's "linear" has it
    lower = np.floor(position).astype(int)
    below = np.take_along_axis(ordered, lower, axis=0)
    above = np.take_along_axis(ordered, np.minimum(lower + 1, last), axis=0)
    share = position - lower
    bands: Array = below + (above - below) * share
    return bands


def direction_of(metric: str) -> str:
    """A guess: "minimize" for names such as `val_loss`, else "maximize".

    Examples:
        >>> direction_of("val_loss"), direction_of("val_accuracy")
        ('minimize', 'maximize')
    """
    return "maximize" if _LESS_IS_BETTER.isdisjoint(_words(metric)) else "minimize"


def _words(metric: str) -> list[str]:
    return metric.lower().replace("/", "_").replace(".", "_").split("_")


def best_place(curve: Curve, direction: str) -> int | None:
    """Where a run has its best value that can be drawn; None if it has none."""
    values = curve.values if direction == "maximize" else -curve.values
    values = np.where(drawable(values), values, -np.inf)
    return int(values.argmax()) if np.isfinite(values).any() else None


def best_value(curve: Curve, direction: str) -> float:
    """The best value of a run that can be drawn; the worst possible one if it has none."""
    place = best_place(curve, direction)
    if place is None:
        return float("inf") if direction == "minimize" else float("-inf")
    return float(curve.values[place])


def ranked(groups: Sequence[Sequence[Curve]], direction: str) -> list[int]:
    """Indices of groups of runs, best first, by the mean of their runs' best values."""
    sign = 1 if direction == "minimize" else -1
    scores = [
        sign * float(np.mean([best_value(curve, direction) for curve in group])) for group in groups
    ]
    return sorted(range(len(groups)), key=lambda index: scores[index])


def log_floor(metric: str, values: Array) -> float | None:
    """The smallest positive value, if a log scale shows the values better than a linear one.

    It does if they span three orders of magnitude; zeros do not count. Values of which one is
    negative, and shares such as an accuracy, stay linear.

    Examples:
        >>> values = np.array([0.9, 1e-8, 0.0])
        >>> log_floor("loss", values), log_floor("accuracy", values)
        (1e-08, None)
    """
    visible = values[drawable(values)]
    positive = visible[visible > SMALLEST]
    if not len(positive) or (visible < 0).any() or not _SHARES.isdisjoint(_words(metric)):
        return None
    low, high = float(positive.min()), float(positive.max())
    return low if high / low >= LOG_SCALE_RATIO else None


def thinned(steps: Array, values: Array, *, most: int = MOST_STEPS) -> tuple[Array, Array]:
    """A long curve with fewer points that looks the same: the extremes of equal stretches."""
    if len(steps) <= most:
        return steps, values
    length = math.ceil(len(steps) / (most // 2))
    stretches = math.ceil(len(steps) / length)
    padded = np.full(stretches * length, np.nan)
    padded[: len(values)] = values
    table = padded.reshape(stretches, length)
    starts = np.arange(stretches) * length
    lowest = starts + np.where(np.isnan(table), np.inf, table).argmin(axis=1)
    highest = starts + np.where(np.isnan(table), -np.inf, table).argmax(axis=1)
    # A stretch of nothing but NaN keeps its first, so that the gap stays.
    index = np.unique(np.concatenate([[0, len(steps) - 1], lowest, highest]))
    return steps[index], values[index]
