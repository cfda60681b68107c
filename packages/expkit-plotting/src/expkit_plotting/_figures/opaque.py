"""Figures for file types without transparency: what shines through gets the blended colour.

PostScript ignores opacity: a band that was meant to be pale would hide the curves.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.collections import (
    Collection,
    FillBetweenPolyCollection,
    LineCollection,
    PolyCollection,
)
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from .._style.background import WHITE, blended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from numpy import float64
    from numpy.typing import ArrayLike, NDArray

    Array: TypeAlias = NDArray[float64]

AnyFigure = TypeVar("AnyFigure", bound=Figure)

OPAQUE_FILETYPES = ("eps", "ps")
THINNESS = 0.5  # the exponent of a line's opacity in its width; the rest goes into its colour
SEAM_PT = 0.2  # the edge of a face; without it a viewer may show paper between two faces


def opaque_copy(figure: AnyFigure) -> AnyFigure:
    """A copy of a figure that looks the same and has no transparent colour."""
    copy: AnyFigure = pickle.loads(pickle.dumps(figure))  # matplotlib's way to copy a figure
    paper = blended(copy.get_facecolor(), WHITE)
    for axes in copy.axes:
        background = blended(axes.get_facecolor(), paper)
        _flatten_bands(axes, background)
        for artist in axes.findobj(_is_transparent):
            _make_opaque(artist, background)
    for artist in copy.findobj(_is_transparent):
        _make_opaque(artist, paper)
    return copy


def _colours(artist: Artist) -> dict[str, ArrayLike]:
    """The colours of an artist with their opacity, RGBA, by the property that sets them."""
    if isinstance(artist, Collection):
        artist.update_scalarmappable()
    if isinstance(artist, (Collection, Patch)):
        return {"facecolor": artist.get_facecolor(), "edgecolor": artist.get_edgecolor()}
    names = ["color"] if isinstance(artist, (Line2D, Text)) else []
    if isinstance(artist, Line2D):
        names += ["markerfacecolor", "markeredgecolor"]
    alpha = artist.get_alpha()
    return {name: to_rgba(getattr(artist, f"get_{name}")(), alpha) for name in names}


def _is_transparent(artist: Artist) -> bool:
    if isinstance(artist, AxesImage):
        return True  # a pixel of it may be
    alphas = [np.reshape(colour, (-1, 4))[:, 3] for colour in _colours(artist).values()]
    return any(bool(((alpha > 0) & (alpha < 1)).any()) for alpha in alphas)


def _make_opaque(artist: Artist, background: ArrayLike) -> None:
    if isinstance(artist, AxesImage):
        array = artist.get_array()
        assert array is not None
        pixels = artist.to_rgba(array, alpha=artist.get_alpha())
        artist.set_data(blended(pixels, background)[..., :3])
        artist.set_alpha(None)
        return
    colours = _colours(artist)
    artist.set_alpha(None)
    if isinstance(artist, Collection):
        artist.set_array(None)  # or it would colour the collection again
    if isinstance(artist, LineCollection):
        _make_thin(artist, np.asarray(colours["edgecolor"]), background)
        return
    artist.set(**{name: _visible_blended(colour, background) for name, colour in colours.items()})


def _visible_blended(colours: ArrayLike, background: ArrayLike) -> Array:
    """Blended colours, but for those that are not drawn at all."""
    rgba = np.asarray(colours)
    return np.where(rgba[..., 3:] > 0, blended(rgba, background), rgba)


def _make_thin(lines: LineCollection, colours: Array, background: ArrayLike) -> None:
    """Lines that are thin as well as pale, so that it is darker where many of them lie."""
    alpha = float(colours[:, 3].max())
    widths = (np.asarray(lines.get_linewidth()) * alpha**THINNESS).tolist()
    pale = np.hstack([colours[:, :3], np.full((len(colours), 1), alpha ** (1 - THINNESS))])
    dashes: Any = lines.get_linestyle()  # the stubs say what may be set; lengths are in points
    lines.set_color([tuple(colour) for colour in blended(pale, background).tolist()])
    lines.set_linewidth(widths)
    lines.set_linestyle(  # lengths are in line widths
        [
            (offset / width, dash and [length / width for length in dash])
            for (offset, dash), width in zip(dashes, widths, strict=True)
        ]
    )


def _flatten_bands(axes: Axes, background: Array) -> None:
    """Replace overlapping transparent bands by the faces that their edges make.

    The sides of all bands, sorted at every x, bound layers; a face is a stretch of a layer that the
    same bands cover.
    """
    bands = [
        collection
        for collection in axes.collections
        if isinstance(collection, FillBetweenPolyCollection)
        and collection.t_direction == "x"  # type: ignore[attr-defined]  # not in the stubs
        and _is_transparent(collection)
    ]
    if not bands:
        return
    colours = [
        to_rgba(np.asarray(band.get_facecolor())[0]) for band in bands for _ in band.get_paths()
    ]
    polygons = [
        (band.get_transform() - axes.transAxes).transform(path.vertices)
        for band in bands
        for path in band.get_paths()
    ]
    zorder = min(band.get_zorder() for band in bands)
    for band in bands:
        band.remove()
    faces = list(_faces(polygons))
    shades = [_composite([colours[index] for index in cover], background) for _, cover in faces]
    axes.add_collection(
        PolyCollection(
            [face for face, _ in faces],
            facecolors=shades,
            edgecolors=shades,
            linewidths=SEAM_PT,
            transform=axes.transAxes,
            zorder=zorder,
        ),
        autolim=False,
    )


def _composite(colours: Sequence[ArrayLike], background: Array) -> Array:
    """The colour that these give, the first drawn first."""
    for colour in colours:
        background = blended(colour, background)
    return background


def _faces(polygons: Sequence[Array]) -> Iterator[tuple[Array, tuple[int, ...]]]:
    """Polygons that do not overlap, each with the indices of the given ones that cover it.

    Args:
        polygons: Vertices in axes coordinates; x rises along one side and falls along the other.
    """
    ends = np.array([(vertices[:, 0].min(), vertices[:, 0].max()) for vertices in polygons])
    x = np.unique(np.concatenate([vertices[:, 0] for vertices in polygons]))
    sides = np.array([_sides(vertices, x) for vertices in polygons])  # (polygons, 2, columns)
    x = np.unique([*x, *_crossings(x, sides.reshape(-1, len(x)))])
    sides = np.array([_sides(vertices, x) for vertices in polygons])
    layers = np.sort(sides.reshape(-1, len(x)), axis=0)
    middle_x = (x[:-1] + x[1:]) / 2
    low, high = (sides[..., :-1] + sides[..., 1:]).swapaxes(0, 1) / 2
    there = (ends[:, :1] < middle_x) & (middle_x < ends[:, 1:])
    for bottom, top in itertools.pairwise(layers):
        middle = (bottom[:-1] + bottom[1:] + top[:-1] + top[1:]) / 4
        cover = there & (low < middle) & (middle < high)
        starts = np.flatnonzero((cover[:, 1:] != cover[:, :-1]).any(axis=0)) + 1
        for start, end in zip([0, *starts], [*starts, len(middle)], strict=True):
            covering = tuple(np.flatnonzero(cover[:, start]).tolist())
            if covering:
                stretch = slice(start, end + 1)
                lower = np.column_stack([x[stretch], bottom[stretch]])
                upper = np.column_stack([x[stretch], top[stretch]])
                yield np.concatenate([lower, upper[::-1]]), covering


def _sides(vertices: Array, x: Array) -> Array:
    """The lower and the upper side of a polygon at every x: (2, columns)."""
    left, right = vertices[:, 0].min(), vertices[:, 0].max()
    turns = np.flatnonzero(vertices[:, 0] == right)  # its end is upright
    there, back = vertices[: turns[0] + 1], vertices[turns[-1] :][::-1]
    there = there[np.flatnonzero(there[:, 0] == left)[-1] :]
    sides = [np.interp(x, side[:, 0], side[:, 1]) for side in (there, back)]
    return np.sort(sides, axis=0)


def _crossings(x: Array, lines: Array) -> list[float]:
    """Where any two of these lines cross between the given x."""
    crossings: list[float] = []
    for one, other in itertools.combinations(lines, 2):
        gap = one - other
        before = np.flatnonzero(gap[:-1] * gap[1:] < 0)
        share = gap[before] / (gap[before] - gap[before + 1])
        crossings += (x[before] + share * (x[before + 1] - x[before])).tolist()
    return crossings
