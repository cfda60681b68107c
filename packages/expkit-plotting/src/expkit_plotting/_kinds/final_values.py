"""The figure of final values: one row per group, its mean as a bar or a point, with its spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np

from .._data.groups import group_runs, in_sweep_order, legend_title, repetitions
from .._data.statistics import average_inner, drawable, log_floor, mean_and_spread, ranked
from .._figures.group_styles import group_styles
from .._figures.labels import legend_label, readable
from .._figures.log_scale import use_log_scale
from .._figures.notes import NotedName
from .._figures.panel import CROWD_GREY, Panel
from .._figures.tick_labels import Names, name_axes
from .._style.background import axes_background, foreground
from .._style.palette import colours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._data.groups import Group
    from .._data.runs import Array, Run
    from .._figures.styled import StyledFigure
    from .._recipes.recipe import Recipe
    from .._style.keys import PlotStyle

MANY_GROUPS = 12  # above, colours repeat too often to mean anything
SHARE_OF_BARS = 0.25  # of its length, what tells bars apart; differences below are not seen
BAR_HEIGHT = 0.7  # of a row
THICKEST_BAR = 2.2  # in font sizes
CAP_PT = 3.0


@dataclass(frozen=True)
class _Row:
    """A group with its values, one per outermost repetition; NaN where there is none."""

    group: Group
    colour: str
    values: Array
    mean: float
    spread: float
    count: int


def draw_final_values(
    figure: StyledFigure,
    recipe: Recipe,
    runs: Sequence[Run],
    style: PlotStyle,
    escape: Callable[[str], str],
) -> None:
    (metric,) = recipe.metrics
    panel = Panel(figure.subplots(), style, escape)
    axes = panel.axes
    every_row = _rows(recipe, runs, style)
    rows = _best(every_row, recipe, metric)
    values = np.concatenate([row.values for row in rows])
    floor = None if recipe.marks == "bars" else log_floor(metric, values)
    if recipe.marks == "bars" or (recipe.marks == "auto" and floor is None and _are_bars(rows)):
        _draw_bars(panel, rows)
    else:
        _draw_points(panel, rows)
    if floor is not None:
        use_log_scale(axes.xaxis, floor, float(np.nanmax(values)))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    _mark_empty_rows(panel, rows)
    title = legend_title([row.group for row in every_row], recipe.group_by)
    if style.add_ylabels and title:
        panel.write(axes.yaxis.label, title)
    if style.add_titles and recipe.title:
        panel.write(axes.title, recipe.title)
    note = _note(rows, every_row, recipe)
    if floor is not None and (values == 0).any():
        note.append(f"0 drawn at {floor:.2g}")
    noted = NotedName(axes.xaxis.label, readable(metric), note)
    name_axes(figure, panel, rows=_names(rows, style), noted=[noted] if style.add_xlabels else [])


def _names(rows: Sequence[_Row], style: PlotStyle) -> Names:
    """The groups, with their n where it differs."""
    texts = [legend_label(row.group.label, replace_none=style.replace_none) for row in rows]
    if len({row.count for row in rows}) == 1:
        return Names(texts)
    return Names(texts, [f" (n = {row.count})" for row in rows])


def _rows(recipe: Recipe, runs: Sequence[Run], style: PlotStyle) -> list[_Row]:
    (metric,) = recipe.metrics
    groups = group_runs(runs, recipe.group_by)
    if len(groups) > MANY_GROUPS:
        shades = [colours(style.palette, 10)[0]] * len(groups)
    else:  # those of the curves
        shades = [curve.colour for curve in group_styles(groups, recipe.group_by, style.palette)]
    by_label = {group.label: shade for group, shade in zip(groups, shades, strict=True)}
    groups = in_sweep_order(groups, recipe.group_by, recipe.order)
    rows = []
    for group, levels in zip(groups, repetitions(groups, recipe.repeat), strict=True):
        last = [run.metrics[metric].values[-1:] for run in group.runs]
        values = np.array([[value[0] if len(value) else np.nan] for value in last])
        values = np.where(drawable(values), values, np.nan)
        values = average_inner(values, levels)
        mean, spread, count = mean_and_spread(values)
        rows.append(
            _Row(group, by_label[group.label], values[:, 0], mean[0], spread[0], int(count[0]))
        )
    return rows


def _best(rows: list[_Row], recipe: Recipe, metric: str) -> list[_Row]:
    """The best `top` rows, in the order of all."""
    if recipe.top is None:
        return rows
    curves = [[run.metrics[metric] for run in row.group.runs] for row in rows]
    order = ranked(curves, recipe.direction)
    return [rows[index] for index in sorted(order[: recipe.top])]


def _are_bars(rows: Sequence[_Row]) -> bool:
    """Whether bars, which begin at zero, show how the rows differ."""
    means = np.array([row.mean for row in rows if row.count])
    if len(means) < 2:
        return False
    low, high = min(means.min(), 0.0), max(means.max(), 0.0)
    return bool(np.ptp(means) >= SHARE_OF_BARS * (high - low))


def _draw_bars(panel: Panel, rows: Sequence[_Row]) -> None:
    axes, ink = panel.axes, foreground(axes_background())
    row_pt = axes.get_window_extent().height / len(rows) * 72 / axes.figure.dpi
    height = min(BAR_HEIGHT, THICKEST_BAR * matplotlib.rcParams["font.size"] / row_pt)
    places = np.arange(len(rows))
    means = np.array([row.mean for row in rows])
    shades = [row.colour for row in rows]
    axes.barh(places, means, height, color=shades, linewidth=0, zorder=2)
    if (means < 0).any():
        axes.axvline(0, color=ink, linewidth=matplotlib.rcParams["axes.linewidth"], zorder=2.1)
    _draw_values(panel, rows, [ink] * len(rows))
    _draw_spreads(panel, rows, [ink] * len(rows))


def _draw_points(panel: Panel, rows: Sequence[_Row]) -> None:
    shades = [row.colour for row in rows]
    _draw_values(panel, rows, shades)
    _draw_spreads(panel, rows, shades)
    size = 1.2 * matplotlib.rcParams["lines.markersize"]
    panel.axes.scatter(
        [row.mean for row in rows], np.arange(len(rows)), s=size**2, c=shades, zorder=3
    )
    panel.axes.margins(x=0.08)


def _draw_values(panel: Panel, rows: Sequence[_Row], shades: Sequence[str]) -> None:
    """Each repetition's own value as a small ring; a single one is the mean itself."""
    for place, (row, shade) in enumerate(zip(rows, shades, strict=True)):
        if row.count < 2:
            continue
        size = 0.6 * matplotlib.rcParams["lines.markersize"]
        panel.axes.scatter(
            row.values, np.full(len(row.values), place), s=size**2, linewidths=0.7,
            facecolors=[tuple(axes_background())], edgecolors=shade, zorder=2.4,
        )  # fmt: skip


def _draw_spreads(panel: Panel, rows: Sequence[_Row], shades: Sequence[str]) -> None:
    for place, (row, shade) in enumerate(zip(rows, shades, strict=True)):
        if row.count < 2:
            continue
        panel.axes.errorbar(
            row.mean, place, xerr=row.spread, fmt="none", ecolor=shade, capsize=CAP_PT, zorder=2.6,
            elinewidth=0.8 * matplotlib.rcParams["lines.linewidth"],
        )  # fmt: skip


def _mark_empty_rows(panel: Panel, rows: Sequence[_Row]) -> None:
    axes = panel.axes
    for place, row in enumerate(rows):
        if not row.count:
            axes.text(
                0.01, place, "no finite value", color=CROWD_GREY, va="center",
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip
    if not any(row.count for row in rows):
        axes.set_xticks([])


def _note(rows: Sequence[_Row], every_row: Sequence[_Row], recipe: Recipe) -> list[str]:
    """What the values are, for the second line of the axis' name."""
    counts = {row.count for row in rows}
    parts = [f"{recipe.value} value"] if recipe.value else []
    if max(counts) > 1:
        parts.append("mean ± std")
    if counts != {1} and len(counts) == 1:
        parts.append(f"n = {counts.pop()}")
    if len(rows) < len(every_row):
        noun = "runs" if recipe.group_by is None else "groups"
        parts.append(f"best {len(rows)} of {len(every_row)} {noun}")
    return parts
