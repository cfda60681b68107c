"""`status --watch`: a table that is drawn again, or a line for each run that starts or ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from .._console.layout import text_width
from .._console.rows import most_telling
from .._console.screen import console
from .._console.table import finished_line, run_table
from .overview import UNFINISHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rich.console import Console, Group

    from .overview import Overview

MOST_LOOKING = 0.2  # of the time; the rest belongs to those who write these files
LINES_BESIDE = 6  # of the screen, beside the rows: header, rule, counts, what has no room


def watch(
    read: Callable[[], Overview],
    *,
    interval_s: float,
    screen: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Overview:
    """Show the runs until all are over; on a terminal as a table in place, elsewhere as lines.

    Args:
        read: Looks at the runs.
        interval_s: Seconds from one look to the next; longer where a look takes long.
        screen: Where to show them; None: standard output.
        clock: Seconds.
        sleep: Waits for seconds.

    Returns:
        The runs at the end.
    """
    from contextlib import nullcontext

    from rich.live import Live

    screen = console() if screen is None else screen
    lines = Lines(screen)
    # Drawn when there is something new: a thread of rich's own would draw the same again.
    live = Live(console=screen, auto_refresh=False, transient=True) if screen.is_terminal else None
    with live or nullcontext():
        while True:
            begin_s = clock()
            overview = read()
            if live is not None:
                live.update(picture(overview, screen), refresh=True)
            else:
                lines.show(overview)
            if overview.is_over:
                return overview
            looking_s = clock() - begin_s
            sleep(max(interval_s - looking_s, looking_s * (1 / MOST_LOOKING - 1)))


def picture(overview: Overview, screen: Console) -> Group:
    """The table of the runs that tell most, as many as there is room for, and what it lacks."""
    from rich.console import Group
    from rich.text import Text

    room = max(3, screen.height - LINES_BESIDE - len(overview.advice))
    rows, hidden = most_telling(overview.rows, maximize=overview.maximize, limit=room)
    lines = [Text(f"… and {hidden} more")] if hidden else []
    lines.append(Text(overview.summary))
    lines += [Text(advice, style=style or "") for advice, style in overview.advice.items()]
    if not rows:
        return Group(*lines)
    table = run_table(rows, metric=overview.metric, maximize=overview.maximize, width=screen.width)
    return Group(table, *lines)


class Lines:
    """Prints one line for each run that starts or ends."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._states: dict[str, str] | None = None

    def show(self, overview: Overview) -> None:
        """Print what has changed since the last time; the first time only how many there are."""
        from rich.markup import escape

        rows = overview.rows
        states = {row.run_name: row.state for row in rows}
        before = self._states
        self._states = states
        if before is None:
            self._screen.print(overview.summary, markup=False, soft_wrap=True)
            return
        width = max((text_width(row.run_name) for row in rows), default=0)
        done = sum(row.state not in UNFINISHED for row in rows)
        for row in rows:
            if before.get(row.run_name, "pending") != row.state:
                line = finished_line(done, len(rows), row, name_width=width, metric=overview.metric)
                error = f"  {escape(row.error)}" if row.error else ""
                self._screen.print(line + error, soft_wrap=True)
