"""Which characters the fonts in force can draw, and what is said of the others."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

MOST_NAMED = 8


def has_glyph(character: str) -> bool:
    """Whether a font of the rcParams in force has a glyph for the character."""
    return any(ord(character) in _code_points(file) for file in _font_files())


def missing_glyphs_text(characters: Iterable[str], *, latex: bool) -> str:
    """One sentence that names the characters for which there is no glyph, and a way out."""
    names = [f"{character} (U+{ord(character):04X})" for character in characters]
    listed = ", ".join(names[:MOST_NAMED])
    if len(names) > MOST_NAMED:
        listed += f" and {len(names) - MOST_NAMED} more"
    if latex:
        return f"LaTeX's fonts lack {listed}: drawn as ?. A style with latex: false draws more."
    return (
        f"The style's fonts lack {listed}: drawn as ?. Set font.family in the style's rcParams to "
        "a font that has them."
    )


def _font_files() -> list[str]:
    import matplotlib
    from matplotlib.font_manager import FontProperties, findfont

    names: list[str] = []
    for family in matplotlib.rcParams["font.family"]:
        key: Any = f"font.{family}"  # of a generic family, such as serif
        names += matplotlib.rcParams.get(key, [family])
    return [str(findfont(FontProperties(family=[name]))) for name in names]


@lru_cache
def _code_points(file: str) -> frozenset[int]:
    from matplotlib.font_manager import get_font

    return frozenset(get_font(file).get_charmap())
