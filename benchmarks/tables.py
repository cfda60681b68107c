"""What was measured, as Markdown: the same on the terminal and in README.md."""

from collections.abc import Mapping, Sequence
from typing import Any


def area_table(content: Mapping[str, Any]) -> str:
    """The table of one area in Markdown, from what `report` wrote, with its note below."""
    rows = content["rows"]
    headings = list(dict.fromkeys(key for row in rows for key in row["others"]))
    figures = ("over_floor", "to_floor", "to_peer")
    median = f"median {content['unit']}"
    head = ["case", "what", median, "min", "max", "n", "over floor", "÷ floor", "÷ peer", "peer"]
    floors = {row["floor"] for row in rows} - {None}
    lines = [
        [
            row["case"],
            row["name"],
            *(number(row[key]) for key in ("median", "least", "most")),
            str(row["repeats"]),
            *(number(row[key]) for key in figures),
            row["peer"] or "",
            (row["floor"] or "") if len(floors) > 1 else "",
            *(number(row["others"].get(heading)) for heading in headings),
            "; ".join(verdict_text(verdict, content["unit"]) for verdict in row["bars"]),
        ]
        for row in rows
    ]
    text = table([*head, "floor", *headings, "bars"], lines)
    return f"{text}\n\n{content['note']}" if content["note"] else text


def verdict_text(verdict: Mapping[str, Any], unit: str) -> str:
    """A bar, and whether it is met.

    >>> verdict = {"limit": "≤ 30", "beside": "over bare Python", "value": 34.9, "met": False}
    >>> verdict_text({**verdict, "unit": None}, "ms")
    'MISSED: 34.9, bar ≤ 30 ms over bare Python'
    """
    if verdict["value"] is None:
        return f"not measured: bar {bar_text(verdict, unit)}"
    outcome = "met" if verdict["met"] else "MISSED"
    return f"{outcome}: {number(verdict['value'])}, bar {bar_text(verdict, unit)}"


def bar_text(verdict: Mapping[str, Any], unit: str) -> str:
    """A bar with its unit after the number."""
    unit = unit if verdict["unit"] is None else verdict["unit"]
    return " ".join(part for part in (verdict["limit"], unit, verdict["beside"]) if part)


def number(value: float | None) -> str:
    """Three significant digits; nothing for None.

    >>> number(1234.5), number(0.01234), number(7.0), number(None)
    ('1234', '0.0123', '7.00', '')
    """
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table without empty columns."""
    columns = [index for index in range(len(head)) if not rows or any(row[index] for row in rows)]
    widths = {index: max(len(row[index]) for row in (head, *rows)) for index in columns}
    lines = [
        f"| {' | '.join(row[index].ljust(widths[index]) for index in columns)} |"
        for row in (head, *rows)
    ]
    lines.insert(1, f"| {' | '.join('-' * widths[index] for index in columns)} |")
    return "\n".join(lines)
