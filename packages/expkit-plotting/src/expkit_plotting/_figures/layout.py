"""The room that axes get, and texts that fit into it, measured with the renderer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .labels import broken, shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    from .styled import StyledFigure

PAD = 0.4  # between the figure's edge and what is drawn, in font sizes
SHORTEST_LABEL = 5  # shorter ones say nothing


@dataclass(frozen=True)
class FittedText:
    """A title or an axis' name, whose whole text may not fit; `axes` is None for the figure's."""

    artist: Text
    text: str
    escape: Callable[[str], str]
    axes: Axes | None


def tighten_layout(figure: StyledFigure, *, right_in: float = 0.0, below_in: float = 0.0) -> None:
    """Give the axes all the room that their labels, and a legend, leave."""
    width, height = figure.get_size_inches()
    rect = (0, below_in / height, 1 - right_in / width, 1) if right_in or below_in else None
    for _ in range(2):  # the first pass makes room for other ticks, the second for their labels
        figure.tight_layout(rect=rect, pad=PAD, h_pad=0.9, w_pad=1.2)
    # The layout engine that it sets would make every savefig draw twice.
    figure.set_layout_engine(None)


def fit_texts(figure: StyledFigure, texts: Sequence[FittedText]) -> None:
    """Break or shorten texts that would leave the figure, or reach into the next axes."""
    tighten_layout(figure)
    titles = [text.artist.get_window_extent().y0 for text in texts if text.axes is None]
    ceiling = min(titles, default=float(figure.bbox.height))
    shortened = [text for text in texts if _shorten_to_fit(figure, text, ceiling)]
    if shortened:
        tighten_layout(figure)


def _shorten_to_fit(figure: StyledFigure, text: FittedText, ceiling: float) -> bool:
    """Shorten a text that does not fit; returns whether it had to be."""
    artist = text.artist
    upright = artist.get_rotation() == 90
    available = _available_px(text, ceiling, upright=upright)
    length = len(text.text)
    used = _length_px(artist, upright=upright)
    if used <= available:
        return False
    while True:
        short = shorten(text.text, length)
        # A second line costs little beside the axes.
        artist.set_text(text.escape(broken(short) if upright else short))
        used = _length_px(artist, upright=upright)
        if used <= available or length <= SHORTEST_LABEL:
            if short != text.text:
                figure.shortened.append((short, text.text))
            return True
        length = max(min(int(length * available / used), length - 1), SHORTEST_LABEL)


def _length_px(artist: Text, *, upright: bool) -> float:
    extent = artist.get_window_extent()
    return extent.height if upright else extent.width


def _available_px(text: FittedText, ceiling: float, *, upright: bool) -> float:
    """How long a centred text may be: as far as the nearer end of its own place."""
    figure, axes = text.artist.figure, text.axes
    assert figure is not None
    if axes is None:
        return float(figure.bbox.width) * 0.98
    frame = axes.get_window_extent()
    cell = axes.get_subplotspec()
    assert cell is not None
    rows, columns, number, _ = cell.get_geometry()
    if upright:
        slot = figure.bbox.height / rows
        top = figure.bbox.height - slot * (number // columns)
        centre = (frame.y0 + frame.y1) / 2
        return 2 * float(min(top - centre, ceiling - centre, centre - (top - slot))) * 0.98
    slot = figure.bbox.width / columns
    left = slot * (number % columns)
    centre = (frame.x0 + frame.x1) / 2
    return 2 * float(min(centre - left, left + slot - centre)) * 0.98
