"""A panel: axes with curves, and what their legend and the layout need to know."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import matplotlib
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .._data.statistics import isolated, log_floor, thinned
from .._style.background import axes_background, grey
from .._style.palette import DASHES
from .labels import readable
from .layout import FittedText
from .legend import MOST_ENTRIES, LegendEntries
from .log_scale import use_log_scale

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    from .._data.runs import Array
    from .._style.keys import PlotStyle
    from .legend import CurveExtent

CROWD_GREY = "#7f7f7f"  # seen on any background
FEW_POINTS = 5  # a curve of so few has them all marked; a longer one, only those between gaps


@dataclass
class Panel:
    """Axes and all that was drawn into them."""

    axes: Axes
    style: PlotStyle
    escape: Callable[[str], str]
    extents: list[CurveExtent] = field(default_factory=list)
    # the values of all curves; bands may reach below them
    values: list[Array] = field(default_factory=list)
    # the legend's entries
    handles: list[Artist] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    # the title and the axes' names
    texts: list[FittedText] = field(default_factory=list)

    def add_entry(self, handle: Artist, label: str) -> None:
        self.handles.append(handle)
        self.labels.append(label)

    def write(self, artist: Text, text: str) -> None:
        artist.set_text(self.escape(text))
        self.texts.append(FittedText(artist, text, self.escape, self.axes))

    def legend_entries(self, title: str) -> LegendEntries:
        handles, labels, unlisted = self.handles, self.labels, []
        if len(labels) > MOST_ENTRIES:
            more = len(labels) - MOST_ENTRIES + 1
            unlisted = labels[MOST_ENTRIES - 1 :]
            handles = [*handles[: MOST_ENTRIES - 1], Line2D([], [], linestyle="none")]
            labels = [*labels[: MOST_ENTRIES - 1], f"… and {more} more"]
        return LegendEntries(handles, labels, title=title, escape=self.escape, unlisted=unlisted)


def draw_line(panel: Panel, steps: Array, values: Array, colour: str, dashes: int) -> Line2D:
    panel.values.append(values)
    x, y = thinned(steps, values)
    points = np.isfinite(y)
    marked = points if points.sum() <= FEW_POINTS else isolated(y)
    (line,) = panel.axes.plot(
        x,
        y,
        color=colour,
        linestyle=DASHES[dashes],
        marker="o" if marked.any() else "none",
        markevery=np.flatnonzero(marked).tolist(),
        markersize=2.5 * line_width(),
        zorder=2.5,
    )
    return line


def draw_band(
    panel: Panel, steps: Array, low: Array, high: Array, colour: str, alpha: float
) -> None:
    if len(steps) == 1:  # a band of no width could not be seen
        steps = np.array([steps[0] - 0.1, steps[0] + 0.1])
        low, high = np.repeat(low, 2), np.repeat(high, 2)
    panel.axes.fill_between(steps, low, high, color=colour, alpha=alpha, linewidth=0, zorder=1.5)


def legend_line(colour: str, dashes: int) -> Line2D:
    """A line for the legend alone."""
    return Line2D([], [], color=colour, linestyle=DASHES[dashes], linewidth=line_width())


def strong_grey() -> str:
    """A grey between the text's colour and that of a crowd."""
    return grey(axes_background(), 0.7)


def line_width() -> float:
    return float(matplotlib.rcParams["lines.linewidth"])


def finish_y_axis(panel: Panel, metric: str) -> None:
    axes = panel.axes
    values = np.concatenate([np.empty(0), *panel.values])
    name = readable(metric)
    floor = log_floor(metric, values)
    if floor is not None:
        highest = np.concatenate([high[np.isfinite(high)] for _, _, high in panel.extents])
        use_log_scale(axes.yaxis, floor, float(highest.max()))
        if (values == 0).any():
            name = _with_zeros_told(panel, name, f"{floor:.2g}")
    if not np.isfinite(values).any():
        axes.set_yticks([])
        axes.text(
            0.5, 0.5, "no finite values", color=CROWD_GREY, ha="center", va="center",
            transform=axes.transAxes,
        )  # fmt: skip
    if panel.style.add_ylabels:
        panel.write(axes.yaxis.label, name)


def _with_zeros_told(panel: Panel, name: str, floor: str) -> str:
    """The axis' name, which says where zeros are; a warning does where axes have no names."""
    if not panel.style.add_ylabels:
        warnings.warn(f"{name}: zeros are drawn at {floor}, on a log scale.", stacklevel=6)
    return f"{name}, 0 drawn at {floor}"


def finish_x_axis(panels: Sequence[Panel], step: str) -> None:
    """Finish the x axis, which is a single one even where it shows below several panels."""
    axes = panels[0].axes
    steps = [x for panel in panels for x, _, _ in panel.extents if len(x)]
    if all(np.array_equal(x, np.round(x)) for x in steps):
        axes.xaxis.set_major_locator(
            MaxNLocator(nbins="auto", integer=True, min_n_ticks=2, steps=[1, 2, 5, 10])
        )
    if steps:
        first, last = min(x[0] for x in steps), max(x[-1] for x in steps)
        if first == last:
            axes.set_xlim(first - 0.5, first + 0.5)
            axes.set_xticks([float(first)])
        elif not any(np.isfinite(low).any() for panel in panels for _, low, _ in panel.extents):
            axes.set_xlim(first, last)
    for panel in panels:
        if panel.style.add_xlabels and panel.axes.xaxis.get_tick_params()["labelbottom"]:
            panel.write(panel.axes.xaxis.label, readable(step))
