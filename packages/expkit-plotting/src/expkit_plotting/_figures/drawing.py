"""Drawing: a recipe, its runs and a style become a figure. No files, no global state."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial

from .._data.recipe import Recipe
from .._data.runs import Run
from .._style.escaping import escape
from .._style.glyphs import has_glyph, missing_glyphs_text
from .._style.keys import PlotStyle
from .._style.latex import explain_failure, latex_or_warning
from .._style.rc_layer import rc_layer
from .._style.rc_parameters import rc_parameters
from .one_metric import draw_metric
from .one_run import draw_run
from .styled import StyledFigure


def draw_figure(recipe: Recipe, runs: tuple[Run, ...], style: PlotStyle) -> StyledFigure:
    """Draw with LaTeX if the style asks for it and it works, else with mathtext."""
    latex = style.latex and latex_or_warning(style)
    try:
        figure = _draw(recipe, runs, style, latex=latex)
    except RuntimeError as error:  # what matplotlib raises when LaTeX stops
        if not latex:
            raise
        warnings.warn(
            f"LaTeX could not draw this figure, mathtext did: {explain_failure(str(error))}.",
            stacklevel=3,
        )
        figure = _draw(recipe, runs, style, latex=False)
    figure.recipe, figure.runs, figure.style = recipe, runs, style
    return figure


def _draw(recipe: Recipe, runs: Sequence[Run], style: PlotStyle, *, latex: bool) -> StyledFigure:
    """The figure of a recipe in a style; equal arguments give equal pixels.

    Args:
        recipe: What to draw.
        runs: The runs with the metrics that the recipe names.
        style: How to draw it.
        latex: Whether LaTeX draws the text.
    """
    parameters = rc_parameters(style, latex=latex)
    missing: dict[str, None] = {}
    escape_text = partial(escape, latex=latex, has_glyph=has_glyph, missing=missing)
    with rc_layer(parameters):
        figure = StyledFigure(parameters, figsize=style.size_in, dpi=100)
        if recipe.kind == "run":
            draw_run(figure, recipe, runs[0], style, escape_text)
        else:
            draw_metric(figure, recipe, runs, style, escape_text)
    if missing:
        warnings.warn(missing_glyphs_text(missing, latex=latex), stacklevel=5)
    return figure
