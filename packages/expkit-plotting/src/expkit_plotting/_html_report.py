"""`Report`: one HTML page that shows an experiment, or several side by side."""

from __future__ import annotations

import html
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._style.choice import StyleLike

FRAME_HEIGHT_PX = 720  # in a notebook


class Report:
    """A page with the curves, tables and configurations of experiments, in one file of HTML.

    The page needs no server and no network, and opens from a mail. A notebook shows it below the
    cell that ends with this object. Everything is read when the page is made, not before.

    Args:
        source: An experiment's folder, or several.
        style: Whose palette colours the curves, as for `PlotMetrics`; by default the one that the
            first experiment was configured with.

    Raises:
        ValueError: If no folder is given.

    Examples:
        >>> report = Report("results/digits")
        >>> report.path.as_posix()
        'results/digits/report.html'
    """

    def __init__(
        self,
        source: str | PathLike[str] | Sequence[str | PathLike[str]],
        style: StyleLike | None = None,
    ) -> None:
        sources = [source] if isinstance(source, (str, PathLike)) else list(source)
        if not sources:
            raise ValueError("Give at least one experiment's folder, such as results/digits.")
        self._folders = [Path(part) for part in sources]
        self._style = style

    @property
    def path(self) -> Path:
        """Where `save` puts the page: `report.html` in the first experiment's folder."""
        from ._page.places import report_path

        return report_path(self._folders)

    def html(self) -> str:
        """The page, with links to files as seen from `path`.

        Raises:
            ImportError: If Jinja2 or expkit-bookkeeping is missing.
            PlottingError: If a folder is no experiment, or holds no run.
        """
        return self._html(self.path.parent)

    def save(self, path: str | PathLike[str] | None = None) -> Path:
        """Write the page, as a whole.

        Args:
            path: The file; by default `path`.

        Raises:
            ImportError: If Jinja2 or expkit-bookkeeping is missing.
            OSError: If it cannot be written.
            PlottingError: If a folder is no experiment, or holds no run; or if there is a file
                by this name that is no report.
        """
        from ._page.places import write_report

        target = self.path if path is None else Path(path)
        write_report(target, self._html(target.parent))
        return target

    def __repr__(self) -> str:
        return f"<Report of {', '.join(map(str, self._folders))}>"

    def _repr_html_(self) -> str:
        # A frame of its own: the page's styles and scripts meet nothing of the notebook's.
        page = html.escape(self._html(None), quote=True)
        return (
            f'<iframe srcdoc="{page}" sandbox="allow-scripts allow-modals" '
            f'style="width:100%;height:{FRAME_HEIGHT_PX}px;border:1px solid #8884"></iframe>'
        )

    def _html(self, folder: Path | None) -> str:
        from ._page.content import page_content, page_style
        from ._page.rendering import render_page

        style = page_style(self._folders[0], self._style)
        return render_page(page_content(self._folders, page=folder, style=style))
