"""Drawing: a recipe, its runs and a style become a figure. No files, no global state."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from ._figure import StyledFigure
from ._groups import Group, group, group_looks, legend_label, legend_title
from ._layout import MOST_ENTRIES, PAD, Entries, Label, fit, make_room, place
from ._palette import DASHES, colours, looks
from ._rc import rc_parameters
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
from ._text import escape, readable, split_and_quantity
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
MEDIAN_GREY = "#4d4d4d"
FEW_POINTS = 5  # so few points are marked; of more, only those between gaps
PANEL_MIN_IN = 2.6  # narrower, tick labels take more room than curves
MOST_PANELS = 40  # two columns of them are a metre and a half
PANEL_SHARE = 0.75  # a panel's height, of the style's height for one figure


@dataclass
class _Canvas:
    """What drawing functions share: the axes and all that was drawn into them."""

    axes: Axes
    style: PlotStyle
    escape: Callable[[str], str]
    drawn: "list[tuple[Array, Array, Array]]" = field(default_factory=list)
    handles: "list[Artist]" = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    around: list[Label] = field(default_factory=list)  # title and axes' names

    def entry(self, handle: "Artist", label: str) -> None:
        self.handles.append(handle)
        self.labels.append(label)

    def write(self, artist: Text, text: str) -> None:
        artist.set_text(self.escape(text))
        self.around.append(Label(artist, text, self.escape, self.axes))

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
    canvas = _Canvas(axes, style, escaped)
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
    _finish_values(canvas, metric)
    _finish_steps([canvas], recipe.step)
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
    canvas: _Canvas,
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
        counts.append((int(count.min(initial=len(each.runs))), int(count.max(initial=0))))
        low, high = np.maximum(mean - spread, lowest), mean + spread
        if len(each.runs) > 1:
            _draw_band(canvas, steps, low, high, colour, BAND_ALPHA)
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
    curves = [run.metrics[metric] for each in groups for run in each.runs]
    count = len(curves)
    crowded = len(groups) > MANY_GROUPS
    width = _line_width(canvas) * (1.0 if count <= MANY_RUNS else 0.6)
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
            canvas.entry(_sample(canvas, colour, dashes), f"{label}{more}")
        return title
    title = _highlight(canvas, metric, groups, order, recipe, title)
    canvas.entry(_sample(canvas, CROWD_GREY, 0), f"all {count} runs")
    return title


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
        _draw_band(canvas, steps, bands[low], bands[high], CROWD_GREY, alpha)
    median = _draw_line(canvas, steps, bands[2], MEDIAN_GREY, 0)
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
        canvas = _Canvas(axes, style, escaped)
        canvases.append(canvas)
        for metric, (colour, dashes) in zip(
            metrics, looks(style.palette, len(metrics)), strict=True
        ):
            steps, values = align([run.metrics[metric]])
            handle = _draw_line(canvas, steps, values[0], colour, dashes)
            canvas.drawn.append((steps, values[0], values[0]))
            canvas.entry(handle, _split_label(metric))
        _finish_values(canvas, quantity if len(metrics) > 1 else metrics[0])
        lowest = len(canvases) + columns > len(panels)  # of its column
        axes.tick_params(labelbottom=lowest)
    _finish_steps(canvases, recipe.step)
    for axes in cells[len(panels) :]:
        axes.set_visible(False)
    around = [label for canvas in canvases for label in canvas.around]
    if style.add_titles and recipe.title:
        # matplotlib puts it at 98 % of the height, which in a tall figure is far from the edge.
        pad_in = PAD * matplotlib.rcParams["font.size"] / 72
        y = 1 - pad_in / float(figure.get_size_inches()[1])
        title = figure.suptitle(escaped(recipe.title), y=y)
        around.append(Label(title, recipe.title, escaped, None))
    figure.align_ylabels()
    fit(figure, around)
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
    x, y = thinned(steps, values)
    points = np.isfinite(y)
    marked = points if points.sum() <= FEW_POINTS else isolated(y)
    (line,) = canvas.axes.plot(
        x,
        y,
        color=colour,
        linestyle=DASHES[dashes],
        marker="o" if marked.any() else "none",
        markevery=np.flatnonzero(marked).tolist(),
        markersize=2.5 * _line_width(canvas),
        zorder=2.5,
    )
    return line


def _draw_band(
    canvas: _Canvas, steps: "Array", low: "Array", high: "Array", colour: str, alpha: float
) -> None:
    if len(steps) == 1:  # a band of no width would not be seen
        steps = np.array([steps[0] - 0.1, steps[0] + 0.1])
        low, high = np.repeat(low, 2), np.repeat(high, 2)
    canvas.axes.fill_between(steps, low, high, color=colour, alpha=alpha, linewidth=0, zorder=1.5)


def _sample(canvas: _Canvas, colour: str, dashes: int) -> Line2D:
    return Line2D([], [], color=colour, linestyle=DASHES[dashes], linewidth=_line_width(canvas))


def _line_width(canvas: _Canvas) -> float:
    return float(matplotlib.rcParams["lines.linewidth"])


def _finish_values(canvas: _Canvas, metric: str) -> None:
    axes = canvas.axes
    drawn = [each for _, *both in canvas.drawn for each in both]
    values = np.concatenate([np.empty(0), *drawn])
    if needs_log_scale(values):
        axes.set_yscale("log", nonpositive="clip")
    if not np.isfinite(values).any():
        axes.set_yticks([])
        axes.text(
            0.5, 0.5, "no finite values", color=CROWD_GREY, ha="center", va="center",
            transform=axes.transAxes,
        )  # fmt: skip
    if canvas.style.add_ylabels:
        canvas.write(axes.yaxis.label, readable(metric))


def _finish_steps(canvases: Sequence[_Canvas], step: str) -> None:
    """The x axis, which is one axis even where it shows below several panels."""
    axes = canvases[0].axes
    steps = [x for canvas in canvases for x, _, _ in canvas.drawn if len(x)]
    if all(np.array_equal(x, np.round(x)) for x in steps):
        axes.xaxis.set_major_locator(
            MaxNLocator(nbins="auto", integer=True, min_n_ticks=2, steps=[1, 2, 5, 10])
        )
    if steps:
        first, last = min(x[0] for x in steps), max(x[-1] for x in steps)
        if first == last:
            axes.set_xlim(first - 0.5, first + 0.5)
            axes.set_xticks([float(first)])
        elif not any(np.isfinite(low).any() for canvas in canvases for _, low, _ in canvas.drawn):
            axes.set_xlim(first, last)
    for canvas in canvases:
        if canvas.style.add_xlabels and canvas.axes.xaxis.get_tick_params()["labelbottom"]:
            canvas.write(canvas.axes.xaxis.label, readable(step))


def _show_envelope(canvas: _Canvas, curves: Sequence[Curve]) -> None:
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
