"""The figure of one metric of many runs: groups with bands, quantiles, or every run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.patches import Patch

from .._data.groups import group_runs, legend_title, repetitions
from .._data.statistics import (
    align,
    average_inner,
    drawable,
    isolated,
    mean_and_spread,
    quantiles,
    ranked,
    thinned,
)
from .._figures.group_styles import group_styles
from .._figures.labels import legend_label
from .._figures.layout import fit_texts
from .._figures.legend import place_legend
from .._figures.panel import (
    CROWD_GREY,
    Panel,
    draw_band,
    draw_line,
    finish_x_axis,
    finish_y_axis,
    legend_line,
    line_width,
    strong_grey,
)
from .._style.palette import DASHES, colours, curve_styles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.typing import LineStyleType

    from .._data.groups import Group
    from .._data.runs import Array, Curve, Run
    from .._figures.styled import StyledFigure
    from .._recipes.recipe import Recipe
    from .._style.keys import PlotStyle
    from .._style.palette import CurveStyle

MANY_RUNS = 30  # single lines can no longer be told apart
MANY_GROUPS = 12  # above, means with their bands cover one another
HIGHLIGHTED = 5
BAND_ALPHA = 0.18


def draw_metric(
    figure: StyledFigure,
    recipe: Recipe,
    runs: Sequence[Run],
    style: PlotStyle,
    escape: Callable[[str], str],
) -> None:
    (metric,) = recipe.metrics
    axes = figure.subplots()
    panel = Panel(axes, style, escape)
    groups = group_runs(runs, recipe.group_by)
    styles = _styles_by_label(groups, recipe, style)
    group_count = len(groups)
    title = legend_title(groups, recipe.group_by)
    order = ranked([[run.metrics[metric] for run in group.runs] for group in groups],
                   recipe.direction)  # fmt: skip
    if recipe.top is not None and recipe.lines != "bands":
        groups = [groups[index] for index in sorted(order[: recipe.top])]
        order = list(range(len(groups)))
        if group_count > len(colours(style.palette, 10)):
            # More groups than colours: only those shown share the palette.
            styles = _styles_by_label(groups, recipe, style)
    lines = _lines(recipe, groups)
    if lines == "bands":
        title = _draw_quantiles(panel, metric, groups, order, recipe, title)
    elif lines == "all":
        title = _draw_every_run(panel, metric, groups, order, recipe, styles, title)
    else:
        title = _draw_groups(panel, metric, groups, recipe, styles, title)
    if recipe.top is not None and recipe.top < group_count and lines != "bands":
        noun = "runs" if recipe.group_by is None else "groups"
        title = _with_line(title, f"best {len(groups)} of {group_count} {noun}")
    finish_y_axis(panel, metric)
    finish_x_axis([panel], recipe.step)
    if style.add_titles and recipe.title:
        panel.write(axes.title, recipe.title)
    fit_texts(figure, panel.texts)
    entries = panel.legend_entries(title)
    if len(entries.labels) > 1 or title:
        place_legend(figure, axes, entries, panel.extents)


def _styles_by_label(
    groups: Sequence[Group], recipe: Recipe, style: PlotStyle
) -> dict[str, CurveStyle]:
    styles = group_styles(groups, recipe.group_by, style.palette)
    return {group.label: curve for group, curve in zip(groups, styles, strict=True)}


def _lines(recipe: Recipe, groups: Sequence[Group]) -> str:
    if recipe.lines != "auto":
        return recipe.lines
    runs = sum(len(group.runs) for group in groups)
    return "bands" if runs > MANY_RUNS and len(groups) > MANY_GROUPS else "groups"


def _draw_groups(
    panel: Panel,
    metric: str,
    groups: Sequence[Group],
    recipe: Recipe,
    styles: dict[str, CurveStyle],
    title: str,
) -> str:
    """Mean and standard deviation of every group; returns the legend's title."""
    counts = []
    tables = _tables(metric, groups, recipe)
    curves = [mean_and_spread(values) for _, values in tables]
    # A mean may be positive where runs are not.
    panel.values += [values.ravel() for _, values in tables if (values < 0).any()]
    for group, (steps, _), (mean, spread, count) in zip(groups, tables, curves, strict=True):
        colour, dashes = styles[group.label]
        counts.append((int(count.min()), int(count.max())) if len(count) else (0, 0))
        low, high = mean - spread, mean + spread
        if (count > 1).any():
            draw_band(panel, steps, low, high, colour, BAND_ALPHA)
        handle = draw_line(panel, steps, mean, colour, dashes)
        has_band = ~np.isnan(spread)
        panel.extents.append((steps, np.where(has_band, low, mean), np.where(has_band, high, mean)))
        panel.add_entry(handle, legend_label(group.label, replace_none=panel.style.replace_none))
    if all(len(group.runs) == 1 for group in groups):
        return title
    texts = [_count_text(fewest, most) for fewest, most in counts]
    if len(set(texts)) == 1:
        return _with_line(title, f"mean ± std, {texts[0]}")
    panel.labels[:] = [f"{label} ({text})" for label, text in zip(panel.labels, texts, strict=True)]
    return _with_line(title, "mean ± std")


def _tables(metric: str, groups: Sequence[Group], recipe: Recipe) -> list[tuple[Array, Array]]:
    """For each group the steps, and one curve per outermost repetition."""
    tables = []
    levels = repetitions(groups, recipe.repeat)
    for group, group_repetitions in zip(groups, levels, strict=True):
        steps, values = align([run.metrics[metric] for run in group.runs])
        tables.append((steps, average_inner(values, group_repetitions)))
    return tables


def _with_line(title: str, line: str) -> str:
    """A legend's title with another line, its first if it was empty."""
    return f"{title}\n{line}" if title else line


def _count_text(fewest: int, most: int) -> str:
    return f"n = {most}" if fewest == most else f"n = {max(fewest, 1)}–{most}"


def _draw_every_run(
    panel: Panel,
    metric: str,
    groups: Sequence[Group],
    order: Sequence[int],
    recipe: Recipe,
    styles: dict[str, CurveStyle],
    title: str,
) -> str:
    """Every run as a line, in one collection; returns the legend's title."""
    curves = [run.metrics[metric] for group in groups for run in group.runs]
    count = len(curves)
    crowded = len(groups) > MANY_GROUPS
    width = line_width() * (1.0 if count <= MANY_RUNS else 0.6)
    alpha = float(np.clip(30 / count, 0.08, 0.9) if crowded else np.clip(60 / count, 0.25, 1))
    shades: list[str] = []
    line_styles: list[LineStyleType] = []
    for group in groups:
        colour, dashes = (CROWD_GREY, 0) if crowded else styles[group.label]
        shades += [colour] * len(group.runs)
        line_styles += [DASHES[dashes]] * len(group.runs)
    segments = [
        np.column_stack(
            thinned(curve.steps, np.where(drawable(curve.values), curve.values, np.nan))
        )
        for curve in curves
    ]
    panel.axes.add_collection(
        LineCollection(
            segments,
            colors=shades,
            linewidths=width,
            linestyles=line_styles if len(set(line_styles)) > 1 else "solid",
            alpha=alpha,
            zorder=2,
        ),
        autolim=False,
    )
    alone = [segment[isolated(segment[:, 1])] for segment in segments]
    if any(len(points) for points in alone):
        x, y = np.concatenate(alone).T
        panel.axes.scatter(
            x,
            y,
            s=(2.5 * width) ** 2,
            c=[shade for shade, points in zip(shades, alone, strict=True) for _ in points],
            linewidths=0,
            alpha=alpha,
            zorder=2,
        )
    _show_envelope(panel, curves)
    if not crowded:
        for group in groups:
            colour, dashes = styles[group.label]
            label = legend_label(group.label, replace_none=panel.style.replace_none)
            count_text = f" (n = {len(group.runs)})" if len(group.runs) > 1 else ""
            panel.add_entry(legend_line(colour, dashes), f"{label}{count_text}")
        return title
    title = _highlight(panel, metric, groups, order, recipe, title)
    panel.add_entry(legend_line(CROWD_GREY, 0), f"all {count} runs")
    return title


def _draw_quantiles(
    panel: Panel,
    metric: str,
    groups: Sequence[Group],
    order: Sequence[int],
    recipe: Recipe,
    title: str,
) -> str:
    """Quantile bands over all runs and the best groups above; returns the legend's title."""
    curves = [run.metrics[metric] for group in groups for run in group.runs]
    steps, values = align(curves)
    bands = quantiles(values)
    for low, high, alpha in ((0, 4, 0.22), (1, 3, 0.35)):
        draw_band(panel, steps, bands[low], bands[high], CROWD_GREY, alpha)
    median = draw_line(panel, steps, bands[2], strong_grey(), 0)
    panel.values += [bands[0], bands[4]]
    panel.extents.append((steps, bands[0], bands[4]))
    title = _highlight(panel, metric, groups, order, recipe, title)
    panel.add_entry(median, f"median of {len(curves)} runs")
    panel.add_entry(Patch(color=CROWD_GREY, alpha=0.52, linewidth=0), "25–75 % of runs")
    panel.add_entry(Patch(color=CROWD_GREY, alpha=0.22, linewidth=0), "5–95 % of runs")
    return title


def _highlight(
    panel: Panel,
    metric: str,
    groups: Sequence[Group],
    order: Sequence[int],
    recipe: Recipe,
    title: str,
) -> str:
    """The best groups as means above the crowd; returns the legend's title."""
    best = [groups[index] for index in order[: recipe.top or HIGHLIGHTED]]
    tables = _tables(metric, best, recipe)
    sizes = {len(values) for _, values in tables}
    styles = curve_styles(panel.style.palette, len(best))
    for group, (steps, values), (colour, dashes) in zip(best, tables, styles, strict=True):
        mean, _, _ = mean_and_spread(values)
        handle = draw_line(panel, steps, mean, colour, dashes)
        panel.extents.append((steps, mean, mean))
        label = legend_label(group.label, replace_none=panel.style.replace_none)
        count_text = f" (n = {len(values)})" if len(sizes) > 1 else ""
        panel.add_entry(handle, f"{label}{count_text}")
    number = f", n = {sizes.pop()}" if len(sizes) == 1 and sizes != {1} else ""
    means = f", mean{number}" if number or len(sizes) > 1 else ""
    return _with_line(title, f"best {len(best)} of {len(groups)}{means}")


def _show_envelope(panel: Panel, curves: Sequence[Curve]) -> None:
    """Make room for all curves, and say where they run, for the legend."""
    steps, values = align(curves)
    finite = ~np.isnan(values).all(axis=0)
    if not finite.any():
        return
    low, high = np.nanmin(values[:, finite], axis=0), np.nanmax(values[:, finite], axis=0)
    panel.axes.update_datalim(
        [(float(steps[0]), float(low.min())), (float(steps[-1]), float(high.max()))]
    )
    panel.axes.autoscale_view()
    panel.values += [low, high]
    panel.extents.append((steps[finite], low, high))
