"""Colours for numbers: equal steps look equal, and text on them can be read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from numpy import float64
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[float64]

# Sequential maps of matplotlib and seaborn in which equal steps look equal.
UNIFORM = ("viridis", "cividis", "plasma", "inferno", "magma", "rocket", "mako", "flare", "crest")
# Ends of a ramp in OKLCh: a deep blue on a light background, a light one on a dark one.
DEEP, LIGHT = (0.36, 0.09, 250.0), (0.8, 0.08, 250.0)
# Between sRGB without gamma, the responses of the eye's cones, and OKLab (Ottosson, 2020,
# https://bottosson.github.io/posts/oklab/).
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def colour_map(palette: str | Sequence[str]) -> Colormap:
    """The style's palette, if it is a sequential one in which equal steps look equal; viridis."""
    import matplotlib

    name = palette if isinstance(palette, str) and palette in UNIFORM else "viridis"
    if name not in matplotlib.colormaps:
        import seaborn  # noqa: F401  # registers its own
    return matplotlib.colormaps[name]


def ramp(background: ArrayLike) -> Colormap:
    """From the background, which is what zero looks like, to a deep or a light blue."""
    from matplotlib.colors import ListedColormap

    start = oklab(np.asarray(background, dtype=float)[:3])
    lightness, chroma, hue = LIGHT if start[0] < 0.5 else DEEP
    angle = np.deg2rad(hue)
    end = np.array([lightness, chroma * np.cos(angle), chroma * np.sin(angle)])
    share = np.linspace(0, 1, 256)[:, None]
    return ListedColormap(list(map(tuple, _srgb(start + (end - start) * share))), name="ramp")


def text_colour(colour: ArrayLike) -> str:
    """Black or white, whichever stands out more from a colour, by the contrast of WCAG 2.

    Examples:
        >>> text_colour((0.99, 0.91, 0.14)), text_colour((0.27, 0.0, 0.33))
        ('black', 'white')
    """
    luminance = float(_linear(np.asarray(colour)[:3]) @ (0.2126, 0.7152, 0.0722))
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def oklab(colours: Array) -> Array:
    """SRGB colours, (…, 3) from 0 to 1, in OKLab, where distances are what the eye sees."""
    lab: Array = np.cbrt(_linear(colours) @ _TO_CONES.T) @ _TO_LAB.T
    return lab


def _srgb(lab: Array) -> Array:
    cones = (lab @ np.linalg.inv(_TO_LAB).T) ** 3
    linear = np.clip(cones @ np.linalg.inv(_TO_CONES).T, 0, 1)
    rgb: Array = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb


def _linear(rgb: Array) -> Array:
    linear: Array = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear
