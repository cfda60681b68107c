"""The figure of one metric of many runs: groups with bands, quantiles, or every run."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.patches import Patch

from ._canvas import (
    CROWD_GREY,
    Canvas,
    draw_band,
    draw_line,
    finish_steps,
    finish_values,
    line_width,
    sample,
)
from ._figure import StyledFigure
from ._groups import Group, group, group_looks, legend_label, legend_title
from ._layout import fit, place
from ._palette import DASHES, colours, looks
from ._recipe import Recipe
from ._runs import Curve, Run
from ._statistics import (
    align,
    drawable,
    isolated,
    mean_and_spread,
    needs_log_scale,
    quantiles,
    ranked,
    thinned,
)
from ._style import PlotStyle

if TYPE_CHECKING:
    from matplotlib.typing import LineStyleType

MANY_RUNS = 30  # single lines can no longer be told apart
MANY_GROUPS = 12  # above, means with their bands cover one another
HIGHLIGHTED = 5
BAND_ALPHA = 0.18
MEDIAN_GREY = "#4d4d4d"


def draw_metric(
    figure: StyledFigure,
    recipe: Recipe,
    runs: Sequence[Run],
    style: PlotStyle,
    escaped: Callable[[str], str],
) -> None:
    (metric,) = recipe.metrics
    axes = figure.subplots()
    canvas = Canvas(axes, style, escaped)
    groups = group(runs, recipe.group_by)
    group_style = dict(
        zip((each.label for each in groups),
            group_looks(groups, recipe.group_by, style.palette), strict=True)
    )  # fmt: skip
    everything = len(groups)
    title = legend_title(groups, recipe.group_by)
    order = ranked([[run.metrics[metric] for run in each.runs] for each in groups],
                   recipe.direction)  # fmt: skip
    if recipe.top is not None and recipe.lines != "bands":
        chosen = sorted(order[: recipe.top])
        groups = [groups[index] for index in chosen]
        order = list(range(len(groups)))
        if everything > len(colours(style.palette, 10)):
            # More groups than colours: those shown share out the palette anew.
            fresh = group_looks(groups, recipe.group_by, style.palette)
            group_style = dict(zip((each.label for each in groups), fresh, strict=True))
    lines = _lines(recipe, groups)
    if lines == "bands":
        title = _draw_quantiles(canvas, metric, groups, order, recipe, title)
    elif lines == "all":
        title = _draw_every_run(canvas, metric, groups, order, recipe, group_style, title)
    else:
        title = _draw_groups(canvas, metric, groups, group_style, title)
    if recipe.top is not None and recipe.top < everything and lines != "bands":
        what = "runs" if recipe.group_by is None else "groups"
        title = "\n".join(filter(None, [title, f"best {len(groups)} of {everything} {what}"]))
    finish_values(canvas, metric)
    finish_steps([canvas], recipe.step)
    if style.add_titles and recipe.title:
        canvas.write(axes.title, recipe.title)
    fit(figure, canvas.around)
    entries = canvas.entries(title)
    if len(entries.labels) > 1 or title:
        place(figure, axes, entries, canvas.drawn)


def _lines(recipe: Recipe, groups: Sequence[Group]) -> str:
    if recipe.lines != "auto":
        return recipe.lines
    runs = sum(len(each.runs) for each in groups)
    return "bands" if runs > MANY_RUNS and len(groups) > MANY_GROUPS else "groups"


def _draw_groups(
    canvas: Canvas,
    metric: str,
    groups: Sequence[Group],
    group_style: dict[str, tuple[str, int]],
    title: str,
) -> str:
    """Mean and standard deviation of every group; returns the legend's title."""
    counts = []
    tables = [align([run.metrics[metric] for run in each.runs]) for each in groups]
    curves = [mean_and_spread(values) for _, values in tables]
    means = np.concatenate([mean for mean, _, _ in curves])
    # On a log scale a band that reaches zero would have no lower end.
    lowest = np.nanmin(means) if needs_log_scale(means) else -np.inf
    for each, (steps, _), (mean, spread, count) in zip(groups, tables, curves, strict=True):
        colour, dashes = group_style[each.label]
        counts.append((int(count.min()), int(count.max())) if len(count) else (0, 0))
        low, high = np.maximum(mean - spread, lowest), mean + spread
        if len(each.runs) > 1:
            draw_band(canvas, steps, low, high, colour, BAND_ALPHA)
        handle = draw_line(canvas, steps, mean, colour, dashes)
        known = ~np.isnan(spread)
        canvas.drawn.append((steps, np.where(known, low, mean), np.where(known, high, mean)))
        canvas.entry(handle, legend_label(each.label, replace_none=canvas.style.replace_none))
    if all(len(each.runs) == 1 for each in groups):
        return title
    numbers = {_count_text(*each) for each in counts}
    if len(numbers) == 1:
        return "\n".join(filter(None, [title, f"mean ± std, {numbers.pop()}"]))
    canvas.labels[:] = [
        f"{label} ({_count_text(*each)})" for label, each in zip(canvas.labels, counts, strict=True)
    ]
    return "\n".join(filter(None, [title, "mean ± std"]))


def _count_text(fewest: int, most: int) -> str:
    return f"n = {most}" if fewest == most else f"n = {max(fewest, 1)}–{most}"


def _draw_every_run(
    canvas: Canvas,
    metric: str,
    groups: Sequence[Group],
    order: Sequence[int],
    recipe: Recipe,
    group_style: dict[str, tuple[str, int]],
    title: str,
) -> str:
    """Every run as a line, in one collection; returns the legend's title."""
    curves = [run.metrics[metric] for each in groups for run in each.runs]
    count = len(curves)
    crowded = len(groups) > MANY_GROUPS
    width = line_width() * (1.0 if count <= MANY_RUNS else 0.6)
    alpha = float(np.clip(30 / count, 0.08, 0.9) if crowded else np.clip(60 / count, 0.25, 1))
    shades: list[str] = []
    styles: list[LineStyleType] = []
    for each in groups:
        colour, dashes = (CROWD_GREY, 0) if crowded else group_style[each.label]
        shades += [colour] * len(each.runs)
        styles += [DASHES[dashes]] * len(each.runs)
    segments = [
        np.column_stack(thinned(each.steps, np.where(drawable(each.values), each.values, np.nan)))
        for each in curves
    ]
    canvas.axes.add_collection(
        LineCollection(
            segments,
            colors=shades,
            linewidths=width,
            linestyles=styles if len(set(styles)) > 1 else "solid",
            alpha=alpha,
            zorder=2,
        ),
        autolim=False,
    )
    alone = [segment[isolated(segment[:, 1])] for segment in segments]
    if any(len(points) for points in alone):
        x, y = np.concatenate(alone).T
        canvas.axes.scatter(
            x,
            y,
            s=(2.5 * width) ** 2,
            c=[shade for shade, points in zip(shades, alone, strict=True) for _ in points],
            linewidths=0,
            alpha=alpha,
            zorder=2,
        )
    _show_envelope(canvas, curves)
    if not crowded:
        for each in groups:
            colour, dashes = group_style[each.label]
            label = legend_label(each.label, replace_none=canvas.style.replace_none)
            more = f" (n = {len(each.runs)})" if len(each.runs) > 1 else ""
            canvas.entry(sample(colour, dashes), f"{label}{more}")
        return title
    title = _highlight(canvas, metric, groups, order, recipe, title)
    canvas.entry(sample(CROWD_GREY, 0), f"all {count} runs")
    return title


def _draw_quantiles(
    canvas: Canvas,
    metric: str,
    groups: Sequence[Group],
    order: Sequence[int],
    recipe: Recipe,
    title: str,
) -> str:
    """Quantile bands over all runs and the best groups above; returns the legend's title."""
    curves = [run.metrics[metric] for each in groups for run in each.runs]
    steps, values = align(curves)
    bands = quantiles(values)
    for low, high, alpha in ((0, 4, 0.22), (1, 3, 0.35)):
        draw_band(canvas, steps, bands[low], bands[high], CROWD_GREY, alpha)
    median = draw_line(canvas, steps, bands[2], MEDIAN_GREY, 0)
    canvas.drawn.append((steps, bands[0], bands[4]))
    title = _highlight(canvas, metric, groups, order, recipe, title)
    canvas.entry(median, f"median of {len(curves)} runs")
    canvas.entry(Patch(color=CROWD_GREY, alpha=0.52, linewidth=0), "25–75 % of runs")
    canvas.entry(Patch(color=CROWD_GREY, alpha=0.22, linewidth=0), "5–95 % of runs")
    return title


def _highlight(
    canvas: Canvas,
    metric: str,
    groups: Sequence[Group],
    order: Sequence[int],
    recipe: Recipe,
    title: str,
) -> str:
    """The best groups as means above the crowd; returns the legend's title."""
    best = [groups[index] for index in order[: recipe.top or HIGHLIGHTED]]
    sizes = {len(each.runs) for each in best}
    for each, (colour, dashes) in zip(best, looks(canvas.style.palette, len(best)), strict=True):
        steps, values = align([run.metrics[metric] for run in each.runs])
        mean, _, _ = mean_and_spread(values)
        handle = draw_line(canvas, steps, mean, colour, dashes)
        canvas.drawn.append((steps, mean, mean))
        label = legend_label(each.label, replace_none=canvas.style.replace_none)
        more = f" (n = {len(each.runs)})" if len(sizes) > 1 else ""
        canvas.entry(handle, f"{label}{more}")
    number = f", n = {sizes.pop()}" if len(sizes) == 1 and sizes != {1} else ""
    means = f", mean{number}" if number or len(sizes) > 1 else ""
    return "\n".join(filter(None, [title, f"best {len(best)} of {len(groups)}{means}"]))


def _show_envelope(canvas: Canvas, curves: Sequence[Curve]) -> None:
    """Make room for all curves, and tell the legend where they are."""
    steps, values = align(curves)
    known = ~np.isnan(values).all(axis=0)
    if not known.any():
        return
    low, high = np.nanmin(values[:, known], axis=0), np.nanmax(values[:, known], axis=0)
    canvas.axes.update_datalim(
        [(float(steps[0]), float(low.min())), (float(steps[-1]), float(high.max()))]
    )
    canvas.axes.autoscale_view()
    canvas.drawn.append((steps[known], low, high))
