"""Names along an axis, one per row or column, placed so that none overlaps another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .labels import shorten_all
from .layout import SHORTEST_LABEL, tighten_layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from .styled import StyledFigure

MOST_SHARE = 0.36  # of the figure's width or height; longer names leave no room for what they name
LINE_HEIGHT = 1.25  # in font sizes, from one name to the next
TIGHT = 1.05  # the same where there is no room to grow
SMALLEST = 0.75  # of the style's size, where names are many; below, not all of them are shown
GAP = 0.6  # between names in one line, in font sizes


def name_rows(
    figure: StyledFigure, axes: Axes, names: Sequence[str], escape: Callable[[str], str]
) -> None:
    """Name the rows of axes, from the top; the figure grows until each name has its line.

    Square axes grow no further than to the figure's width.
    """
    _set_names(axes.yaxis, names, escape)
    _shorten(axes.yaxis, names, escape, MOST_SHARE * float(figure.bbox.width), upright=False)
    tighten_layout(figure)
    frame = axes.get_window_extent()
    needed = LINE_HEIGHT * _font_px(axes.yaxis) * len(names)
    if axes.get_aspect() == 1:
        needed = min(needed, frame.width)
    if frame.height < needed:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + (needed - frame.height) / figure.dpi)
        tighten_layout(figure)
    _make_room(axes.yaxis, names, cell_px(axes, len(names))[1])


def name_columns(
    figure: StyledFigure, axes: Axes, names: Sequence[str], escape: Callable[[str], str]
) -> None:
    """Name the columns of axes: in one line where they fit, else upright, smaller, or fewer."""
    axis = axes.xaxis
    _set_names(axis, names, escape)
    tighten_layout(figure)
    column = cell_px(axes, len(names))[0]
    if max(_lengths(axis, upright=False)) + GAP * _font_px(axis) <= column:
        return
    axes.tick_params(axis="x", labelrotation=90)
    _shorten(axis, names, escape, MOST_SHARE * float(figure.bbox.height), upright=True)
    _make_room(axis, names, column)
    height = axes.get_window_extent().height
    tighten_layout(figure)
    # Upright names take their room from the figure, not from what they name.
    width_in, height_in = figure.get_size_inches()
    lost = height - axes.get_window_extent().height
    figure.set_size_inches(width_in, height_in + max(lost, 0.0) / figure.dpi)
    tighten_layout(figure)


def _set_names(axis: Axis, names: Sequence[str], escape: Callable[[str], str]) -> None:
    axis.set_ticks(np.arange(len(names)), [escape(name) for name in names])
    axis.set_tick_params(length=0)


def _shorten(
    axis: Axis, names: Sequence[str], escape: Callable[[str], str], limit: float, *, upright: bool
) -> None:
    length = max(map(len, names))
    while True:
        longest = max(_lengths(axis, upright=upright))
        if longest <= limit or length <= SHORTEST_LABEL:
            return
        length = max(min(int(length * limit / longest), length - 1), SHORTEST_LABEL)
        _set_names(axis, shorten_all(names, length), escape)


def _make_room(axis: Axis, names: Sequence[str], available: float) -> None:
    """Make names smaller, and leave some out, until each has its line."""
    font = _font_px(axis)
    scale = available / (TIGHT * font)
    if scale >= 1:
        return
    labels = axis.get_majorticklabels()
    axis.set_tick_params(labelsize=float(labels[0].get_fontsize()) * max(scale, SMALLEST))
    every = math.ceil(SMALLEST / scale)
    if every > 1:
        texts = [label.get_text() for label in labels][::every]
        axis.set_ticks(np.arange(0, len(names), every), texts)


def cell_px(axes: Axes, count: int) -> tuple[float, float]:
    """Width of one of `count` columns, and height of one of as many rows."""
    frame = axes.get_window_extent()
    width, height = float(frame.width), float(frame.height)
    if axes.get_aspect() == 1:  # which only drawing applies
        width = height = min(width, height)
    return width / count, height / count


def _lengths(axis: Axis, *, upright: bool) -> list[float]:
    extents = [label.get_window_extent() for label in axis.get_majorticklabels()]
    return [float(extent.height if upright else extent.width) for extent in extents]


def _font_px(axis: Axis) -> float:
    return float(axis.get_majorticklabels()[0].get_fontsize()) * axis.axes.figure.dpi / 72
