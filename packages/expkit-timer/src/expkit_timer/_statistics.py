"""Statistics of durations in bounded memory, and over several attempts; pure."""

from __future__ import annotations

from itertools import pairwise
from math import dist, inf, nan, sqrt
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLE_LIMIT = 4096  # durations kept for the quantiles, which are exact up to this count


class Statistics(NamedTuple):
    """Durations of blocks, in seconds; NaN where there is no value.

    Attributes:
        count: How many blocks have ended.
        total_s: Their sum.
        mean_s: Their mean.
        std_s: Standard deviation of the sample (n - 1); 0 for a single block.
        min_s: The shortest.
        max_s: The longest.
        p50_s: Median; of more than 4,096 blocks, that of a sample of them.
        p95_s: The quantile 95 %, like `p50_s`.
    """

    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs
    total_s: float
    mean_s: float
    std_s: float
    min_s: float
    max_s: float
    p50_s: float
    p95_s: float


class Totals:
    """What is kept of all durations: exact sums, and a sample for the quantiles."""

    __slots__ = ("_random", "_sample", "_stride", "count", "last", "max", "min", "squares", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0  # ns, exact
        self.squares = 0.0  # sum of squared distances from the mean, ns²
        self.min: float = inf
        self.max: float = -inf
        self.last: int | None = None
        self._sample: list[int] = []
        self._stride = 1  # every how many durations one enters the sample
        self._random = 1

    def add(self, durations: Sequence[int]) -> None:
        """Add durations in ns; their order matters for `last` alone."""
        count, total = len(durations), sum(durations)
        mean = total / count
        squares = dist(durations, [mean] * count) ** 2
        if self.count:
            # Chan, Golub and LeVeque (1979): the pooled squares of two groups.
            gap = mean - self.total / self.count
            squares += gap * gap * self.count * count / (self.count + count)
        self.squares += squares
        self.count += count
        self.total += total
        self.min = min(self.min, min(durations))
        self.max = max(self.max, max(durations))
        self.last = durations[-1]
        # A random start in each call, so that a period in the durations cannot align with it.
        self._sample += durations[self._draw(self._stride) :: self._stride]
        while len(self._sample) > SAMPLE_LIMIT:
            del self._sample[self._draw(2) :: 2]
            self._stride *= 2

    def statistics(self) -> Statistics:
        """The statistics of all durations, in seconds."""
        if not self.count:
            return Statistics(0, 0.0, nan, nan, nan, nan, nan, nan)
        ordered = sorted(self._sample) or [self.last or 0]
        return Statistics(
            count=self.count,
            total_s=self.total / 1e9,
            mean_s=self.total / self.count / 1e9,
            std_s=sqrt(self.squares / (self.count - 1)) / 1e9 if self.count > 1 else 0.0,
            min_s=self.min / 1e9,
            max_s=self.max / 1e9,
            p50_s=quantile(ordered, 0.50) / 1e9,
            p95_s=quantile(ordered, 0.95) / 1e9,
        )

    def _draw(self, below: int) -> int:
        # The generator of ANSI C's rand(): the user's generators must not advance, and importing
        # random costs more than the rest of this package.
        self._random = (self._random * 1103515245 + 12345) & 0x7FFFFFFF
        return (self._random >> 8) % below


def quantile(ordered: Sequence[float], fraction: float) -> float:
    """Quantile of sorted values, interpolated linearly as numpy does by default.

    Examples:
        >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5)
        2.5
    """
    position = fraction * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def combine(parts: Sequence[Statistics]) -> Statistics:
    """Statistics of all blocks together.

    Everything but the quantiles is exact. Each quantile is that of a mixture in which every part
    is a distribution through its minimum, p50, p95 and maximum; a single part keeps its own.

    Examples:
        >>> one = Statistics(2, 4.0, 2.0, 0.0, 2.0, 2.0, 2.0, 2.0)
        >>> combine([one, one]).total_s
        8.0
    """
    parts = [part for part in parts if part.count]
    if len(parts) < 2:
        return parts[0] if parts else Totals().statistics()
    count = sum(part.count for part in parts)
    total_s = sum(part.total_s for part in parts)
    mean_s = total_s / count
    squares = sum(
        part.std_s**2 * (part.count - 1) + part.count * (part.mean_s - mean_s) ** 2
        for part in parts
    )
    return Statistics(
        count=count,
        total_s=total_s,
        mean_s=mean_s,
        std_s=sqrt(squares / (count - 1)),
        min_s=min(part.min_s for part in parts),
        max_s=max(part.max_s for part in parts),
        p50_s=_mixture_quantile(parts, 0.50),
        p95_s=_mixture_quantile(parts, 0.95),
    )


def _mixture_quantile(parts: Sequence[Statistics], fraction: float) -> float:
    low, high = min(part.min_s for part in parts), max(part.max_s for part in parts)
    count = sum(part.count for part in parts)
    for _ in range(60):  # halvings: as exact as a float
        middle = (low + high) / 2
        if sum(part.count * _share_below(part, middle) for part in parts) < fraction * count:
            low = middle
        else:
            high = middle
    return high


def _share_below(part: Statistics, value: float) -> float:
    """Share of a part's blocks that took at most `value`, linear between its known points."""
    if value >= part.max_s:
        return 1.0
    points = [(part.min_s, 0.0), (part.p50_s, 0.50), (part.p95_s, 0.95), (part.max_s, 1.0)]
    share = 0.0
    for (left, low), (right, high) in pairwise(points):
        if value >= right:
            share = high
        elif value > left:
            return low + (high - low) * (value - left) / (right - left)
    return share
