"""A figure that keeps its style: drawn again, saved elsewhere or unpickled, it looks the same."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .._data.files import REPORT, short_path
from .._style.rc_layer import rc_layer
from .opaque import OPAQUE_FILETYPES, opaque_copy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._recipes.data_files import FigureData
    from .._recipes.recipe import Recipe
    from .._style.keys import PlotStyle


class StyledFigure(Figure):
    """matplotlib's `Figure`, drawn and saved with rcParams of its own; needs no display."""

    # What it shows, and how; set once it is drawn.
    recipe: Recipe
    data: FigureData
    style: PlotStyle

    def __init__(self, parameters: dict[str, object], **keywords: Any) -> None:
        self.parameters = parameters
        self.shortened: list[tuple[str, str]] = []  # what is shown, "" for nothing; whole names
        super().__init__(**keywords)
        FigureCanvasAgg(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]  # not in the stubs
        FigureCanvasAgg(self)

    def draw(self, renderer: Any) -> None:
        """Draw with the figure's own rcParams, whatever the global ones are."""
        with rc_layer(self.parameters):
            super().draw(renderer)

    def savefig(self, fname: Any, **keywords: Any) -> None:
        """Save with the figure's own rcParams, whatever the global ones are.

        File types without transparency show the colours that it would give.
        """
        filetype = keywords.get("format") or Path(str(fname)).suffix[1:]
        with rc_layer(self.parameters), _quiet_about_dates():
            figure = opaque_copy(self) if filetype.lower() in OPAQUE_FILETYPES else self
            super(StyledFigure, figure).savefig(fname, **keywords)

    def _repr_html_(self) -> str | None:
        """In a notebook, the picture above a link to the experiment's report, if there is one."""
        runs = self.data if isinstance(self.data, tuple) else ()  # a confusion matrix has none
        reports = {run.folder.parent.parent / REPORT for run in runs if run.folder is not None}
        links = [path for path in sorted(reports) if path.is_file()]
        if not links:
            return None  # then it shows the picture alone
        picture = base64.b64encode(self._repr_png_()).decode()
        html = [f'<img src="data:image/png;base64,{picture}" alt="{escape(self.recipe.title)}">']
        for path in links:
            text = short_path(path)
            html.append(f'<div><a href="{quote(text)}" target="_blank">{escape(text)}</a></div>')
        return "".join(html)

    def _repr_png_(self) -> bytes:
        """What a notebook shows; it shows figures by itself only after pyplot was imported."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi)
        return buffer.getvalue()


@contextlib.contextmanager
def _quiet_about_dates() -> Iterator[None]:
    """FontTools warns of the dates in matplotlib's own fonts when it embeds them."""
    logger = logging.getLogger("fontTools.ttLib.tables._h_e_a_d")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
