"""Timers as a tree of text; pure."""

from collections.abc import Iterator, Mapping

from ._statistics import Statistics
from ._text import format_seconds


def format_tree(statistics: Mapping[str, Statistics]) -> str:
    """One line a timer: total, share of the timer above, number of blocks, mean and deviation.

    Args:
        statistics: By path, such as `epoch/load`.
    """
    rows = list(_rows(statistics, "", ""))
    if not rows:
        return "no block timed yet"
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{name:<{widths[0]}}  {total:>{widths[1]}}  {share:>{widths[2]}}  "
        f"{count:>{widths[3]}}{mean}".rstrip()
        for name, total, share, count, mean in rows
    )


def _rows(
    statistics: Mapping[str, Statistics], above: str, indent: str
) -> Iterator[tuple[str, str, str, str, str]]:
    # A path may have no timer of its own, only children: its name stands there all the same.
    names = dict.fromkeys(
        path[len(above) :].split("/")[0] for path in statistics if path.startswith(above)
    )
    parent = statistics.get(above.rstrip("/"))
    for place, name in enumerate(names, start=1):
        path, is_last = above + name, place == len(names)
        branch = ("└─ " if is_last else "├─ ") if above else ""
        yield (indent + branch + name, *_columns(statistics.get(path), parent))
        below = ("   " if is_last else "│  ") if above else ""
        yield from _rows(statistics, f"{path}/", indent + below)


def _columns(own: Statistics | None, parent: Statistics | None) -> tuple[str, str, str, str]:
    if own is None or not own.count:
        return "", "", "", ""
    share = f"{own.total_s / parent.total_s:.0%}" if parent and parent.total_s else ""
    deviation = f" ± {format_seconds(own.std_s)}" if own.count > 1 else ""
    mean = f" × {format_seconds(own.mean_s)}{deviation}"
    return format_seconds(own.total_s), share, str(own.count), mean
