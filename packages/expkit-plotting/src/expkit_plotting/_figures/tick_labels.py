"""Names along axes, one for each row and column, placed so that none overlaps another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .labels import shorten_all
from .layout import SHORTEST_LABEL, fit_texts, tighten_layout
from .notes import NotedName, write_with_note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from .panel import Panel
    from .styled import StyledFigure

MOST_SHARE = 0.3  # of the figure's width or height; longer names leave no room for what they name
LINE_HEIGHT = 1.25  # in font sizes, from one name to the next
CLOSEST = 1.08  # the same where there is no room to grow, in heights of a name
SMALLEST = 0.75  # of the style's size, where names are many; below, not all of them are shown
TALLEST_IN = 60.0  # of axes that grow; Pillow and TIFF end at 65536 pixels
GAP = 0.6  # between names in one line, in font sizes


@dataclass(frozen=True)
class Names:
    """What the rows or columns are called; long names lose their middle, but not the ending."""

    texts: Sequence[str]
    endings: Sequence[str] = ()

    @property
    def whole(self) -> list[str]:
        """The names with their endings."""
        return self.shortened(max(map(len, self.texts)))

    def shortened(self, length: int) -> list[str]:
        """The names with their endings, the names with at most `length` characters."""
        endings = self.endings or [""] * len(self.texts)
        short = shorten_all(self.texts, length)
        return [name + ending for name, ending in zip(short, endings, strict=True)]


def name_axes(
    figure: StyledFigure,
    panel: Panel,
    *,
    rows: Names,
    columns: Names | None = None,
    noted: Sequence[NotedName] = (),
    square: bool = False,
) -> None:
    """Name rows from the top, columns from the left, and fit all texts of a panel.

    The figure grows in height until each row has its line, and by what upright names of columns
    take; square axes grow no further than to the figure's width.

    Args:
        figure: The figure, without a legend.
        panel: Its only panel.
        rows: The names of the rows.
        columns: The names of the columns; None if the x axis is one of numbers.
        noted: Names of axes that have a note.
        square: Whether the axes will be: matplotlib makes them so when all is in place.
    """
    axes = panel.axes
    _set_names(axes.yaxis, rows.whole, panel.escape)
    figure.shortened += _shorten(
        axes.yaxis, rows, panel.escape, MOST_SHARE * float(figure.bbox.width), upright=False
    )
    if columns is not None:  # in one line, long names would push the axes aside
        _set_names(axes.xaxis, columns.whole, panel.escape)
        _turn_long_names(figure, axes, columns, panel.escape, square=square)
    tighten_layout(figure)
    height = float(axes.get_window_extent().height)
    for name in noted:
        write_with_note(panel, name)
    fit_texts(figure, panel.texts)
    if columns is not None:
        _turn_long_names(figure, axes, columns, panel.escape, square=square)
        figure.shortened += _make_room(
            axes.xaxis, columns, cell_px(axes, len(columns.texts), square=square)[0], upright=True
        )
        tighten_layout(figure)
    needed = max(LINE_HEIGHT * _font_px(axes.yaxis) * len(rows.texts), height)
    frame = axes.get_window_extent()
    if square:
        needed = min(needed, frame.width)
    width_in, height_in = figure.get_size_inches()
    needed = min(needed, TALLEST_IN * figure.dpi)
    if frame.height < needed:
        figure.set_size_inches(width_in, height_in + (needed - frame.height) / figure.dpi)
        tighten_layout(figure)
    figure.shortened += _make_room(
        axes.yaxis, rows, cell_px(axes, len(rows.texts), square=square)[1], upright=False
    )


def cell_px(axes: Axes, count: int, *, square: bool = False) -> tuple[float, float]:
    """Width of one of `count` columns, and height of one of as many rows."""
    frame = axes.get_window_extent()
    width, height = float(frame.width), float(frame.height)
    if square:
        width = height = min(width, height)
    return width / count, height / count


def _turn_long_names(
    figure: StyledFigure, axes: Axes, names: Names, escape: Callable[[str], str], *, square: bool
) -> None:
    """Put the names of columns upright, unless they fit into one line."""
    axis = axes.xaxis
    column = cell_px(axes, len(names.texts), square=square)[0]
    if max(_lengths(axis, upright=False)) + GAP * _font_px(axis) <= column:
        return
    axes.tick_params(axis="x", labelrotation=90)
    figure.shortened += _shorten(
        axis, names, escape, MOST_SHARE * float(figure.bbox.height), upright=True
    )


def _set_names(axis: Axis, names: Sequence[str], escape: Callable[[str], str]) -> None:
    axis.set_ticks(np.arange(len(names)), [escape(name) for name in names])
    axis.set_tick_params(length=0)


def _shorten(
    axis: Axis, names: Names, escape: Callable[[str], str], limit: float, *, upright: bool
) -> list[tuple[str, str]]:
    """Shorten names that are longer than `limit`; returns what is shown for which names."""
    length = max(map(len, names.texts))
    while True:
        longest = max(_lengths(axis, upright=upright))
        if longest <= limit or length <= SHORTEST_LABEL:
            pairs = zip(names.shortened(length), names.whole, strict=True)
            return [(shown, whole) for shown, whole in pairs if shown != whole]
        length = max(min(int(length * limit / longest), length - 1), SHORTEST_LABEL)
        _set_names(axis, names.shortened(length), escape)


def _make_room(
    axis: Axis, names: Names, available: float, *, upright: bool
) -> list[tuple[str, str]]:
    """Make names smaller, and leave some out, until each has its line; returns those left out."""
    scale = available / (CLOSEST * max(_lengths(axis, upright=not upright)))
    if scale >= 1:
        return []
    labels = axis.get_majorticklabels()
    texts = [label.get_text() for label in labels]
    axis.set_tick_params(labelsize=float(labels[0].get_fontsize()) * max(scale, SMALLEST))
    every = math.ceil(SMALLEST / scale)
    axis.set_ticks(np.arange(0, len(texts), every), texts[::every])
    return [("", name) for place, name in enumerate(names.whole) if place % every]


def _lengths(axis: Axis, *, upright: bool) -> list[float]:
    """How far names reach upward, or to the side."""
    extents = [label.get_window_extent() for label in axis.get_majorticklabels()]
    return [float(extent.height if upright else extent.width) for extent in extents]


def _font_px(axis: Axis) -> float:
    return float(axis.get_majorticklabels()[0].get_fontsize()) * axis.axes.figure.dpi / 72
