"""Where a legend goes, measured with the renderer, so that it hides no curve."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np

from .._style.background import WHITE, axes_background, foreground, is_dark, on
from .labels import ELLIPSIS, shorten, shorten_all
from .layout import SHORTEST_LABEL, tighten_layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend
    from matplotlib.transforms import Bbox, Transform
    from numpy import bool_, float64
    from numpy.typing import NDArray

    from .styled import StyledFigure

    # x, lowest and highest y of a curve with its band, in data coordinates, each (points,)
    CurveExtent: TypeAlias = tuple[NDArray[float64], NDArray[float64], NDArray[float64]]

MOST_ENTRIES = 30  # nobody reads a longer legend
INSIDE_ENTRIES = 8
INSIDE_SHARE = 0.45  # of the axes' area; a larger legend dwarfs the curves
AXES_MIN_SHARE = 0.6  # of the figure's width, beside a legend
GAP_PT = 6.0
NARROW = {"handlelength": 1.5, "handletextpad": 0.4, "columnspacing": 0.9}  # in font sizes
# In the order in which a reader expects a legend.
CORNERS = (
    ("upper right", 1, 1), ("lower right", 1, 0), ("upper left", 0, 1), ("lower left", 0, 0),
    ("upper center", 0.5, 1), ("lower center", 0.5, 0), ("center right", 1, 0.5),
    ("center left", 0, 0.5),
)  # fmt: skip


class LegendEntries:
    """The entries of one legend, before it is known where it fits."""

    def __init__(
        self,
        handles: Sequence[Artist],
        labels: Sequence[str],
        *,
        title: str,
        escape: Callable[[str], str],
        unlisted: Sequence[str] = (),
    ) -> None:
        self.handles = list(handles)
        self.labels = list(labels)
        self.title = title
        self.escape = escape
        self.unlisted = list(unlisted)  # for which there are too many entries
        self.shown_labels = self.labels
        self.shown_title = title

    def draw(self, axes: Axes, *, length: int | None = None, **keywords: Any) -> Legend:
        """Put the legend into `axes`, labels shortened to `length` characters."""
        self.shown_labels = self.labels if length is None else shorten_all(self.labels, length)
        legend = axes.legend(
            self.handles,
            [self.escape(label) for label in self.shown_labels],
            title=self.escape(self.shown_title) or None,
            alignment="left",
            **keywords,
        )
        legend.get_title().set_linespacing(1.4)
        paper = on(WHITE, matplotlib.rcParams["figure.facecolor"])
        if "bbox_to_anchor" not in keywords and is_dark(axes_background()) != is_dark(paper):
            for text in (legend.get_title(), *legend.get_texts()):
                text.set_color(foreground(axes_background()))
        return legend

    def fit_title(self, axes: Axes, available_px: float) -> None:
        """Break the title's lines, and shorten what is still too wide."""
        lines = self.title.split("\n")
        length = max(map(len, lines))
        while length > SHORTEST_LABEL:
            legend = self.draw(axes, loc="upper left")
            used_px = legend.get_title().get_window_extent().width + 2 * _border_pad_px(legend)
            legend.remove()
            if used_px <= available_px:
                return
            length = max(min(int(length * available_px / used_px), length - 1), SHORTEST_LABEL)
            self.shown_title = "\n".join(
                shorten(part, length) for line in lines for part in _wrapped(line, length)
            )

    def leave_out(self) -> None:
        """Note that none of it is shown, and say so."""
        self.shown_title, self.shown_labels = "", ["" for _ in self.labels]
        warnings.warn(
            "The figure is too narrow for its legend; the names are in the .names.csv beside it.",
            stacklevel=8,
        )

    def shortened(self) -> list[tuple[str, str]]:
        """What the legend shows instead of whole names, and these; "" where it shows nothing."""
        pairs = [*zip(self.shown_labels, self.labels, strict=True),
                 *(("", label) for label in self.unlisted)]  # fmt: skip
        if self.title and (ELLIPSIS in self.shown_title or not self.shown_title):
            pairs.insert(0, (self.shown_title, self.title))
        return [(shown, whole) for shown, whole in pairs if shown != whole]


def _border_pad_px(legend: Legend) -> float:
    """Between a legend's frame and its entries."""
    figure = legend.get_figure(root=True)
    assert figure is not None
    font_px = float(legend.get_texts()[0].get_fontsize()) * figure.dpi / 72
    return float(matplotlib.rcParams["legend.borderpad"]) * font_px


def _wrapped(line: str, length: int) -> list[str]:
    return textwrap.wrap(line, length, break_long_words=False, break_on_hyphens=False)


def place_legend(
    figure: StyledFigure, axes: Axes, entries: LegendEntries, extents: Sequence[CurveExtent]
) -> None:
    """Put a legend where it hides no curve: inside, else at the right, else below.

    The figure keeps its width, which is that of a column of text; where the legend goes below,
    the figure grows in height, so that the axes never shrink.

    Args:
        figure: The figure, complete but for this legend, after `fit_texts`.
        axes: Its only axes.
        entries: The legend's entries.
        extents: Where every curve runs, with its band.
    """
    dpi = figure.dpi
    width_in = float(figure.get_size_inches()[0])
    entries.fit_title(axes, (width_in - 2 * GAP_PT / 72) * dpi)
    _place_where_it_fits(figure, axes, entries, extents)
    figure.shortened += entries.shortened()


def _place_where_it_fits(
    figure: StyledFigure, axes: Axes, entries: LegendEntries, extents: Sequence[CurveExtent]
) -> None:
    if len(entries.labels) <= INSIDE_ENTRIES and _place_inside(axes, entries, extents):
        return
    dpi = figure.dpi
    width_in = float(figure.get_size_inches()[0])
    legend = entries.draw(axes, loc="upper left")
    legend_in = _extent(legend).width / dpi + GAP_PT / 72
    height_in = _extent(legend).height / dpi
    axes_in = axes.get_window_extent().width / dpi
    fits_beside = axes_in - legend_in >= AXES_MIN_SHARE * width_in
    if fits_beside and height_in <= axes.get_window_extent().height / dpi:
        legend.remove()
        legend = entries.draw(
            axes, loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0,
            bbox_transform=axes.transAxes + _shift(figure, GAP_PT),
        )  # fmt: skip
        legend.set_in_layout(False)
        tighten_layout(figure, right_in=legend_in)
        return
    _place_below(figure, axes, entries, legend)


def place_legend_below(figure: StyledFigure, axes: Axes, entries: LegendEntries) -> None:
    """Put a legend below the axes; the figure grows, so that they do not shrink."""
    _place_below(figure, axes, entries, entries.draw(axes, loc="upper left"))
    figure.shortened += entries.shortened()


def _place_inside(axes: Axes, entries: LegendEntries, extents: Sequence[CurveExtent]) -> bool:
    legend = entries.draw(axes, loc="upper right")
    frame = axes.get_window_extent()
    extent = _extent(legend)
    # The space between axes and legend must stay free, too.
    pad = _border_pad_px(legend)
    share_x = (extent.width + 2 * pad) / frame.width
    share_y = (extent.height + 2 * pad) / frame.height
    if share_x * share_y <= INSIDE_SHARE and share_x <= 0.95:
        columns = _occupied(axes, extents)
        for location, x, y in CORNERS:
            left, bottom = x * (1 - share_x), y * (1 - share_y)
            if not _hits(columns, left, left + share_x, bottom, bottom + share_y):
                legend.remove()
                entries.draw(axes, loc=location)
                return True
    legend.remove()
    return False


def _place_below(figure: StyledFigure, axes: Axes, entries: LegendEntries, legend: Legend) -> None:
    dpi = figure.dpi
    width_in, height_in = (float(size) for size in figure.get_size_inches())
    available = (width_in - 2 * GAP_PT / 72) * dpi

    def draw_below(columns: int, length: int | None, spacing: Mapping[str, float]) -> Legend:
        legend.remove()
        return entries.draw(
            axes,
            length=length,
            **spacing,
            loc="lower center",
            bbox_to_anchor=(0.5, 0),
            borderaxespad=0,
            bbox_transform=figure.transFigure + _shift(figure, 0, 2.0),
            ncols=columns,
        )

    count = len(entries.labels)
    columns = min(count, max(int(available // max(_extent(legend).width, 1)), 1) + 1)
    length = None
    while True:
        # No last column with a single entry where fewer columns have as many rows.
        columns = math.ceil(count / math.ceil(count / columns))
        for spacing in ({}, NARROW):
            legend = draw_below(columns, length, spacing)
            if _extent(legend).width <= available:
                break
        if _extent(legend).width <= available:
            break
        if columns > 1:
            columns -= 1
            continue
        # A single label is wider than the figure.
        longest = length or max(len(label) for label in entries.labels)
        length = min(int(longest * available / _extent(legend).width), longest - 1)
        if length < SHORTEST_LABEL:
            legend.remove()
            entries.leave_out()
            return
    below_in = _extent(legend).height / dpi
    legend.set_in_layout(False)
    figure.set_size_inches(width_in, height_in + below_in)
    tighten_layout(figure, below_in=below_in)


def place_legend_in_panel(
    figure: StyledFigure, axes: Axes, entries: LegendEntries, extents: Sequence[CurveExtent]
) -> None:
    """Put a small legend inside, and stretch the y axis where it would hide a curve."""
    if _place_inside(axes, entries, extents):
        return
    for columns in (len(entries.labels), 1):
        legend = entries.draw(axes, loc="upper right", ncols=columns)
        if _extent(legend).width <= axes.get_window_extent().width:
            break
        legend.remove()
    else:
        entries.leave_out()
        figure.shortened += entries.shortened()
        return
    share = _extent(legend).height / axes.get_window_extent().height + 0.04
    share = min(share, 0.4)
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(low, high * (high / low) ** (share / (1 - share)))
    else:
        axes.set_ylim(low, high + (high - low) * share / (1 - share))
    tighten_layout(figure)  # the new ticks may be wider


def _occupied(axes: Axes, extents: Sequence[CurveExtent]) -> NDArray[float64]:
    """The lowest and highest point of any curve, in 200 columns of the axes: (200, 2)."""
    edges = np.full((200, 2), np.nan)
    to_axes = axes.transData + axes.transAxes.inverted()
    grid = (np.arange(200) + 0.5) / 200
    for x, low, high in extents:
        finite = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
        if not finite.any():
            continue
        bottom = to_axes.transform(np.column_stack([x[finite], low[finite]]))
        top = to_axes.transform(np.column_stack([x[finite], high[finite]]))
        if len(bottom) == 1:
            near = np.abs(grid - bottom[0, 0]) < 0.02
            lows, highs = np.where(near, bottom[0, 1], np.nan), np.where(near, top[0, 1], np.nan)
        else:
            lows = np.interp(grid, bottom[:, 0], bottom[:, 1], left=np.nan, right=np.nan)
            highs = np.interp(grid, top[:, 0], top[:, 1], left=np.nan, right=np.nan)
        np.fmin(edges[:, 0], lows, out=edges[:, 0])
        np.fmax(edges[:, 1], highs, out=edges[:, 1])
        # Spikes between the columns' centres.
        column = np.clip((bottom[:, 0] * 200).astype(int), 0, 199)
        np.fmin.at(edges[:, 0], column, bottom[:, 1])
        np.fmax.at(edges[:, 1], column, top[:, 1])
    return edges


def _hits(columns: NDArray[float64], left: float, right: float, bottom: float, top: float) -> bool:
    start, end = max(int(left * 200) - 2, 0), min(int(np.ceil(right * 200)) + 2, 200)
    lows, highs = columns[start:end, 0], columns[start:end, 1]
    inside: NDArray[bool_] = (highs >= bottom) & (lows <= top)
    return bool(inside.any())


def _extent(legend: Legend) -> Bbox:
    return legend.get_window_extent()


def _shift(figure: StyledFigure, right_pt: float, up_pt: float = 0.0) -> Transform:
    from matplotlib.transforms import ScaledTranslation

    return ScaledTranslation(right_pt / 72, up_pt / 72, figure.dpi_scale_trans)
