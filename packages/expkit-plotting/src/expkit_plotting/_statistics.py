"""Curves as arrays: aligned, averaged, ranked. Pure functions of numpy arrays."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ._runs import Curve

if TYPE_CHECKING:
    from ._runs import Array

# Words that mark a metric of which less is better.
_LESS_IS_BETTER = (
    *("loss", "error", "err", "mse", "mae", "rmse", "mape", "nll", "perplexity", "ppl"),
    *("wer", "cer", "eer", "fid", "time", "seconds", "latency", "memory", "divergence", "kl"),
)
EDGES = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles of the two bands and the line between them


def align(curves: Sequence[Curve]) -> "tuple[Array, Array]":
    """Curves on one grid of steps: the union of theirs.

    Between two of its own points a curve is interpolated linearly, so that runs logged at
    different steps can be averaged; before its first and behind its last point it is NaN.
    A NaN or an infinity that was logged stays a gap.

    Returns:
        Steps of shape (steps,), values of shape (curves, steps).

    >>> steps, values = align([Curve(np.array([0., 2.]), np.array([0., 2.])),
    ...                        Curve(np.array([0., 1.]), np.array([5., 6.]))])
    >>> steps.tolist(), values.tolist()
    ([0.0, 1.0, 2.0], [[0.0, 1.0, 2.0], [5.0, 6.0, nan]])
    """
    first = curves[0].steps
    if all(len(each.steps) == len(first) and np.array_equal(each.steps, first) for each in curves):
        values = np.array([each.values for each in curves], dtype=float)
        values[~np.isfinite(values)] = np.nan
        return np.asarray(first, dtype=float), values
    steps = np.unique(np.concatenate([each.steps for each in curves])).astype(float)
    values = np.full((len(curves), len(steps)), np.nan)
    for row, each in zip(values, curves, strict=True):
        if not len(each.steps):
            continue
        finite = np.isfinite(each.values)
        if finite.any():
            row[:] = np.interp(
                steps, each.steps[finite], each.values[finite], left=np.nan, right=np.nan
            )
        own = np.searchsorted(steps, each.steps)
        row[own] = np.where(finite, each.values, np.nan)
    return steps, values


def mean_and_spread(values: "Array") -> "tuple[Array, Array, Array]":
    """Mean over runs, sample standard deviation, and how many runs each rests on.

    Args:
        values: Shape (runs, steps); NaN where a run has none.

    Returns:
        Mean, standard deviation (NaN for fewer than two runs) and count, each (steps,).

    >>> mean, spread, count = mean_and_spread(np.array([[1.0, 2.0], [3.0, np.nan]]))
    >>> mean.tolist(), spread.round(3).tolist(), count.tolist()
    ([2.0, 2.0], [1.414, nan], [2, 1])
    """
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    filled = np.where(known, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count > 0, filled.sum(axis=0) / count, np.nan)
        squares = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0)
        spread = np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
    return mean, spread, count


def quantiles(values: "Array") -> "Array":
    """The quantiles `EDGES` over runs, NaN left out.

    Args:
        values: Shape (runs, steps).

    Returns:
        Shape (len(EDGES), steps).
    """
    known = (~np.isnan(values)).any(axis=0)
    bands = np.full((len(EDGES), values.shape[1]), np.nan)
    if known.any():
        bands[:, known] = np.nanquantile(values[:, known], EDGES, axis=0)
    return bands


def direction_of(metric: str) -> str:
    """A guess: "minimize" for names such as `val_loss`, else "maximize".

    >>> direction_of("val_loss"), direction_of("val_accuracy")
    ('minimize', 'maximize')
    """
    words = metric.lower().replace("/", "_").replace(".", "_").split("_")
    return "minimize" if any(word in _LESS_IS_BETTER for word in words) else "maximize"


def best_value(curve: Curve, direction: str) -> float:
    """The best finite value of a run; the worst possible one if it has none."""
    finite = curve.values[np.isfinite(curve.values)]
    if not len(finite):
        return float("inf") if direction == "minimize" else float("-inf")
    return float(finite.min() if direction == "minimize" else finite.max())


def ranked(groups: Sequence[Sequence[Curve]], direction: str) -> list[int]:
    """Indices of groups of runs, best first, by the mean of their runs' best values."""
    sign = 1 if direction == "minimize" else -1
    scores = [
        sign * float(np.mean([best_value(each, direction) for each in group])) for group in groups
    ]
    return sorted(range(len(groups)), key=lambda index: scores[index])


def needs_log_scale(values: "Array") -> bool:
    """Whether values span three orders of magnitude or more, and are no shares of one."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return False
    low, high = float(finite.min()), float(finite.max())
    return low > 0 and high > 1 and high / low >= 1e3


def thinned(steps: "Array", values: "Array", *, most: int = 4000) -> "tuple[Array, Array]":
    """A long curve with fewer points that looks the same: the extremes of equal stretches."""
    if len(steps) <= most:
        return steps, values
    edges = np.linspace(0, len(steps), most // 2 + 1).astype(int)
    kept: set[int] = {0, len(steps) - 1}
    for start, end in itertools.pairwise(edges):
        stretch = values[start:end]
        if np.isnan(stretch).all():
            kept.add(int(start))
            continue
        kept.update((int(start + np.nanargmin(stretch)), int(start + np.nanargmax(stretch))))
    index = np.array(sorted(kept))
    return steps[index], values[index]
