"""Which points of a journal are new, and which repeat earlier ones with the same (key, step)."""

import math
from collections.abc import Callable, Iterable
from enum import Enum


class Comparison(Enum):
    """How a point compares with the earlier ones of its journal."""

    NEW = "new"
    SAME = "the same value at this step"
    CHANGED = "another value at this step"


MOST_READINGS = 4  # a resumed run needs one per attempt


class PointHistory:
    """The points of one journal up to here.

    While steps rise, one number per metric suffices. At a step that does not rise, the earlier
    points are read back, from where the journal first reached that step. So memory holds only what
    a resumed run repeats, the points since its checkpoint. For a journal in no order, it holds all
    points after a few such readings.
    """

    def __init__(self) -> None:
        self._highest: dict[str, int] = {}
        self._starts: dict[str, int] = {}  # the journal is read back from the first of these on
        self._values: dict[tuple[str, int], float] = {}  # read back: of each metric …
        self._below: dict[str, int] = {}  # … all points above this step …
        self._until: dict[str, int] = {}  # … and up to this one
        self._readings = 0

    def add(
        self,
        key: str,
        step: int,
        value: float,
        earlier: Callable[[], Iterable[tuple[str, int, float]]],
    ) -> Comparison:
        """Adds a point, and compares it with the earlier ones.

        Args:
            key: The metric.
            step: Its step.
            value: Its value.
            earlier: Reads all earlier points of the journal; called at most `MOST_READINGS` times.

        Examples:
            >>> history = PointHistory()
            >>> [history.add("loss", step, 1.0, lambda: [("loss", 0, 1.0)]).name for step in (0, 0)]
            ['NEW', 'SAME']
        """
        highest = self._highest.get(key)
        if highest is None or step > highest:
            self._highest[key] = step
            if self._readings == MOST_READINGS:
                self._until[key] = step
                self._values[key, step] = value
            return Comparison.NEW
        below, until = self._below.get(key, -math.inf), self._until.get(key, -math.inf)
        if not below < step <= until:
            self._read_back(key, step, earlier())
        old = self._values.get((key, step))
        if old is None:
            self._values[key, step] = value
            return Comparison.NEW
        if old == value or (math.isnan(old) and math.isnan(value)):
            return Comparison.SAME
        return Comparison.CHANGED

    def _read_back(self, key: str, step: int, points: Iterable[tuple[str, int, float]]) -> None:
        self._readings += 1
        self._starts[key] = min(step, self._starts.get(key, step))
        self._values, self._below, self._until = {}, {}, dict(self._highest)
        has_started = self._readings == MOST_READINGS
        for old_key, old_step, old_value in points:
            has_started = has_started or old_step >= self._starts.get(old_key, math.inf)
            if has_started:
                self._values.setdefault((old_key, old_step), old_value)
            else:
                self._below[old_key] = max(old_step, self._below.get(old_key, old_step))
