"""Durations and statistics as people read them; pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._statistics import Statistics


def format_seconds(seconds: float) -> str:
    """A duration with three digits and a unit; from one minute on, hours, minutes and seconds.

    Examples:
        >>> format_seconds(0.0123), format_seconds(2), format_seconds(80.4)
        ('12.3 ms', '2.00 s', '0:01:20')
    """
    if seconds == 0:
        return "0 s"
    if round(seconds, 1) >= 60:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.9995 * scale:
            return f"{_three_digits(seconds / scale)} {unit}"
    return f"{round(seconds / 1e-9)} ns"


def format_statistics(statistics: Statistics) -> str:
    """Total, count, mean with standard deviation, and quantiles on one line."""
    if not statistics.count:
        return "no block timed yet"
    if statistics.count == 1:
        return f"{format_seconds(statistics.total_s)} in 1 block"
    return (
        f"{format_seconds(statistics.total_s)} in {statistics.count} blocks of "
        f"{format_seconds(statistics.mean_s)} ± {format_seconds(statistics.std_s)} "
        f"(p50 {format_seconds(statistics.p50_s)}, p95 {format_seconds(statistics.p95_s)})"
    )


def text_width(text: str) -> int:
    """Columns of a terminal that a text takes: two for a Chinese character, none for a mark.

    Examples:
        >>> text_width("读取"), text_width("naïve")
        (4, 5)
    """
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 1 + (east_asian_width(c) in "WF") for c in text)


def near_match(name: str, names: Iterable[str]) -> str:
    """A question with the closest of the names, after a space; empty if none is close."""
    from difflib import get_close_matches

    matches = get_close_matches(name, list(names), n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def _three_digits(number: float) -> str:
    for decimals, limit in ((2, 9.995), (1, 99.95)):
        if number < limit:
            return f"{number:.{decimals}f}"
    return f"{number:.0f}"
