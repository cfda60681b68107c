"""Drawing: a recipe, its runs and a style become a figure. No files, no global state."""

from collections.abc import Sequence
from functools import partial

from ._figure import StyledFigure
from ._metric_figure import draw_metric
from ._rc import rc_parameters
from ._recipe import Recipe
from ._run_figure import draw_run
from ._runs import Run
from ._style import PlotStyle
from ._text import escape
from ._thread_rc import rc_layer


def draw(recipe: Recipe, runs: Sequence[Run], style: PlotStyle, *, latex: bool) -> StyledFigure:
    """The figure of a recipe in a style; equal arguments give equal pixels.

    Args:
        recipe: What to draw.
        runs: The runs with the metrics that the recipe names.
        style: How to draw it.
        latex: Whether LaTeX draws the text.
    """
    parameters = rc_parameters(style, latex=latex)
    escape_text = partial(escape, latex=latex)
    with rc_layer(parameters):
        figure = StyledFigure(parameters, figsize=style.size_in, dpi=100)
        if recipe.kind == "run":
            draw_run(figure, recipe, runs[0], style, escape_text)
        else:
            draw_metric(figure, recipe, runs, style, escape_text)
    return figure
