"""The figure of one run: a panel for each quantity, with its splits."""

import math
import warnings
from collections.abc import Callable

import matplotlib

from ._canvas import Canvas, draw_line, finish_steps, finish_values
from ._figure import StyledFigure
from ._layout import PAD, Label, fit, make_room
from ._palette import looks
from ._recipe import Recipe
from ._runs import Run
from ._statistics import align
from ._style import PlotStyle
from ._text import readable, split_and_quantity

PANEL_MIN_IN = 2.6  # narrower, tick labels take more room than curves
PANEL_SHARE = 0.75  # a panel's height, of the style's height for one figure
MOST_PANELS = 40  # two columns of them are a metre and a half


def draw_run(
    figure: StyledFigure,
    recipe: Recipe,
    run: Run,
    style: PlotStyle,
    escaped: Callable[[str], str],
) -> None:
    panels: dict[str, list[str]] = {}
    for metric in recipe.metrics:
        panels.setdefault(split_and_quantity(metric)[1], []).append(metric)
    if len(panels) > MOST_PANELS:
        warnings.warn(
            f"The run has {len(panels)} metrics, of which the figure shows {MOST_PANELS}; "
            "choose others with run(…, metrics=[…]).",
            stacklevel=6,
        )
        panels = dict(list(panels.items())[:MOST_PANELS])
    width, height = style.size_in
    columns = min(len(panels), max(1, int(width / PANEL_MIN_IN)))
    rows = math.ceil(len(panels) / columns)
    if len(panels) > 1:
        figure.set_size_inches(width, height * PANEL_SHARE * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    cells = list(grid.flat)
    canvases = []
    for axes, (quantity, metrics) in zip(cells, panels.items(), strict=False):
        canvas = Canvas(axes, style, escaped)
        canvases.append(canvas)
        for metric, (colour, dashes) in zip(
            metrics, looks(style.palette, len(metrics)), strict=True
        ):
            steps, values = align([run.metrics[metric]])
            handle = draw_line(canvas, steps, values[0], colour, dashes)
            canvas.drawn.append((steps, values[0], values[0]))
            canvas.entry(handle, _split_label(metric))
        finish_values(canvas, quantity if len(metrics) > 1 else metrics[0])
        lowest = len(canvases) + columns > len(panels)  # of its column
        axes.tick_params(labelbottom=lowest)
    finish_steps(canvases, recipe.step)
    for axes in cells[len(panels) :]:
        axes.set_visible(False)
    around = [label for canvas in canvases for label in canvas.around]
    if style.add_titles and recipe.title:
        # matplotlib puts it at 98 % of the height, which in a tall figure is far from the edge.
        pad_in = PAD * matplotlib.rcParams["font.size"] / 72
        y = 1 - pad_in / float(figure.get_size_inches()[1])
        title = figure.suptitle(escaped(recipe.title), y=y)
        around.append(Label(title, recipe.title, escaped, None))
    if rows > 1:
        figure.align_ylabels()
    fit(figure, around)
    for canvas in canvases:
        if len(canvas.labels) > 1:
            make_room(canvas.axes, canvas.entries(""), canvas.drawn)


def _split_label(metric: str) -> str:
    split = split_and_quantity(metric)[0]
    return readable(split) if split else "Train"
