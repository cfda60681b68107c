"""Drawing: a recipe, its data and a style become a figure. No files, no global state."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .._figures.styled import StyledFigure
from .._recipes.data_files import FigureData
from .._recipes.recipe import Recipe
from .._style.escaping import escape
from .._style.glyphs import has_glyph, missing_glyphs_text
from .._style.keys import PlotStyle
from .._style.latex import explain_failure, latex_or_warning
from .._style.rc_layer import rc_layer
from .._style.rc_parameters import rc_parameters
from .confusion import draw_confusion
from .final_values import draw_final_values
from .heat_map import draw_heat_map
from .one_metric import draw_metric
from .one_run import draw_run

# The data are what the kind's recipe comes with, runs or a matrix.
Draw = Callable[[StyledFigure, Recipe, Any, PlotStyle, Callable[[str], str]], None]
DRAW: Mapping[str, Draw] = {
    "metric": draw_metric,
    "run": draw_run,
    "final": draw_final_values,
    "heatmap": draw_heat_map,
    "confusion": draw_confusion,
}


def draw_figure(recipe: Recipe, data: FigureData, style: PlotStyle) -> StyledFigure:
    """Draw with LaTeX if the style asks for it and it works, else with mathtext."""
    latex = style.latex and latex_or_warning(style)
    try:
        figure = _draw(recipe, data, style, latex=latex)
    except RuntimeError as error:  # what matplotlib raises when LaTeX stops
        if not latex:
            raise
        warnings.warn(
            f"LaTeX could not draw this figure, mathtext did: {explain_failure(str(error))}.",
            stacklevel=3,
        )
        figure = _draw(recipe, data, style, latex=False)
    figure.recipe, figure.data, figure.style = recipe, data, style
    return figure


def _draw(recipe: Recipe, data: FigureData, style: PlotStyle, *, latex: bool) -> StyledFigure:
    """The figure of a recipe in a style; equal arguments give equal pixels.

    Args:
        recipe: What to draw.
        data: What the recipe is about: runs with the metrics that it names, or a matrix.
        style: How to draw it.
        latex: Whether LaTeX draws the text.
    """
    parameters = rc_parameters(style, latex=latex)
    missing: dict[str, None] = {}
    escape_text = partial(escape, latex=latex, has_glyph=has_glyph, missing=missing)
    with rc_layer(parameters):
        figure = StyledFigure(parameters, figsize=style.size_in, dpi=100)
        DRAW[recipe.kind](figure, recipe, data, style, escape_text)
    if missing:
        warnings.warn(missing_glyphs_text(missing, latex=latex), stacklevel=5)
    return figure
