"""Which points of a journal MLflow has not seen: a point's identity is (key, step)."""

import math
from collections.abc import Callable, Iterable
from enum import Enum


class Verdict(Enum):
    """What a point is, compared with the earlier ones of its journal."""

    NEW = "new"
    SAME = "the same value at this step"
    CHANGED = "another value at this step"


class SeenPoints:
    """The points of one journal up to here.

    While steps rise, one number a metric suffices. At the first step that does not rise (a resumed
    run repeats steps; somebody logs out of order) the earlier points are read back, once.
    """

    def __init__(self) -> None:
        self._highest: dict[str, int] = {}
        self._values: dict[tuple[str, int], float] | None = None

    def judge(
        self,
        key: str,
        step: int,
        value: float,
        earlier: Callable[[], Iterable[tuple[str, int, float]]],
    ) -> Verdict:
        """Compares a point with the earlier ones and remembers it.

        Args:
            key: The metric.
            step: Its step.
            value: Its value.
            earlier: Reads all earlier points of the journal; called at most once.

        >>> seen = SeenPoints()
        >>> [seen.judge("loss", step, 1.0, lambda: [("loss", 0, 1.0)]).name for step in (0, 0)]
        ['NEW', 'SAME']
        """
        highest = self._highest.get(key)
        if highest is None or step > highest:
            self._highest[key] = step
            if self._values is not None:
                self._values[key, step] = value
            return Verdict.NEW
        if self._values is None:
            self._values = {}
            for old_key, old_step, old_value in earlier():
                self._values.setdefault((old_key, old_step), old_value)
        old = self._values.get((key, step))
        if old is None:
            self._values[key, step] = value
            return Verdict.NEW
        if old == value or (math.isnan(old) and math.isnan(value)):
            return Verdict.SAME
        return Verdict.CHANGED
