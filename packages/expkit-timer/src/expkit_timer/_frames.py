"""Statistics as a pandas DataFrame."""

from __future__ import annotations

from ._statistics import Statistics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pandas import DataFrame


def make_frame(statistics: Mapping[str, Statistics]) -> DataFrame:
    """One row per timer, with its name as index, and one column per statistic.

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
