"""Timers as a tree of text; pure."""

from __future__ import annotations

from ._text import format_seconds, text_width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._statistics import Statistics


def format_tree(statistics: Mapping[str, Statistics]) -> str:
    """One line per timer: total, share of its parent, count, mean and standard deviation.

    Args:
        statistics: By path, such as `epoch/load`.
    """
    rows = list(_rows(statistics, "", ""))
    if not rows:
        return "no block timed yet"
    widths = [max(text_width(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{name}{' ' * (widths[0] - text_width(name))}  {total:>{widths[1]}}  "
        f"{share:>{widths[2]}}  {count:>{widths[3]}}{mean}".rstrip()
        for name, total, share, count, mean in rows
    )


def _rows(
    statistics: Mapping[str, Statistics], prefix: str, indent: str
) -> Iterator[tuple[str, str, str, str, str]]:
    # A path may have children but no timer of its own; its name gets a line all the same.
    names = dict.fromkeys(
        path[len(prefix) :].split("/")[0] for path in statistics if path.startswith(prefix)
    )
    parent = statistics.get(prefix.rstrip("/"))
    for number, name in enumerate(names, start=1):
        path, is_last = prefix + name, number == len(names)
        branch = ("└─ " if is_last else "├─ ") if prefix else ""
        yield (indent + branch + name, *_columns(statistics.get(path), parent))
        deeper = ("   " if is_last else "│  ") if prefix else ""
        yield from _rows(statistics, f"{path}/", indent + deeper)


def _columns(own: Statistics | None, parent: Statistics | None) -> tuple[str, str, str, str]:
    if own is None or not own.count:
        return "", "", "", ""
    share = f"{own.total_s / parent.total_s:.0%}" if parent and parent.total_s else ""
    deviation = f" ± {format_seconds(own.std_s)}" if own.count > 1 else ""
    mean = f" × {format_seconds(own.mean_s)}{deviation}"
    return format_seconds(own.total_s), share, str(own.count), mean
