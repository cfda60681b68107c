"""The table of runs, and the line of a run that has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from .layout import Column, fitted_table, print_fitted, text_width
from .rows import Row
from .texts import age_text, duration_text, value_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rich.console import Console, Group


STYLES = {
    "completed": "green",
    "failed": "bold red",
    "interrupted": "yellow",
    "lost": "yellow",
    "cancelled": "yellow",
    "unsubmitted": "yellow",
    "running": "cyan",
    "pending": "dim",
    "unknown": "magenta",
}


def progress_text(row: Row) -> str:
    """Epochs done, and of how many; steps count from 0, and beyond the epochs they are batches.

    Examples:
        >>> progress_text(Row("a", "running", step=12, total=20))
        '13/20'
        >>> progress_text(Row("a", "running", step=1500, total=20))
        'step 1500'
    """
    if row.step is None:
        return "" if row.total is None else f"0/{row.total}"
    if row.total is not None and row.step >= row.total:
        return f"step {row.step}"
    return f"{row.step + 1}" if row.total is None else f"{row.step + 1}/{row.total}"


def finished_line(
    position: int, total: int, row: Row, *, name_width: int, metric: str | None
) -> str:
    r"""The line that a sweep prints when a run has ended, in rich's markup.

    Examples:
        >>> row = Row("cnn_1", "completed", elapsed_s=1.2, best=0.981)
        >>> finished_line(3, 12, row, name_width=6, metric="val_accuracy")
        '\\[ 3/12] cnn_1   [green]completed  [/]     1.2 s  val_accuracy 0.981'
    """
    from rich.markup import escape

    digits = len(str(total))
    padding = " " * (name_width - text_width(row.run_name))
    style = STYLES.get(row.state, "default")
    # The bracket is escaped: [3/12] would be markup.
    line = (
        f"\\[{position:>{digits}}/{total}] {escape(row.run_name)}{padding}  "
        f"[{style}]{row.state:<11}[/]  {duration_text(row.elapsed_s):>8}"
    )
    if row.best is not None and metric is not None:
        line += f"  {escape(metric)} {value_text(row.best)}"
    return line.rstrip()


# Header, text, rank (see `Column`), whether numbers, whether sentences.
_COLUMNS: tuple[tuple[str, Callable[[Row], str], int, bool, bool], ...] = (
    ("attempt", lambda row: "" if row.attempt is None else str(row.attempt), 10, True, False),
    ("epochs", progress_text, 3, True, False),
    ("continued", lambda row: row.continued or "", 7, False, True),
    ("duration", lambda row: duration_text(row.elapsed_s), 4, True, False),
    ("best", lambda row: value_text(row.best), 1, True, False),
    ("at step", lambda row: "" if row.best_step is None else str(row.best_step), 9, True, False),
    ("heartbeat", lambda row: age_text(row.heartbeat_age_s), 6, True, False),
    ("job", lambda row: row.job or "", 5, False, True),
    ("built on", lambda row: row.built_on or "", 8, False, True),
    ("error", lambda row: row.error or "", 2, False, True),
)


def print_runs(
    screen: Console,
    rows: Sequence[Row],
    *,
    metric: str | None,
    maximize: bool = True,
    elsewhere: str | None = None,
) -> None:
    """Print a table of runs; see `run_table`."""
    table = run_table(
        rows, metric=metric, maximize=maximize, width=screen.width, elsewhere=elsewhere
    )
    print_fitted(screen, table)


def run_table(
    rows: Sequence[Row],
    *,
    metric: str | None,
    maximize: bool = True,
    width: int,
    elsewhere: str | None = None,
) -> Group:
    """A table of runs, the best in bold, that fits the terminal; see `fitted_table`."""
    columns = [
        Column("run", [row.run_name for row in rows]),
        Column(
            "state",
            [row.state for row in rows],
            styles=[_state_style(row) for row in rows],
        ),
    ]
    for header, text, rank, is_number, is_sentence in _COLUMNS:
        cells = [text(row) for row in rows]
        column = Column(header, cells, rank, is_number, is_sentence)
        if header == "best" and metric is not None:
            column = replace(column, header=f"best {metric}", short_header=header)
        columns.append(column)
    measured = [row.best for row in rows if row.best is not None and row.best == row.best]
    best = (max if maximize else min)(measured, default=None)
    styles = ["bold" if best is not None and row.best == best else None for row in rows]
    return fitted_table(columns, width=width, row_styles=styles, elsewhere=elsewhere)


def _state_style(row: Row) -> str:
    return "red" if row.is_blocked else STYLES.get(row.state, "default")
