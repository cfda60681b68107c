"""Axes under construction: curves, bands, what the legend and the layout need to know of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from ._layout import MOST_ENTRIES, Entries, Label
from ._palette import DASHES
from ._statistics import isolated, needs_log_scale, thinned
from ._style import PlotStyle
from ._text import readable

if TYPE_CHECKING:
    from matplotlib.artist import Artist

    from ._runs import Array

CROWD_GREY = "#7f7f7f"
FEW_POINTS = 5  # so few points are marked; of more, only those between gaps


@dataclass
class Canvas:
    """What drawing functions share: the axes and all that was drawn into them."""

    axes: Axes
    style: PlotStyle
    escape: Callable[[str], str]
    # x, lowest and highest y of each curve with its band
    drawn: "list[tuple[Array, Array, Array]]" = field(default_factory=list)
    # the legend's entries
    handles: "list[Artist]" = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    # the title and the axes' names
    around: list[Label] = field(default_factory=list)

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


def draw_line(canvas: Canvas, steps: "Array", values: "Array", colour: str, dashes: int) -> Line2D:
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
        markersize=2.5 * line_width(),
        zorder=2.5,
    )
    return line


def draw_band(
    canvas: Canvas, steps: "Array", low: "Array", high: "Array", colour: str, alpha: float
) -> None:
    if len(steps) == 1:  # a band of no width would not be seen
        steps = np.array([steps[0] - 0.1, steps[0] + 0.1])
        low, high = np.repeat(low, 2), np.repeat(high, 2)
    canvas.axes.fill_between(steps, low, high, color=colour, alpha=alpha, linewidth=0, zorder=1.5)


def sample(colour: str, dashes: int) -> Line2D:
    return Line2D([], [], color=colour, linestyle=DASHES[dashes], linewidth=line_width())


def line_width() -> float:
    return float(matplotlib.rcParams["lines.linewidth"])


def finish_values(canvas: Canvas, metric: str) -> None:
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


def finish_steps(canvases: Sequence[Canvas], step: str) -> None:
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
