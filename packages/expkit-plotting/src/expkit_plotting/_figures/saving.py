"""Writing figures, each in every file type of its style."""

from __future__ import annotations

import csv
import io
import pickle
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from .._data.errors import PlottingError
from .._data.files import write_atomically
from .._recipes.data_files import to_csv
from .._style.keys import FILETYPES
from .styled import StyledFigure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .._style.keys import PlotStyle

# Without dates, here and in PostScript below: a file changes only when the figure does.
_METADATA: dict[str, dict[str, str | None]] = {
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}


def save_figure(figure: Figure, path: str | PathLike[str], style: PlotStyle) -> list[Path]:
    """See `PlotMetrics.save`."""
    if not isinstance(figure, StyledFigure):
        raise PlottingError(
            f"save takes a figure that PlotMetrics drew; got {type(figure).__name__}. "
            "Save others with their own savefig."
        )
    target = Path(path)
    filetypes = style.filetypes
    if target.suffix[1:] in FILETYPES:
        filetypes = (target.suffix[1:],)
        target = target.with_suffix("")
    written = []
    for filetype in filetypes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=filetype, metadata=_METADATA.get(filetype))
        content = buffer.getvalue()
        if filetype in ("eps", "ps"):
            content = re.sub(rb"(?m)^%%CreationDate: .*\n", b"", content)
        written.append(_beside(target, filetype))
        write_atomically(written[-1], content)
    files = {}
    if figure.shortened:
        files["names.csv"] = _table_of_names(figure.shortened)
    if style.pickle:
        files |= {
            "pickle": pickle.dumps(figure),
            "csv": to_csv(figure.data),
            "json": figure.recipe.to_json(figure.style.to_dict()),
        }
    for suffix, content in files.items():
        written.append(_beside(target, suffix))
        write_atomically(written[-1], content)
    return written


def _table_of_names(shortened: Sequence[tuple[str, str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("shown", "name"), *shortened])
    return text.getvalue().encode()


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f"{target.name}.{suffix}")  # with_suffix would cut `lr_0.1`
