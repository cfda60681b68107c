"""Where a page lies, and writing it over nothing but an earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .._data.errors import PlottingError
from .._data.files import REPORT, read_bytes, short_path, write_atomically

MARK = b'<meta name="generator" content="expkit report">'
_HEAD_BYTES = 4096  # in which the mark is


def report_path(folders: Sequence[Path]) -> Path:
    """The file of a report, in the folder of its first experiment.

    Examples:
        >>> report_path([Path("results/a"), Path("results/b")]).as_posix()
        'results/a/report_with_b.html'
    """
    others = "_".join(folder.resolve().name for folder in folders[1:])
    return folders[0] / (f"report_with_{others[:80]}.html" if others else REPORT)


def write_report(path: Path, page: str) -> None:
    """Write a page as a whole, over an earlier report or where there is no file.

    Raises:
        OSError: If it cannot be written.
        PlottingError: If there is a file by this name that is no report.
    """
    try:
        is_ours = MARK in read_bytes(path)[:_HEAD_BYTES]  # which never waits, as for a pipe
    except FileNotFoundError:
        is_ours = True
    if not is_ours:
        raise PlottingError(
            f"{short_path(path)} is no report of expkit, and is left as it is. "
            "Move it away, or write elsewhere: --out FILE."
        )
    write_atomically(path, page.encode())
