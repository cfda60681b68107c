"""How the curve of each group is drawn: its colour and its line style."""

from __future__ import annotations

from collections.abc import Sequence

from .._data.groups import differing_keys, natural_key, value_text
from .._style.palette import CurveStyle, curve_styles, distinct_colours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._data.groups import Group


def group_styles(
    groups: Sequence[Group], keys: Sequence[str] | None, palette: str | Sequence[str]
) -> list[CurveStyle]:
    """A colour and a line style for each group, all different.

    Where two or more keys differ, one of them with two to four values shows as the line style
    and the rest as colour, so that the eye can compare along either.
    """
    plain = curve_styles(palette, len(groups))
    if keys is None or len(groups) < 4:
        return plain
    settings = [group.runs[0].settings for group in groups]
    differing = differing_keys(settings, keys)
    if len(differing) < 2:
        return plain
    for key in differing:
        values = [value_text(group_settings.get(key, "–")) for group_settings in settings]
        line_style_values = sorted(set(values), key=natural_key)
        rest = [
            tuple(value_text(group_settings.get(other, "–")) for other in differing if other != key)
            for group_settings in settings
        ]
        colour_values = list(dict.fromkeys(rest))
        colours = distinct_colours(palette, len(colour_values))
        enough_colours = len(set(colours)) == len(colour_values) <= 6
        if 2 <= len(line_style_values) <= 4 and enough_colours:
            return [
                CurveStyle(colours[colour_values.index(others)], line_style_values.index(value))
                for others, value in zip(rest, values, strict=True)
            ]
    return plain
