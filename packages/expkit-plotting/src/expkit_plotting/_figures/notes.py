"""A second line below an axis' name, which says what the values are: "mean ± std, n = 3"."""

from __future__ import annotations

from collections.abc import Sequence

from .._style.escaping import centred
from .layout import FittedText

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.text import Text

    from .panel import Panel


def write_with_note(panel: Panel, artist: Text, name: str, parts: Sequence[str]) -> None:
    """Write a name and below it the parts of a note, in as many lines as the axes are long.

    Args:
        panel: Whose axes it names, at their final size or close to it.
        artist: The axis' name.
        name: Its text; `fit_texts` shortens it, and leaves the note as it is.
        parts: What the note lists.
    """
    upright = artist.get_rotation() == 90
    frame = panel.axes.get_window_extent()
    available = float(frame.height if upright else frame.width)
    lines: list[str] = []
    for part in parts:
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

    artist.set_text(with_note(name))
    panel.texts.append(FittedText(artist, name, with_note, panel.axes))
