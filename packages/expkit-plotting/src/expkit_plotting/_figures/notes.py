"""A second line below an axis' name, which says what the values are: "mean ± std, n = 3"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._style.escaping import centred
from .layout import FittedText

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.text import Text

    from .panel import Panel


@dataclass(frozen=True)
class NotedName:
    """An axis' name and what the note below it lists."""

    artist: Text
    name: str
    parts: Sequence[str]


def write_with_note(panel: Panel, noted: NotedName) -> None:
    """Write a name and its note, in as many lines as the axes are long.

    `fit_texts` shortens the name, and leaves the note as it is.

    Args:
        panel: The panel with the axes, at their final size or close to it.
        noted: What to write.
    """
    artist = noted.artist
    upright = artist.get_rotation() == 90
    frame = panel.axes.get_window_extent()
    available = float(frame.height if upright else frame.width)
    lines: list[str] = []
    for part in noted.parts:
        longer = f"{lines[-1]}, {part}" if lines else part
        artist.set_text(panel.escape(longer))
        extent = artist.get_window_extent()
        if lines and float(extent.height if upright else extent.width) > available:
            lines[-1] += ","
            lines.append(part)
        else:
            lines[-1:] = [longer]

    def with_note(text: str) -> str:
        return centred(panel.escape("\n".join([text, *lines])))

    artist.set_text(with_note(noted.name))
    panel.texts.append(FittedText(artist, noted.name, with_note, panel.axes))
