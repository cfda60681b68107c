"""Colours that follow from the background, so that nothing stays white or black on a dark one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from numpy import float64
    from numpy.typing import ArrayLike, NDArray

WHITE = (1.0, 1.0, 1.0, 1.0)
GRID_OPACITY = 0.1  # of the text's colour, for the grid's
LEAST_CONTRAST = 0.2  # between the luminances of a line and its background, so that it is seen


def background_parameters(parameters: Mapping[str, Any]) -> dict[str, object]:
    """The rcParams of text, lines and grid that suit the background which a style asks for.

    A style may set `figure.facecolor` or `axes.facecolor` alone: axes have the figure's colour,
    and a figure has that of dark axes.

    Args:
        parameters: The style's rcParams.
    """
    axes = parameters.get("axes.facecolor")
    figure = parameters.get("figure.facecolor", parameters.get("savefig.facecolor", "auto"))
    if figure == "auto":
        figure = axes if axes is not None and is_dark(on(WHITE, axes)) else "white"
    paper = on(WHITE, figure)
    background = paper if axes is None else on(paper, axes)
    outside = (
        *("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"),
        *("lines.color", "patch.edgecolor", "hatch.color"),
    )
    return {
        "figure.facecolor": figure,
        "axes.facecolor": figure if axes is None else axes,
        "grid.color": grey(background, GRID_OPACITY),
        **dict.fromkeys(outside, foreground(paper)),
    }


def axes_background() -> NDArray[float64]:
    """The colour behind curves, by the rcParams in force: RGBA."""
    import matplotlib

    paper = on(WHITE, matplotlib.rcParams["figure.facecolor"])
    return on(paper, matplotlib.rcParams["axes.facecolor"])


def on(background: ArrayLike, colour: Any, opacity: float | None = None) -> NDArray[float64]:
    """How a colour, by any of matplotlib's names for it, looks on a background: RGBA."""
    from matplotlib.colors import to_rgba

    return blended(to_rgba(colour, opacity), background)


def blended(colours: ArrayLike, background: ArrayLike) -> NDArray[float64]:
    """Opaque colours that look as these do on a background.

    Args:
        colours: RGBA, shape (…, 4).
        background: RGBA of an opaque colour.

    Examples:
        >>> blended((1.0, 0.0, 0.0, 0.25), (1.0, 1.0, 1.0, 1.0)).tolist()
        [1.0, 0.75, 0.75, 1.0]
    """
    rgba = np.asarray(colours, dtype=float)
    opacity = rgba[..., 3:]
    mixed: NDArray[float64] = opacity * rgba + (1 - opacity) * np.asarray(background)
    mixed[..., 3] = 1
    return mixed


def luminance(colour: ArrayLike) -> float:
    """From 0, black, to 1, white; weighted as sRGB's primaries, without their gamma."""
    return float(np.asarray(colour)[:3] @ (0.2126, 0.7152, 0.0722))


def is_dark(colour: ArrayLike) -> bool:
    """Whether white text reads better than black on this colour."""
    return luminance(colour) < 0.5


def foreground(background: ArrayLike) -> str:
    """The colour of text on a background."""
    return "white" if is_dark(background) else "black"


def grey(background: ArrayLike, opacity: float) -> str:
    """The colour of text at this opacity, as `#rrggbb`.

    Examples:
        >>> grey(WHITE, 0.1), grey((0.0, 0.0, 0.0, 1.0), 0.7)
        ('#e6e6e6', '#b2b2b2')
    """
    from matplotlib.colors import to_hex

    return to_hex(tuple(on(background, foreground(background), opacity)))


def stands_out(colour: str) -> bool:
    """Whether a line of this colour can be seen on the axes' background.

    Examples:
        >>> stands_out("#0173b2"), stands_out("#ece133")
        (True, False)
    """
    background = axes_background()
    return abs(luminance(on(background, colour)) - luminance(background)) > LEAST_CONTRAST


def standing_out(colour: str) -> str:
    """The colour, or one as close to it as can be seen on the axes' background."""
    from matplotlib.colors import to_hex

    text = foreground(axes_background())
    mixtures = (to_hex(tuple(on(on(WHITE, colour), text, share))) for share in (0, 0.2, 0.4, 0.6))
    return next(filter(stands_out, mixtures), text)
