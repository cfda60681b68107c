"""The figure of one run: a panel for each quantity, with its splits."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import matplotlib

from .._data.statistics import align
from .._figures.labels import readable, split_and_quantity
from .._figures.layout import PAD, FittedText, fit_texts
from .._figures.legend import place_legend_in_panel
from .._figures.panel import Panel, draw_line, finish_x_axis, finish_y_axis
from .._style.palette import curve_styles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._data.runs import Run
    from .._figures.styled import StyledFigure
    from .._recipes.recipe import Recipe
    from .._style.keys import PlotStyle

PANEL_MIN_IN = 2.6  # narrower, tick labels take more room than curves
PANEL_SHARE = 0.75  # a panel's height, of the style's height for one figure
MOST_PANELS = 40  # in two columns a metre and a half


def draw_run(
    figure: StyledFigure,
    recipe: Recipe,
    runs: Sequence[Run],
    style: PlotStyle,
    escape: Callable[[str], str],
) -> None:
    run = runs[0]
    metrics_by_quantity: dict[str, list[str]] = {}
    for metric in recipe.metrics:
        metrics_by_quantity.setdefault(split_and_quantity(metric)[1], []).append(metric)
    if len(metrics_by_quantity) > MOST_PANELS:
        warnings.warn(
            f"The run has {len(metrics_by_quantity)} metrics, of which the figure shows "
            f"{MOST_PANELS}; choose others with run(…, metrics=[…]).",
            stacklevel=6,
        )
        metrics_by_quantity = dict(list(metrics_by_quantity.items())[:MOST_PANELS])
    count = len(metrics_by_quantity)
    width, height = style.size_in
    columns = min(count, max(1, int(width / PANEL_MIN_IN)))
    rows = math.ceil(count / columns)
    if count > 1:
        figure.set_size_inches(width, height * PANEL_SHARE * rows)
    cells = list(figure.subplots(rows, columns, squeeze=False, sharex=True).flat)
    panels: list[Panel] = []
    for axes, (quantity, metrics) in zip(cells, metrics_by_quantity.items(), strict=False):
        panel = Panel(axes, style, escape)
        panels.append(panel)
        for metric, (colour, dashes) in zip(
            metrics, curve_styles(style.palette, len(metrics)), strict=True
        ):
            steps, values = align([run.metrics[metric]])
            handle = draw_line(panel, steps, values[0], colour, dashes)
            panel.extents.append((steps, values[0], values[0]))
            panel.add_entry(handle, _split_label(metric))
        finish_y_axis(panel, quantity if len(metrics) > 1 else metrics[0])
        lowest = len(panels) + columns > count  # of its column
        axes.tick_params(labelbottom=lowest)
    finish_x_axis(panels, recipe.step)
    for axes in cells[count:]:
        axes.set_visible(False)
    texts = [text for panel in panels for text in panel.texts]
    if style.add_titles and recipe.title:
        # matplotlib puts it at 98 % of the height, which in a tall figure is far from the edge.
        pad_in = PAD * matplotlib.rcParams["font.size"] / 72
        y = 1 - pad_in / float(figure.get_size_inches()[1])
        title = figure.suptitle(escape(recipe.title), y=y)
        texts.append(FittedText(title, recipe.title, escape, None))
    if rows > 1:
        figure.align_ylabels()
    fit_texts(figure, texts)
    for panel in panels:
        if len(panel.labels) > 1:
            place_legend_in_panel(figure, panel.axes, panel.legend_entries(""), panel.extents)


def _split_label(metric: str) -> str:
    split = split_and_quantity(metric)[0]
    return readable(split) if split else "Train"
