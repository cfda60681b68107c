"""Redrawing a saved figure in another style."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from .._data.errors import PlottingError
from .._data.files import read_bytes
from .._recipes.data_files import from_csv
from .._recipes.recipe import Recipe
from .._style.choice import as_style
from .._style.keys import FILETYPES, PlotStyle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .._style.choice import StyleLike


def restyle(
    path: str | PathLike[str],
    style: StyleLike | None = None,
    *,
    save_to: str | PathLike[str] | None = None,
) -> Figure:
    """Redraw a figure that was saved with `pickle: true`, as if it had been drawn so at first.

    Reads the data (`.csv`) and the recipe (`.json`) beside the figure, never the pickle.

    Args:
        path: The figure's path, with or without one of its suffixes.
        style: As for `PlotMetrics`; by default the style that it was drawn in.
        save_to: Where to save; nothing is written otherwise.

    Raises:
        PlottingError: If the data or the recipe is missing or damaged.
    """
    from .._figures.saving import save_figure
    from .._kinds.drawing import draw_figure

    base = figure_base(Path(path))
    recipe_file = base.with_name(f"{base.name}.json")
    data_file = base.with_name(f"{base.name}.csv")
    for file in (recipe_file, data_file):
        if not file.is_file():
            raise PlottingError(
                f"Cannot redraw {str(path)!r}: there is no {file}. Data and recipe are written "
                "beside a figure only in a style with pickle: true; draw it again from its runs."
            )
    try:
        recipe_json, data = read_bytes(recipe_file), read_bytes(data_file)
    except OSError as error:
        raise PlottingError(f"Cannot redraw {str(path)!r}: {error}") from error
    recipe, old_style = Recipe.from_json(recipe_json, origin=str(recipe_file))
    figure_data = from_csv(data, recipe, origin=str(data_file))
    if style is None:
        new_style = PlotStyle.from_mapping(old_style, origin=str(recipe_file))
    else:
        new_style = as_style(style, base.parent)
    figure = draw_figure(recipe, figure_data, new_style)
    if save_to is not None:
        save_figure(figure, save_to, new_style)
    return figure


def figure_base(path: Path) -> Path:
    """A figure's path without the suffix of any of its files.

    Examples:
        >>> figure_base(Path("plots/lr_0.1.pdf")), figure_base(Path("plots/lr_0.1"))
        (PosixPath('plots/lr_0.1'), PosixPath('plots/lr_0.1'))
    """
    if path.suffix[1:] in (*FILETYPES, "pickle", "csv", "json"):
        return path.with_suffix("")
    return path
