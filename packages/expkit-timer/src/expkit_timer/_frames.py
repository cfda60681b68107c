"""Statistics as a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ._statistics import Statistics

if TYPE_CHECKING:
    from pandas import DataFrame


def make_frame(statistics: Mapping[str, Statistics]) -> DataFrame:
    """A row a timer, with its name as index, and a column a statistic.

    Raises:
        ImportError: If pandas is not installed.
    """
    try:
        from pandas import DataFrame, Index
    except ImportError as error:
        raise ImportError(
            'to_dataframe() needs pandas: pip install "expkit-timer[pandas]"'
        ) from error

    return DataFrame(
        list(statistics.values()),
        columns=list(Statistics._fields),
        index=Index(list(statistics), name="timer", dtype=object),
    )
