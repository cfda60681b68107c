"""The heat map: the mean value of runs over two swept keys, with the cells that have none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import Patch, Rectangle

from .._data.groups import differing_keys, distinct_texts, identity, short_keys, swept_keys
from .._data.groups import sweep_key as place_in_sweep
from .._data.statistics import drawable, log_floor
from .._figures.cells import add_colour_bar, draw_cells, number_texts, write_in_cells
from .._figures.labels import legend_label, readable
from .._figures.legend import LegendEntries, place_legend_below
from .._figures.notes import NotedName
from .._figures.panel import CROWD_GREY, Panel
from .._figures.tick_labels import Names, name_axes
from .._style.background import axes_background, grey
from .._style.colour_maps import colour_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._data.runs import Array, Run
    from .._figures.styled import StyledFigure
    from .._recipes.recipe import Recipe
    from .._style.keys import PlotStyle

    Settings = Mapping[str, object]

EMPTY_SHADE = 0.09  # of the text's colour, in cells without a value
HATCH = "/////"


def draw_heat_map(
    figure: StyledFigure,
    recipe: Recipe,
    runs: Sequence[Run],
    style: PlotStyle,
    escape: Callable[[str], str],
) -> None:
    (metric,) = recipe.metrics
    assert recipe.group_by is not None
    x, y = recipe.group_by
    columns, rows = (_axis_values(key, recipe, runs) for key in (x, y))
    means, counts = _cells(recipe, runs, rows, columns)
    panel = Panel(figure.subplots(), style, escape)
    axes = panel.axes
    floor = log_floor(metric, means)
    colours = colour_map(style.palette)
    mesh = draw_cells(axes, means, colours, _norm(means, floor))
    axes.set_facecolor(_empty_shade())
    entries = _mark_empty_cells(panel, recipe, means, rows, columns)
    names = short_keys(swept_keys(list(recipe.settings.values())))
    if style.add_xlabels:
        panel.write(axes.xaxis.label, names.get(x, x))
    if style.add_ylabels:
        panel.write(axes.yaxis.label, names.get(y, y))
    if style.add_titles and recipe.title:
        panel.write(axes.title, recipe.title)
    bar = add_colour_bar(axes, mesh)
    noted = NotedName(bar.yaxis.label, readable(metric), _note(recipe, counts))
    name_axes(
        figure,
        panel,
        rows=_names(rows, style),
        columns=_names(columns, style),
        noted=[noted] if style.add_ylabels else [],
    )
    if entries:
        handles, labels = zip(*entries, strict=True)
        place_legend_below(figure, axes, LegendEntries(handles, labels, title="", escape=escape))
    worst = -np.inf if recipe.direction == "maximize" else np.inf
    ranks = np.where(np.isnan(means), worst, means)
    best = ranks.max() if recipe.direction == "maximize" else ranks.min()
    differs = len(set(counts[counts > 0].tolist())) > 1
    write_in_cells(
        axes,
        mesh,
        means,
        number_texts(means, is_log=floor is not None),
        notes=[[f"n = {count}" if count else "" for count in row] for row in counts.tolist()]
        if differs
        else None,
        bold=means == best,
    )


def _names(values: Sequence[object], style: PlotStyle) -> Names:
    texts = distinct_texts(values)
    return Names([legend_label(text, replace_none=style.replace_none) for text in texts])


def _axis_values(key: str, recipe: Recipe, runs: Sequence[Run]) -> list[object]:
    """All values of a key, of runs that have been skipped or are still to come, too."""
    order = recipe.order.get(key, ())
    settings = [*(run.settings for run in runs), *recipe.skipped.values()]
    values = [*order, *(values.get(key, "–") for values in settings)]
    distinct = {identity([value]): value for value in reversed(values)}
    return sorted(distinct.values(), key=lambda value: place_in_sweep(value, order))


def _cells(
    recipe: Recipe, runs: Sequence[Run], rows: Sequence[object], columns: Sequence[object]
) -> tuple[Array, Array]:
    """The mean of each cell and how many runs it rests on, each (rows, columns)."""
    (metric,) = recipe.metrics
    values: dict[tuple[int, int], list[float]] = {}
    for run in runs:
        end = run.metrics[metric].values[-1:]
        if len(end) and drawable(end)[0]:
            values.setdefault(_place(run.settings, recipe, rows, columns), []).append(float(end[0]))
    means = np.full((len(rows), len(columns)), np.nan)
    counts = np.zeros((len(rows), len(columns)), dtype=int)
    for place, numbers in values.items():
        means[place], counts[place] = np.mean(numbers), len(numbers)
    return means, counts


def _place(
    settings: Settings, recipe: Recipe, rows: Sequence[object], columns: Sequence[object]
) -> tuple[int, int]:
    assert recipe.group_by is not None
    x, y = recipe.group_by
    row, column = (
        [identity([value]) for value in values].index(identity([settings.get(key, "–")]))
        for key, values in ((y, rows), (x, columns))
    )
    return row, column


def _norm(means: Array, floor: float | None) -> Normalize:
    finite = means[np.isfinite(means)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if low == high:  # one colour, from the middle of the map
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    return Normalize(low, high) if floor is None else LogNorm(floor, high, clip=True)


def _mark_empty_cells(
    panel: Panel, recipe: Recipe, means: Array, rows: Sequence[object], columns: Sequence[object]
) -> list[tuple[Patch, str]]:
    """Hatch what rules skip; returns entries for the legend."""
    skipped = {_place(values, recipe, rows, columns) for values in recipe.skipped.values()}
    skipped = {place for place in skipped if np.isnan(means[place])}
    hatched: dict[str, Any] = {
        "facecolor": tuple(axes_background()),
        "edgecolor": CROWD_GREY,
        "hatch": HATCH,
        "linewidth": 0.0,
    }
    for row, column in sorted(skipped):
        panel.axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **hatched))
    entries = []
    if np.isnan(means).sum() > len(skipped):
        entries.append((Patch(facecolor=_empty_shade(), linewidth=0), "no value"))
    if skipped:
        entries.append((Patch(**hatched), "skipped by rule"))
    return entries


def _empty_shade() -> str:
    return grey(axes_background(), EMPTY_SHADE)


def _note(recipe: Recipe, counts: Array) -> list[str]:
    """What the values are, for the second line of the colour bar's name."""
    parts = [f"{recipe.value} value"] if recipe.value else []
    settings = list(recipe.settings.values())
    keys = swept_keys(settings)
    names = short_keys(keys)
    averaged = [names[key] for key in differing_keys(settings, keys)
                if key not in (recipe.group_by or ())]  # fmt: skip
    present = counts[counts > 0]
    if len(present) and present.max() > 1:
        low, high = present.min(), present.max()
        number = f"n = {high}" if low == high else f"n = {low}–{high}"
        parts.append(f"mean over {', '.join(averaged)}" if averaged else "mean")
        parts.append(number)
    return parts
