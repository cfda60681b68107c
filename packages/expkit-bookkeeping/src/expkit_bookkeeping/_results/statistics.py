"""Means over runs, and how far runs are from them. Imported with pandas, which brings numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._optional import numpy as np

SPREADS = {
    "std": "mean ± sample standard deviation",
    "sem": "mean ± standard error",
    "ci95": "mean ± half of the 95 % confidence interval (Student's t)",
    "quartiles": "median [25 %, 75 %]",
    "range": "mean [minimum, maximum]",
}
Repetition = tuple[object, ...]  # of a run: its values of the repeated keys, the outermost first


def summary(values: Sequence[float], spread: str) -> dict[str, float]:
    """The centre of some values and how far they spread, by the names of the columns.

    The standard deviation is the sample's, with n - 1, and quartiles are interpolated linearly, as
    in pandas. What a single value cannot tell is NaN.

    Args:
        values: The values; NaN is left out.
        spread: One of `SPREADS`.
    """
    array = np.asarray(values, dtype=float)
    array = array[~np.isnan(array)]
    count = len(array)
    if spread == "quartiles":
        parts = np.quantile(array, [0.5, 0.25, 0.75]) if count else [math.nan] * 3
        return dict(zip(("median", "q25", "q75"), map(float, parts), strict=True))
    mean = float(array.mean()) if count else math.nan
    if spread == "range":
        low, high = (array.min(), array.max()) if count else (math.nan, math.nan)
        return {"mean": mean, "min": float(low), "max": float(high)}
    with np.errstate(invalid="ignore"):  # of infinite values
        std = float(array.std(ddof=1)) if count > 1 else math.nan
    if spread == "std":
        return {"mean": mean, "std": std}
    sem = std / math.sqrt(count) if count > 1 else math.nan
    if spread == "sem":
        return {"mean": mean, "sem": sem}
    return {"mean": mean, "ci95": t_quantile(0.95, count - 1) * sem if count > 1 else math.nan}


def average_inner(values: Mapping[Repetition, Sequence[float]]) -> list[float]:
    """The values of a group, averaged over all levels of repetition but the outermost.

    With seeds of several folds: the mean over each seed's folds, one value per seed. NaN is left
    out.

    Args:
        values: The values of the runs, by their repetition.

    Examples:
        >>> average_inner({(1, "a"): [1.0], (1, "b"): [3.0], (2, "a"): [5.0]})
        [2.0, 5.0]
        >>> average_inner({(1,): [1.0, 3.0], (2,): [5.0]})
        [1.0, 3.0, 5.0]
    """
    if all(len(repetition) < 2 for repetition in values):
        return [value for parts in values.values() for value in parts if value == value]
    outer: dict[Repetition, list[float]] = {}
    for repetition, parts in values.items():
        outer.setdefault(repetition[:-1], []).extend(part for part in parts if part == part)
    return average_inner(
        {repetition: [float(np.mean(parts))] for repetition, parts in outer.items() if parts}
    )


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """A metric of two groups, compared seed by seed: the first group's value minus the second's.

    Attributes:
        metric: The metric.
        n: The number of pairs.
        mean: The mean difference.
        std: The sample standard deviation of the differences; NaN for one pair.
        low: The lower end of the 95 % confidence interval of the mean difference (Student's t).
        high: Its upper end.
        unpaired: How many runs of each group have no partner, or no value.
    """

    metric: str
    n: int
    mean: float
    std: float
    low: float
    high: float
    unpaired: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        text = f"{self.metric}: {self.mean:+.4g}, n = {self.n}"
        if self.n > 1:
            text += f", std {self.std:.4g}, 95 % interval {self.low:+.4g} to {self.high:+.4g}"
        if any(self.unpaired):
            text += f"; without a partner: {self.unpaired[0]} and {self.unpaired[1]} runs"
        return text


def paired_difference(
    metric: str, first: Mapping[Repetition, float], second: Mapping[Repetition, float]
) -> PairedDifference:
    """Compare two groups over the repetitions that both have.

    Args:
        metric: What is compared.
        first: The values of one group, by repetition.
        second: Those of the other.

    Raises:
        ValueError: If they have no repetition in common.
    """
    common = [key for key in first if key in second and not math.isnan(first[key] - second[key])]
    if not common:
        raise ValueError(
            f"The two groups have no repetition in common that has {metric}: nothing to compare."
        )
    values = average_inner({key: [first[key] - second[key]] for key in common})
    mean, std = summary(values, "std").values()
    half = summary(values, "ci95")["ci95"]
    unpaired = (len(first) - len(common), len(second) - len(common))
    return PairedDifference(metric, len(values), mean, std, mean - half, mean + half, unpaired)


def t_quantile(share: float, degrees_of_freedom: int) -> float:
    """How far from 0 the middle `share` of Student's t distribution reaches.

    For whole degrees of freedom its integral is a finite sum (Abramowitz and Stegun, Handbook of
    Mathematical Functions, 26.7.3 and 26.7.4), which is solved by bisection.

    Examples:
        >>> round(t_quantile(0.95, 2), 6), round(t_quantile(0.95, 30), 6)
        (4.302653, 2.042272)
    """
    low, high = 0.0, math.pi / 2  # of the angle whose tangent is t / sqrt(degrees of freedom)
    for _ in range(60):
        middle = (low + high) / 2
        if _share_within(middle, degrees_of_freedom) < share:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees_of_freedom) * math.tan((low + high) / 2)


def _share_within(angle: float, degrees_of_freedom: int) -> float:
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = degrees_of_freedom % 2 == 1
    term = cosine if is_odd else 1.0
    total = 0.0
    for step in range(3 if is_odd else 2, degrees_of_freedom + 1, 2):
        total += term
        term *= cosine**2 * (step - 1) / step
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total
