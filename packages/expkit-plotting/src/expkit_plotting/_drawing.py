"""Drawing: a recipe, its runs and a style become a figure. No files, no global state."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ._figure import StyledFigure
from ._groups import Group, group, group_looks, legend_label, legend_title
from ._layout import MOST_ENTRIES, Entries, make_room, place, tighten
from ._palette import DASHES, colours, looks
from ._rc import rc_parameters
from ._recipe import Recipe
from ._runs import Run
from ._statistics import align, mean_and_spread, needs_log_scale, quantiles, ranked, thinned
from ._style import PlotStyle
from ._text import escape, readable, shorten, split_and_quantity
from ._thread_rc import rc_layer

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.typing import LineStyleType

    from ._runs import Array

MANY_RUNS = 30  # single lines can no longer be told apart
MANY_GROUPS = 12  # above, means with their bands cover one another
HIGHLIGHTED = 5
BAND_ALPHA = 0.18
CROWD_GREY = "#7f7f7f"
FEW_POINTS = 5  # so few points are marked, or a single one would not be seen
PANEL_MIN_IN = 2.6  # narrower, tick labels take more room than curves
PANEL_SHARE = 0.75  # a panel's height, of the style's height for one figure


@dataclass
class _Canvas:
    """What drawing functions share: the axes and all that was drawn into them."""

    axes: Axes
    style: PlotStyle
    escape: Callable[[str], str]
    drawn: "list[tuple[Array, Array, Array]]"
    handles: "list[Artist]"
    labels: list[str]

    def entry(self, handle: "Artist", label: str) -> None:
        self.handles.append(handle)
        self.labels.append(label)

    def entries(self, title: str) -> Entries:
        handles, labels = self.handles, self.labels
        if len(labels) > MOST_ENTRIES:
            more = len(labels) - MOST_ENTRIES + 1
            handles = [*handles[: MOST_ENTRIES - 1], Line2D([], [], linestyle="none")]
            labels = [*labels[: MOST_ENTRIES - 1], f"… and {more} more"]
        return Entries(handles, labels, title=title, escape=self.escape)


def draw(recipe: Recipe, runs: Sequence[Run], style: PlotStyle, *, latex: bool) -> StyledFigure:
    """The figure of a recipe in a style; equal arguments give equal pixels.

    Args:
        recipe: What to draw.
        runs: The runs with the metrics that the recipe names.
        style: How to draw it.
        latex: Whether LaTeX draws the text.
    """
    parameters = rc_parameters(style, latex=latex)
    with rc_layer(parameters):
        figure = StyledFigure(parameters, figsize=style.size_in, dpi=100)

        def escaped(text: str) -> str:
            return escape(text, latex=latex)

        if recipe.kind == "run":
            _draw_run(figure, recipe, runs[0], style, escaped)
        else:
            _draw_metric(figure, recipe, runs, style, escaped)
    return figure


# ---------------------------------------------------------------- one metric of many runs


def _draw_metric(
    figure: StyledFigure,
    recipe: Recipe,
    runs: Sequence[Run],
    style: PlotStyle,
    escaped: Callable[[str], str],
) -> None:
    (metric,) = recipe.metrics
    axes = figure.subplots()
    canvas = _Canvas(axes, style, escaped, [], [], [])
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
    _finish_axes(canvas, recipe, metric)
    if style.add_titles and recipe.title:
        axes.set_title(escaped(_fitting(recipe.title, figure, axes)))
    entries = canvas.entries(title)
    if len(entries.labels) > 1 or title:
        place(figure, axes, entries, canvas.drawn)
    else:
        tighten(figure)


def _lines(recipe: Recipe, groups: Sequence[Group]) -> str:
    if recipe.lines != "auto":
        return recipe.lines
    runs = sum(len(each.runs) for each in groups)
    return "bands" if runs > MANY_RUNS and len(groups) > MANY_GROUPS else "groups"


def _draw_groups(
    canvas: _Canvas,
    metric: str,
    groups: Sequence[Group],
    group_style: dict[str, tuple[str, int]],
    title: str,
) -> str:
    """Mean and standard deviation of every group; returns the legend's title."""
    counts = []
    for each in groups:
        colour, dashes = group_style[each.label]
        steps, values = align([run.metrics[metric] for run in each.runs])
        mean, spread, count = mean_and_spread(values)
        counts.append((int(count.min()), int(count.max())))
        low, high = mean - spread, mean + spread
        if len(each.runs) > 1:
            canvas.axes.fill_between(
                steps, low, high, color=colour, alpha=BAND_ALPHA, linewidth=0, zorder=1.5
            )
        handle = _draw_line(canvas, steps, mean, colour, dashes)
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
    canvas: _Canvas,
    metric: str,
    groups: Sequence[Group],
    order: Sequence[int],
    recipe: Recipe,
    group_style: dict[str, tuple[str, int]],
    title: str,
) -> str:
    """Every run as a line, in one collection; returns the legend's title."""
    count = sum(len(each.runs) for each in groups)
    steps, values = align([run.metrics[metric] for each in groups for run in each.runs])
    crowded = len(groups) > MANY_GROUPS
    width = _line_width(canvas) * (1.0 if count <= MANY_RUNS else 0.6)
    shades: list[str] = []
    styles: list[LineStyleType] = []
    for each in groups:
        colour, dashes = (CROWD_GREY, 0) if crowded else group_style[each.label]
        shades += [colour] * len(each.runs)
        styles += [DASHES[dashes]] * len(each.runs)
    collection = LineCollection(
        list(_segments(steps, values)),
        colors=shades,
        linewidths=width,
        linestyles=styles if len(set(styles)) > 1 else "solid",
        alpha=float(np.clip(30 / count, 0.08, 0.9))
        if crowded
        else float(np.clip(60 / count, 0.25, 1)),
        zorder=2,
    )
    canvas.axes.add_collection(collection, autolim=False)
    finite = values[np.isfinite(values)]
    if len(finite):
        canvas.axes.update_datalim(
            [(float(steps[0]), float(finite.min())), (float(steps[-1]), float(finite.max()))]
        )
        canvas.axes.autoscale_view()
    low, high = _envelope(values)
    canvas.drawn.append((steps, low, high))
    if not crowded:
        for each in groups:
            colour, dashes = group_style[each.label]
            label = legend_label(each.label, replace_none=canvas.style.replace_none)
            more = f" (n = {len(each.runs)})" if len(each.runs) > 1 else ""
            canvas.entry(_sample(canvas, colour, dashes), f"{label}{more}")
        return title
    title = _highlight(canvas, metric, groups, order, recipe, title)
    canvas.entry(_sample(canvas, CROWD_GREY, 0), f"all {count} runs")
    return title


def _segments(steps: "Array", values: "Array") -> "Sequence[Array]":
    """One polyline a run, without the NaN behind its end; gaps inside stay."""
    if not np.isnan(values).any() and len(steps) <= 4000:
        lines = np.empty((*values.shape, 2))
        lines[:, :, 0] = steps
        lines[:, :, 1] = values
        return list(lines)
    segments = []
    for row in values:
        x, y = thinned(steps, row)
        segments.append(np.column_stack([x, y]))
    return segments


def _draw_quantiles(
    canvas: _Canvas,
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
        canvas.axes.fill_between(
            steps, bands[low], bands[high], color=CROWD_GREY, alpha=alpha, linewidth=0, zorder=1.5
        )
    (median,) = canvas.axes.plot(steps, bands[2], color="#4d4d4d", linewidth=_line_width(canvas))
    canvas.drawn.append((steps, bands[0], bands[4]))
    title = _highlight(canvas, metric, groups, order, recipe, title)
    canvas.entry(median, f"median of {len(curves)} runs")
    canvas.entry(Patch(color=CROWD_GREY, alpha=0.52, linewidth=0), "25–75 % of runs")
    canvas.entry(Patch(color=CROWD_GREY, alpha=0.22, linewidth=0), "5–95 % of runs")
    return title


def _highlight(
    canvas: _Canvas,
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
        handle = _draw_line(canvas, steps, mean, colour, dashes)
        canvas.drawn.append((steps, mean, mean))
        label = legend_label(each.label, replace_none=canvas.style.replace_none)
        more = f" (n = {len(each.runs)})" if len(sizes) > 1 else ""
        canvas.entry(handle, f"{label}{more}")
    number = f", n = {sizes.pop()}" if len(sizes) == 1 and sizes != {1} else ""
    means = f", mean{number}" if number or len(sizes) > 1 else ""
    return "\n".join(filter(None, [title, f"best {len(best)} of {len(groups)}{means}"]))


# ---------------------------------------------------------------- all metrics of one run


def _draw_run(
    figure: StyledFigure,
    recipe: Recipe,
    run: Run,
    style: PlotStyle,
    escaped: Callable[[str], str],
) -> None:
    panels: dict[str, list[str]] = {}
    for metric in recipe.metrics:
        panels.setdefault(split_and_quantity(metric)[1], []).append(metric)
    width, height = style.size_in
    columns = min(len(panels), max(1, int(width / PANEL_MIN_IN)))
    rows = math.ceil(len(panels) / columns)
    if len(panels) > 1:
        figure.set_size_inches(width, height * PANEL_SHARE * rows if rows > 1 else
                               height * PANEL_SHARE)  # fmt: skip
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    cells = list(grid.flat)
    canvases = []
    for axes, (quantity, metrics) in zip(cells, panels.items(), strict=False):
        canvas = _Canvas(axes, style, escaped, [], [], [])
        canvases.append(canvas)
        for metric, (colour, dashes) in zip(
            metrics, looks(style.palette, len(metrics)), strict=True
        ):
            steps, values = align([run.metrics[metric]])
            handle = _draw_line(canvas, steps, values[0], colour, dashes)
            canvas.drawn.append((steps, values[0], values[0]))
            canvas.entry(handle, _split_label(metric))
        _finish_axes(canvas, recipe, quantity if len(metrics) > 1 else metrics[0])
    for index, axes in enumerate(cells):
        if index >= len(panels):
            axes.set_visible(False)
        elif index + columns < len(panels):  # the panel below shows the ticks
            axes.set_xlabel("")
        elif rows > 1:
            axes.tick_params(labelbottom=True)
    if style.add_titles and recipe.title:
        figure.suptitle(escaped(_fitting(recipe.title, figure, None)))
    tighten(figure)
    figure.align_ylabels()
    for canvas in canvases:
        if len(canvas.labels) > 1:
            make_room(canvas.axes, canvas.entries(""), canvas.drawn)


def _split_label(metric: str) -> str:
    split = split_and_quantity(metric)[0]
    return readable(split) if split else "Train"


# ---------------------------------------------------------------- shared


def _draw_line(
    canvas: _Canvas, steps: "Array", values: "Array", colour: str, dashes: int
) -> Line2D:
    points = int(np.isfinite(values).sum())
    x, y = thinned(steps, values)
    (line,) = canvas.axes.plot(
        x,
        y,
        color=colour,
        linestyle=DASHES[dashes],
        marker="o" if points <= FEW_POINTS else "none",
        markersize=2.5 * _line_width(canvas),
        zorder=2.5,
    )
    return line


def _sample(canvas: _Canvas, colour: str, dashes: int) -> Line2D:
    return Line2D([], [], color=colour, linestyle=DASHES[dashes], linewidth=_line_width(canvas))


def _line_width(canvas: _Canvas) -> float:
    import matplotlib

    return float(matplotlib.rcParams["lines.linewidth"])


def _finish_axes(canvas: _Canvas, recipe: Recipe, metric: str) -> None:
    axes = canvas.axes
    if canvas.drawn and needs_log_scale(np.concatenate([each for _, *both in canvas.drawn
                                                        for each in both])):  # fmt: skip
        axes.set_yscale("log", nonpositive="clip")
    steps = [x for x, _, _ in canvas.drawn if len(x)]
    if all(np.array_equal(x, np.round(x)) for x in steps):
        axes.xaxis.set_major_locator(
            MaxNLocator(nbins="auto", integer=True, min_n_ticks=2, steps=[1, 2, 5, 10])
        )
    if steps and min(x[0] for x in steps) == max(x[-1] for x in steps):  # a single step
        axes.set_xlim(steps[0][0] - 0.5, steps[0][0] + 0.5)
        axes.set_xticks([float(steps[0][0])])
    if canvas.style.add_xlabels:
        axes.set_xlabel(canvas.escape(readable(recipe.step)))
    if canvas.style.add_ylabels:
        axes.set_ylabel(canvas.escape(readable(metric)))


def _envelope(values: "Array") -> "tuple[Array, Array]":
    known = (~np.isnan(values)).any(axis=0)
    low = np.full(values.shape[1], np.nan)
    high = low.copy()
    low[known] = np.nanmin(values[:, known], axis=0)
    high[known] = np.nanmax(values[:, known], axis=0)
    return low, high


def _fitting(title: str, figure: StyledFigure, axes: Axes | None) -> str:
    """A title that is not wider than the figure; half its size is a letter's mean width."""
    import matplotlib
    from matplotlib.font_manager import FontProperties

    size = FontProperties(size=matplotlib.rcParams["axes.titlesize"]).get_size_in_points()
    width_pt = float(figure.get_size_inches()[0]) * 72 * (0.85 if axes is not None else 0.95)
    return shorten(title, max(int(width_pt / (0.55 * size)), 10))
