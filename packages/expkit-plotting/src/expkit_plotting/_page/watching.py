"""A page that is written anew while runs train."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .._data.errors import PlottingError
from .._style.keys import PlotStyle
from .content import PageContent, page_content
from .places import write_report
from .rendering import render_page

AT_LEAST_S = 2.0  # between two looks at the files
SHARE = 0.2  # of the time that may be spent on making pages

_FILES = ("run.json", "metrics.jsonl")


def watch(
    folders: Sequence[Path],
    path: Path,
    style: PlotStyle,
    *,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[str]:
    """Write the page whenever runs have got further, until all of them are over.

    A page that took long to make is made less often. When the iteration ends, in whatever way, the
    last page no longer looks for newer ones.

    Args:
        folders: The experiments.
        path: The file.
        style: As for `page_content`.
        sleep: Waits so many seconds.
        clock: Seconds, monotonic.

    Yields:
        A line for each page, and while there is nothing to show.

    Raises:
        ImportError: If Jinja2 or expkit-bookkeeping is missing.
        OSError: If the page cannot be written.
        PlottingError: If there is a file by this name that is no report.
    """
    seen: object = None
    content: PageContent | None = None
    is_waiting = False
    try:
        while True:
            begin_s = clock()
            signature = _signature(folders)
            if signature != seen:
                try:
                    content = page_content(folders, page=path.parent, style=style)
                except PlottingError as error:
                    if content is not None:
                        raise
                    if not is_waiting:  # for a grid that is about to start
                        is_waiting = True
                        yield f"Waiting: {error}"
                else:
                    seen = signature
                    if not _is_going_on(content):
                        return
                    write_report(path, render_page(content, live=True))
                    yield _line(content)
            sleep(max(AT_LEAST_S, (clock() - begin_s) / SHARE))
    finally:
        if content is not None:
            write_report(path, render_page(content))


def _signature(folders: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files in which runs get further."""
    files = []
    for folder in folders:
        for path in (*sorted((folder / "training").glob("*")), folder):
            for name in (*_FILES, "grid_search.yaml"):
                try:
                    status = (path / name).stat()
                except OSError:
                    continue
                files.append((str(path / name), status.st_size, status.st_mtime_ns))
    return files


def _is_going_on(content: PageContent) -> bool:
    return any(
        experiment.pending or any(record.state == "running" for record in experiment.records)
        for experiment in content.experiments
    )


def _line(content: PageContent) -> str:
    from .content import state_counts

    counts = ", ".join(
        f"{count} {state}"
        for experiment in content.experiments
        for state, count in state_counts(experiment)
    )
    return f"{content.made_at:%H:%M:%S}  {counts}"
