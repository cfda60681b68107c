"""Which style a figure gets: the one asked for, else the experiment's own."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from .._data.errors import PlottingError
from .._data.run_folders import experiment_style
from .keys import PlotStyle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    StyleLike: TypeAlias = PlotStyle | str | PathLike[str] | Mapping[str, object]


def as_style(style: StyleLike | None, folder: Path | None) -> PlotStyle:
    """The style that a name, a file or a mapping stands for; for None the experiment's own."""
    if isinstance(style, PlotStyle):
        return style
    if style is None:
        configured = experiment_style(folder) if folder is not None else None
        if configured is None:
            return PlotStyle.load("Default")
        values, origin = configured
        return PlotStyle.from_mapping(values, origin=origin)
    if isinstance(style, (str, PathLike)):
        return PlotStyle.load(style, start=[folder] if folder is not None else [])
    if isinstance(style, Mapping):
        return PlotStyle.from_mapping(style)
    raise PlottingError(
        f"style must be a PlotStyle, a name, a YAML file or a mapping; got {type(style).__name__}."
    )
