"""A run as a notebook shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from .._files.texts import printable

MOST_ITEMS = 30  # in one cell; a run may have thousands of metrics
_COLOURS = {"completed": "#1a7f37", "failed": "#cf222e", "running": "#0969da"}
_CELL = "text-align:left;vertical-align:top"


def run_html(name: str, state: str, rows: Sequence[tuple[str, object]]) -> str:
    """HTML of one run, in which nothing that a file says is markup.

    Args:
        name: The run's name.
        state: Its state.
        rows: Labels and values; mappings and lists are joined, and what is empty is left out.
    """
    colour = _COLOURS.get(state, "#9a6700")
    lines = [
        f'<div><strong>{_text(name)}</strong> <span style="color:{colour}">{_text(state)}</span>',
        "<table>",
    ]
    for label, value in rows:
        text = value_text(value)
        if text:
            lines.append(
                f'<tr><th style="{_CELL}">{_text(label)}</th>'
                f'<td style="{_CELL}">{_text(text)}</td></tr>'
            )
    return "\n".join([*lines, "</table></div>"])


def value_text(value: object) -> str:
    """One line for a value: numbers with six digits, items joined.

    Examples:
        >>> value_text({"loss": 0.123456789, "seed": 1})
        'loss 0.123457, seed 1'
    """
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return _joined([f"{key} {value_text(part)}" for key, part in value.items()])
    if isinstance(value, (list, tuple)):
        return _joined([value_text(part) for part in value])
    return "" if value is None else str(value)


def _joined(texts: Sequence[str]) -> str:
    more = len(texts) - MOST_ITEMS
    return ", ".join(texts[:MOST_ITEMS]) + (f", … and {more} more" if more > 0 else "")


def _text(text: str) -> str:
    return escape(printable(text))
