"""Metrics of all number types, as the journal stores them."""

import math
import numbers
from collections.abc import Mapping
from typing import SupportsFloat


def whole_step(step: object) -> int:
    """A step of any type, as an integer.

    Raises:
        TypeError: If it is not a whole number.
    """
    if not isinstance(step, bool) and isinstance(step, SupportsFloat):
        number = float(step)
        if math.isfinite(number) and number == int(number):
            return int(number)
    raise TypeError(f"step must be a whole number, got {step!r}")


def add_numbers(key: str, value: object, values: dict[str, float]) -> str | None:
    """Adds the numbers in `value` to `values`; returns what is wrong with it, or None."""
    if isinstance(value, Mapping):
        problems = [add_numbers(f"{key}.{name}", inner, values) for name, inner in value.items()]
        return next((text for text in problems if text), None)
    if isinstance(value, SupportsFloat) and not isinstance(value, (str, bytes)):
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError):  # a tensor of several elements
            pass
        else:
            if key in values:
                return f"Two metrics are called {key!r}; the first was logged, and all others."
            values[key] = number
            return None
    shape = getattr(value, "shape", None)
    what = type(value).__name__ if shape is None else f"{type(value).__name__} of shape {shape}"
    return f"Metric {key!r} must be one number, got {what}. The other metrics were logged."


def timings(prefix: str, statistics: Mapping[str, object]) -> dict[str, float]:
    """The numbers among the statistics of one timer or several.

    Examples:
        >>> timings("time", {"epoch": {"mean_s": 2.0, "total": "0:00:02"}})
        {'time.epoch.mean_s': 2.0}
    """
    values: dict[str, float] = {}
    for key, value in statistics.items():
        if isinstance(value, Mapping):
            values.update(timings(f"{prefix}.{key}", value))
        elif isinstance(value, numbers.Real) and not isinstance(value, bool):
            values[f"{prefix}.{key}"] = float(value)
    return values
