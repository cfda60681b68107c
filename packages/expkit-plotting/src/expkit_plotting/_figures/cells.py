"""A table of coloured cells with numbers in them, as heat maps and confusion matrices are."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np

from .._style.background import axes_background
from .._style.colour_maps import text_colour
from .tick_labels import cell_px

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.text import Text
    from numpy import bool_
    from numpy.typing import NDArray

    from .._data.runs import Array

MOST_LINES = 40  # cells a side with lines between them; more would be nothing but lines
SMALLEST_PT = 5.0  # nobody reads smaller print
FILLED = (0.76, 0.7)  # of a cell's width and height, by its text
NOTE_SIZE = 0.72  # of a second line in a cell, of the size of the first
LINE_HEIGHT = 1.15  # in font sizes


def draw_cells(axes: Axes, values: Array, colours: Colormap, norm: Normalize) -> QuadMesh:
    """Fill a cell for each value, the first row at the top; NaN shows the background."""
    rows, columns = values.shape
    has_lines = max(rows, columns) <= MOST_LINES
    mesh = axes.pcolormesh(
        np.arange(columns + 1) - 0.5,
        np.arange(rows + 1) - 0.5,
        np.ma.masked_invalid(values),
        cmap=colours,
        norm=norm,
        edgecolors=[tuple(axes_background())] if has_lines else "face",
        linewidth=6 / max(rows, columns, 10) if has_lines else 0.0,
        rasterized=not has_lines,
        zorder=1,
    )
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return mesh


def write_in_cells(
    axes: Axes,
    mesh: QuadMesh,
    values: Array,
    texts: Sequence[Sequence[str]],
    *,
    notes: Sequence[Sequence[str]] | None = None,
    bold: NDArray[bool_] | None = None,
) -> bool:
    """Write numbers into cells, as large as the axis' names, or smaller until all fit.

    Args:
        axes: The axes, at their final size.
        mesh: The filled cells.
        values: Shape (rows, columns).
        texts: What is written; nothing in a cell of "".
        notes: A smaller second line, left out where there is no room for it.
        bold: Which cells are set in bold.

    Returns:
        Whether there was room to write.
    """
    longest = max((text for row in texts for text in row), key=len, default="")
    lines = [longest, max((text for row in notes or () for text in row), key=len, default="")]
    size = _size_that_fits(axes, values.shape, lines)
    if size is None and notes is not None:
        notes = None
        size = _size_that_fits(axes, values.shape, [longest, ""])
    if size is None or not longest:
        return False
    for row, column in np.ndindex(*values.shape):
        text = texts[row][column]
        note = notes[row][column] if notes is not None else ""
        if not text:
            continue
        colour = text_colour(mesh.to_rgba(values[row, column]))
        is_bold = bold is not None and bool(bold[row, column])
        shift = NOTE_SIZE * LINE_HEIGHT / 2 if note else 0.0
        _write(axes, (column, row), text, size, shift, colour, bold=is_bold)
        if note:
            down = -LINE_HEIGHT / 2 / NOTE_SIZE
            _write(axes, (column, row), note, NOTE_SIZE * size, down, colour, bold=False)
    return True


def add_colour_bar(axes: Axes, mesh: QuadMesh) -> Axes:
    """A colour bar at the right of axes; returns its own, whose y axis can be named."""
    place = axes.inset_axes((1.025, 0.0, 0.04, 1.0))
    axes.figure.colorbar(mesh, cax=place)
    for spine in place.spines.values():
        spine.set_visible(False)
    place.tick_params(which="both", length=2)
    return place


def _size_that_fits(axes: Axes, shape: Sequence[int], lines: Sequence[str]) -> float | None:
    """The font size at which a text and its note fit into a cell; None if it is too small."""
    square = axes.get_aspect() == 1  # which only drawing applies
    width = cell_px(axes, shape[1], square=square)[0]
    height = cell_px(axes, shape[0], square=square)[1]
    base = float(axes.yaxis.get_majorticklabels()[0].get_fontsize())
    text, note = lines
    widths = [_width_px(axes, text, base), NOTE_SIZE * _width_px(axes, note, base)]
    used = LINE_HEIGHT * base * axes.figure.dpi / 72 * (1 + (NOTE_SIZE if note else 0.0))
    size = base * min(1.0, FILLED[0] * width / max(*widths, 1.0), FILLED[1] * height / used)
    smallest = SMALLEST_PT / (NOTE_SIZE if note else 1.0)
    return size if size >= smallest else None


def _width_px(axes: Axes, text: str, size: float) -> float:
    if not text:
        return 0.0
    artist = _write(axes, (0, 0), text, size, 0.0, "black", bold=True)
    width = float(artist.get_window_extent().width)
    artist.remove()
    return width


def _write(
    axes: Axes, place: tuple[float, float], text: str, size: float, up: float, colour: str,
    *, bold: bool,
) -> Text:  # fmt: skip
    """A number at the middle of a cell, `up` font sizes above it.

    Where LaTeX draws the names, mathtext in its fonts draws these: LaTeX would take minutes for
    hundreds of different numbers.
    """
    usetex = matplotlib.rcParams["text.usetex"]
    if usetex:
        font = "mathbf" if bold else "mathrm"
        text = rf"$\{font}{{{text.replace('−', '-')}}}$"
    return axes.annotate(
        text, place, xytext=(0, up * size), textcoords="offset points", ha="center",
        va="center_baseline", fontsize=size, color=colour, usetex=False,
        fontweight="bold" if bold else "normal", annotation_clip=False, zorder=3,
    )  # fmt: skip


def number_texts(values: Array, *, is_log: bool) -> list[list[str]]:
    """Numbers with as many digits as tell them apart, "" for NaN.

    Examples:
        >>> number_texts(np.array([[0.9123, 0.981], [0.95, np.nan]]), is_log=False)
        [['0.912', '0.981'], ['0.950', '']]
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return [["" for _ in row] for row in values]
    span = float(np.ptp(finite)) or float(np.abs(finite).max()) or 1.0
    is_large = float(np.abs(finite).max()) >= 1e5 or span < 1e-5
    digits = int(np.clip(np.round(1.5 - np.log10(span)), 0, 6))
    form = ".2g" if is_log or is_large else f".{digits}f"
    return [
        [f"{value:{form}}".replace("-", "−") if np.isfinite(value) else "" for value in row]
        for row in values.tolist()
    ]
