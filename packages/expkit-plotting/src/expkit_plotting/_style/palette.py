"""Colours and line styles that colour-blind readers, too, can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .._data.errors import PlottingError, near_match
from .background import standing_out, stands_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.typing import LineStyleType

# seaborn.palettes.SEABORN_PALETTES (0.13.2), repeated because importing seaborn takes longer
# than drawing; a test compares them. "colorblind" has ten colours that were chosen to differ
# for readers with deuteranopia and protanopia.
SEABORN = {
    "colorblind": "0173B2 DE8F05 029E73 D55E00 CC78BC CA9161 FBAFE4 949494 ECE133 56B4E9",
    "deep": "4C72B0 DD8452 55A868 C44E52 8172B3 937860 DA8BC3 8C8C8C CCB974 64B5CD",
    "muted": "4878D0 EE854A 6ACC64 D65F5F 956CB4 8C613C DC7EC0 797979 D5BB67 82C6E2",
    "pastel": "A1C9F4 FFB482 8DE5A1 FF9F9B D0BBFF DEBB9B FAB0E4 CFCFCF FFFEA3 B9F2F0",
    "bright": "023EFF FF7C00 1AC938 E8000B 8B2BE2 9F4800 F14CC1 A3A3A3 FFC400 00D7FF",
    "dark": "001C7F B1400D 12711C 8C0800 591E71 592F0D A23582 3C3C3C B8850A 006374",
}
# Indices of those colours of "colorblind" that can be told apart by their hue alone; orange and
# red (3), or grey (7) and green, cannot.
DISTINCT = (0, 1, 2, 9, 4, 5)
# Palettes that seaborn computes; it is imported for these only.
COMPUTED = ("husl", "hls", "rocket", "mako", "flare", "crest", "vlag", "icefire")
COMPUTED_PREFIXES = ("ch:", "light:", "dark:", "blend:", "husl:", "hls:", "cubehelix")

# Solid, dashed, dash-dotted, dotted; lengths in line widths.
DASHES: tuple[LineStyleType, ...] = (
    "-",
    (0, (4.5, 1.8)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (1.2, 1.2)),
    (0, (6, 1.5, 1.2, 1.5, 1.2, 1.5)),
)


class CurveStyle(NamedTuple):
    """How a curve is drawn: its colour as `#rrggbb`, and an index into `DASHES`."""

    colour: str
    dashes: int


def check_palette(palette: object) -> str | tuple[str, ...]:
    """The palette unchanged, if it is one.

    Raises:
        PlottingError: If it does not name a palette, or holds something that is not a colour.
    """
    if isinstance(palette, str):
        if palette in SEABORN or palette in COMPUTED or palette.startswith(COMPUTED_PREFIXES):
            return palette
        import matplotlib

        if palette not in matplotlib.colormaps:
            names = [*SEABORN, *COMPUTED, *matplotlib.colormaps]
            raise PlottingError(
                f"palette must be a seaborn palette ({', '.join(SEABORN)}, …), a matplotlib "
                f"colormap or a list of colours; got {palette!r:.80}.{near_match(palette, names)}"
            )
        return palette
    if not isinstance(palette, Sequence) or not palette:
        raise PlottingError(
            f"palette must be a name or a list of colours such as ['#0173B2']; got {palette!r:.80}."
        )
    from matplotlib.colors import is_color_like

    for colour in palette:
        if not is_color_like(colour):
            raise PlottingError(f"palette: {colour!r} is not a colour matplotlib knows.")
    return tuple(palette)


def colours(palette: str | Sequence[str], count: int) -> list[str]:
    """At least one and at most `count` distinct colours of a palette, as `#rrggbb`.

    Lists and named palettes give their colours in order, colormaps are sampled evenly.
    """
    from matplotlib.colors import to_hex

    if not isinstance(palette, str):
        return [to_hex(colour) for colour in palette][: max(count, 1)]
    if palette in SEABORN:
        return [f"#{code.lower()}" for code in SEABORN[palette].split()][: max(count, 1)]
    if palette in COMPUTED or palette.startswith(COMPUTED_PREFIXES):
        import seaborn

        return [to_hex(colour) for colour in seaborn.color_palette(palette, max(count, 1))]
    import matplotlib
    from matplotlib.colors import ListedColormap

    colormap = matplotlib.colormaps[palette]
    if isinstance(colormap, ListedColormap) and colormap.N <= 20:  # qualitative, as tab10
        return [to_hex(colormap(index)) for index in range(min(colormap.N, max(count, 1)))]
    # Both ends of most colormaps are too light or too dark for a line.
    return [to_hex(colormap(0.1 + 0.75 * (i + 0.5) / max(count, 1))) for i in range(max(count, 1))]


def distinct_colours(palette: str | Sequence[str], count: int) -> list[str]:
    """`count` colours for curves that differ in colour alone, or fewer if there are no more."""
    if palette == "colorblind":
        ten = colours(palette, 10)
        return [ten[index] for index in DISTINCT][:count]
    return [colour for colour in colours(palette, count) if stands_out(colour)]


def curve_styles(palette: str | Sequence[str], count: int) -> list[CurveStyle]:
    """A style for each of `count` curves; styles repeat only after all have been used.

    Every third curve changes the line style, because among the colours of "colorblind" blue
    and purple, or orange and red, come close for colour-blind readers; a test measures it.
    """
    shades = colours(palette, count)
    visible_shades = [shade for shade in shades if stands_out(shade)]
    if len(visible_shades) >= min(count, 5):
        shades = visible_shades
    elif isinstance(palette, str):  # colours in a list are meant
        shades = [standing_out(shade) for shade in shades]
    styles = [
        CurveStyle(shade, (index // 3 + turn) % len(DASHES))
        for turn in range(len(DASHES))
        for index, shade in enumerate(shades)
    ]
    return [styles[index % len(styles)] for index in range(count)]
