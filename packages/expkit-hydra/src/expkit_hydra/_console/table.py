"""The table of runs, and the line of a run that has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .rows import Row
from .texts import age_text, duration_text, value_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rich.table import Table


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

    >>> row = Row("cnn_1", "completed", elapsed_s=1.2, best=0.981)
    >>> finished_line(3, 12, row, name_width=6, metric="val_accuracy")
    '\\[ 3/12] cnn_1   [green]completed  [/]     1.2 s  val_accuracy 0.981'
    """
    from rich.markup import escape

    digits = len(str(total))
    style = STYLES.get(row.state, "default")
    # The bracket is escaped: [3/12] would be markup.
    line = (
        f"\\[{position:>{digits}}/{total}] {escape(row.run_name):<{name_width}}  "
        f"[{style}]{row.state:<11}[/]  {duration_text(row.elapsed_s):>8}"
    )
    if row.best is not None and metric is not None:
        line += f"  {escape(metric)} {value_text(row.best)}"
    return line.rstrip()


_COLUMNS: tuple[tuple[str, Callable[[Row], str], bool], ...] = (
    ("attempt", lambda row: "" if row.attempt is None else str(row.attempt), True),
    ("epochs", progress_text, True),
    ("continued", lambda row: row.continued or "", False),
    ("duration", lambda row: duration_text(row.elapsed_s), True),
    ("BEST", lambda row: value_text(row.best), True),
    ("at step", lambda row: "" if row.best_step is None else str(row.best_step), True),
    ("heartbeat", lambda row: age_text(row.heartbeat_age_s), True),
    ("job", lambda row: row.job or "", False),
    ("built on", lambda row: row.built_on or "", False),
    ("error", lambda row: row.error or "", False),
)


def run_table(rows: Sequence[Row], *, metric: str | None, maximize: bool = True) -> Table:
    """A table of runs, the best in bold; columns that are empty for all runs are left out."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", overflow="fold")
    table.add_column("state", no_wrap=True)
    columns = [column for column in _COLUMNS if any(column[1](row) for row in rows)]
    for header, _, is_number in columns:
        name = (f"best {metric}" if metric else "best") if header == "BEST" else header
        table.add_column(escape(name), justify="right" if is_number else "left", overflow="fold")
    measured = [row.best for row in rows if row.best is not None and row.best == row.best]
    best = (max if maximize else min)(measured, default=None)
    for row in rows:
        style = "red" if row.is_blocked else STYLES.get(row.state, "default")
        cells = [escape(text(row)) for _, text, _ in columns]
        is_best = best is not None and row.best == best
        table.add_row(
            escape(row.run_name),
            f"[{style}]{row.state}[/]",
            *cells,
            style="bold" if is_best else None,
        )
    return table
