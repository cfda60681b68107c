"""The figure of a confusion matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.colors import Normalize

from .._figures.cells import add_colour_bar, draw_cells, write_in_cells
from .._figures.layout import tighten_layout
from .._figures.notes import NotedName
from .._figures.panel import Panel
from .._figures.tick_labels import Names, name_axes
from .._style.background import axes_background
from .._style.colour_maps import UNIFORM, colour_map, ramp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._data.runs import Array
    from .._figures.styled import StyledFigure
    from .._recipes.confusion_matrix import ConfusionMatrix
    from .._recipes.recipe import Recipe
    from .._style.keys import PlotStyle

SHARES = {"true": "% of the true class", "pred": "% of the predicted class", "all": "% of all"}


def draw_confusion(
    figure: StyledFigure,
    recipe: Recipe,
    matrix: ConfusionMatrix,
    style: PlotStyle,
    escape: Callable[[str], str],
) -> None:
    if not _draw(figure, recipe, matrix, style, escape, has_bar=False):
        figure.clear()
        figure.set_size_inches(style.size_in)
        _draw(figure, recipe, matrix, style, escape, has_bar=True)


def _draw(
    figure: StyledFigure,
    recipe: Recipe,
    matrix: ConfusionMatrix,
    style: PlotStyle,
    escape: Callable[[str], str],
    *,
    has_bar: bool,
) -> bool:
    """Draw with a colour bar or with numbers; returns False if there is no room for these."""
    panel = Panel(figure.subplots(), style, escape)
    axes = panel.axes
    values = _shares(matrix.counts, recipe.normalize)
    is_own = isinstance(style.palette, str) and style.palette in UNIFORM
    colours = colour_map(style.palette) if is_own else ramp(axes_background())
    high = 100.0 if recipe.normalize else float(matrix.counts.max()) or 1.0
    mesh = draw_cells(axes, values, colours, Normalize(0, high))
    for spine in axes.spines.values():  # zero is the background: where does the matrix end?
        spine.set_visible(True)
    unit = SHARES[recipe.normalize] if recipe.normalize else "Count"
    if has_bar:
        panel.write(add_colour_bar(axes, mesh).yaxis.label, unit)
    note = [unit] if recipe.normalize and not has_bar else []
    noted = NotedName(axes.xaxis.label, "Predicted class", note)
    if style.add_ylabels:
        panel.write(axes.yaxis.label, "True class")
    if style.add_titles and recipe.title:
        panel.write(axes.title, recipe.title)
    name_axes(
        figure,
        panel,
        rows=_row_names(matrix, recipe),
        columns=Names(matrix.classes),
        noted=[noted] if style.add_xlabels else [],
        square=True,
    )
    _trim(figure, style)
    axes.set_aspect("equal")
    if has_bar:
        return True
    write = _percent if recipe.normalize else _count
    return write_in_cells(axes, mesh, values, [list(map(write, row)) for row in values.tolist()])


def _trim(figure: StyledFigure, style: PlotStyle) -> None:
    """Give back the height that a square as wide as the figure does not take."""
    frame = figure.axes[0].get_window_extent()
    width, height = figure.get_size_inches()
    shorter = max(style.size_in[1], height - (frame.height - frame.width) / figure.dpi)
    if shorter < height:
        figure.set_size_inches(width, shorter)
        tighten_layout(figure)


def _shares(counts: Array, normalize: str | None) -> Array:
    """Counts, or percentages of their row, column or sum; of nothing, zero."""
    if normalize is None:
        return counts
    axes = {"true": 1, "pred": 0, "all": None}[normalize]
    total = counts.sum(axis=axes, keepdims=True)
    shares: Array = np.divide(100 * counts, total, out=np.zeros_like(counts), where=total > 0)
    return shares


def _row_names(matrix: ConfusionMatrix, recipe: Recipe) -> Names:
    """The classes; with their size, where shares do not show it."""
    if recipe.normalize is None or not np.array_equal(matrix.counts, np.round(matrix.counts)):
        return Names(matrix.classes)
    sizes = matrix.counts.sum(axis=1)
    return Names(matrix.classes, [f" (n = {int(size)})" for size in sizes])


def _percent(value: float) -> str:
    """A percentage in three characters; nothing for zero, but never for what is not zero.

    Examples:
        >>> _percent(100.0), _percent(9.96), _percent(0.3), _percent(0.01), _percent(0.0)
        ('100', '10', '0.3', '<0.1', '')
    """
    if value == 0:
        return ""
    if value < 0.05:
        return "<0.1"
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"


def _count(value: float) -> str:
    if value == 0:
        return ""
    return f"{value:.0f}" if value == int(value) else f"{value:.2g}"
