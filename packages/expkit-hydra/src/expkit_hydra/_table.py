"""What a sweep and `expkit status` show: lines, tables and counts; pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rich.table import Table

    from expkit_bookkeeping import RunRecord

    from ._grid import GridRun
    from ._schedulers import SchedulerReport

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
# The order of counts: what is done, what is under way, what went wrong.
STATES = (
    "completed", "skipped", "running", "pending", "interrupted", "cancelled", "lost", "failed",
    "unsubmitted", "unknown",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One run as tables show it.

    `elapsed_s` and `heartbeat_age_s` are seconds; `best_step` counts from 0, as logged.
    """

    run_name: str
    state: str
    attempt: int | None = None
    step: int | None = None
    total: int | None = None
    elapsed_s: float | None = None
    best: float | None = None
    best_step: int | None = None
    heartbeat_age_s: float | None = None
    error: str | None = None
    job: str | None = None  # what a scheduler says about it
    advice: str | None = None


def row_of(record: RunRecord, *, now: datetime, metric: str | None = None) -> Row:
    """What a table says about one run.

    Args:
        record: The run, as `find_runs` returns it.
        now: The time against which the age of the heartbeat is measured.
        metric: The metric to show; None takes the one that the run itself calls its best.
    """
    best = record.best or {}
    progress = record.progress or {}
    value, step = _number(best.get("value")), _whole(best.get("step"))
    if metric is not None and best.get("metric") != metric:
        value, step = _number((record.metrics or {}).get(metric)), None
    age = None
    if record.state in ("running", "lost", "unknown") and record.heartbeat_at is not None:
        age = max(0.0, (now - _time(record.heartbeat_at)).total_seconds())
    return Row(
        run_name=record.run_name,
        state=record.state,
        attempt=record.attempt,
        step=_whole(progress.get("step")),
        total=_whole(progress.get("total")),
        elapsed_s=record.elapsed_s,
        best=value,
        best_step=step,
        heartbeat_age_s=age,
        error=error_line(record.error),
    )


def rows_of(
    runs: Sequence[GridRun], records: Sequence[RunRecord], *, now: datetime, metric: str | None
) -> tuple[list[Row], int]:
    """A row for each run of a grid, in its order, and the number of runs that a rule skips.

    A completed run of the same configuration counts under whatever name it was trained, and is
    shown by that name.
    """
    by_name = {record.run_name: record for record in records}
    completed = {record.config_hash: record for record in records if record.state == "completed"}
    rows = []
    skipped = 0
    for run in runs:
        if run.skipped_by is not None:
            skipped += 1
            continue
        record, elsewhere = by_name.get(run.run_name), completed.get(run.config_hash)
        if elsewhere is not None and (record is None or record.state != "completed"):
            record = elsewhere
        if record is None:
            rows.append(Row(run.run_name, "pending"))
        else:
            rows.append(row_of(record, now=now, metric=metric))
    return rows, skipped


def with_reports(rows: Iterable[Row], reports: Mapping[str, SchedulerReport]) -> list[Row]:
    """The rows, with what a scheduler reports about runs, by name.

    An error of an earlier attempt says nothing about a run that waits or runs again.
    """
    merged = []
    for row in rows:
        report = reports.get(row.run_name)
        if report is None:
            merged.append(row)
            continue
        state = report.state or row.state
        error = None if state in ("pending", "running") else row.error
        merged.append(replace(row, state=state, error=error, job=report.job, advice=report.advice))
    return merged


def error_line(error: Mapping[str, object] | None) -> str | None:
    r"""The error of a run in one line: its type and the first line of its message.

    >>> error_line({"type": "ValueError", "message": "lr is negative\nmore", "traceback": ""})
    'ValueError: lr is negative'
    >>> error_line({"type": "SystemExit", "message": "143"})
    'stopped by SIGTERM (scancel?)'
    """
    if not error:
        return None
    message = str(error.get("message") or "").strip().partition("\n")[0]
    kind = str(error.get("type") or "error")
    if (kind, message) == ("SystemExit", "143"):  # this is how SIGTERM ends a run
        return "stopped by SIGTERM (scancel?)"
    return f"{kind}: {message}" if message else kind


def duration_text(seconds: float | None) -> str:
    """A duration for people.

    >>> [duration_text(seconds) for seconds in (None, 0.04, 1.23, 75, 3720, 90000)]
    ['', '0.0 s', '1.2 s', '1 min 15 s', '1 h 02 min', '1 d 01 h']
    """
    if seconds is None:
        return ""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = whole // 60
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = minutes // 60
    return f"{hours // 24} d {hours % 24:02d} h"


def size_text(size_bytes: int) -> str:
    """A size for people, in powers of 1000.

    >>> [size_text(size) for size in (0, 999, 1500, 2_500_000, 7_000_000_000)]
    ['0 B', '999 B', '1.5 kB', '2.5 MB', '7.0 GB']
    """
    if size_bytes < 1000:
        return f"{size_bytes} B"
    value = float(size_bytes)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def value_text(value: float | None) -> str:
    """A metric's value with four digits.

    >>> [value_text(value) for value in (None, 0.98104, 12345.6, 2.5e-7)]
    ['', '0.981', '1.235e+04', '2.5e-07']
    """
    return "" if value is None else f"{value:.4g}"


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


def counts_text(states: Iterable[str]) -> str:
    """How many runs are in which state.

    >>> counts_text(["failed", "completed", "completed"])
    '2 completed, 1 failed'
    """
    counts = Counter(states)
    order = [*STATES, *sorted(set(counts) - set(STATES))]
    return ", ".join(f"{counts[state]} {state}" for state in order if counts[state])


def owner_text(record: RunRecord) -> str:
    """The process that has or had a run, and its job."""
    text = f"process {record.pid} on {record.host}"
    if record.slurm is not None:
        text += f", Slurm job {record.slurm.get('job_id')}"
    return text


def run_count(number: int) -> str:
    """A number of runs.

    >>> [run_count(1), run_count(12)]
    ['1 run', '12 runs']
    """
    return "1 run" if number == 1 else f"{number} runs"


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
    ("duration", lambda row: duration_text(row.elapsed_s), True),
    ("BEST", lambda row: value_text(row.best), True),
    ("at step", lambda row: "" if row.best_step is None else str(row.best_step), True),
    ("heartbeat", lambda row: _ago(row.heartbeat_age_s), True),
    ("job", lambda row: row.job or "", False),
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
        style = STYLES.get(row.state, "default")
        cells = [escape(text(row)) for _, text, _ in columns]
        is_best = best is not None and row.best == best
        table.add_row(
            escape(row.run_name),
            f"[{style}]{row.state}[/]",
            *cells,
            style="bold" if is_best else None,
        )
    return table


def most_telling(
    rows: Sequence[Row], *, maximize: bool = True, limit: int = 40
) -> tuple[list[Row], int]:
    """The rows to show of a large grid, in their order, and how many were left out.

    What went wrong comes first, then the best by metric: that is what one looks for among a
    thousand runs; all of them are in results.csv.
    """
    if len(rows) <= limit:
        return list(rows), 0

    def rank(row: Row) -> tuple[int, float]:
        if row.state in ("failed", "interrupted", "lost", "unknown"):
            return 0, 0.0
        if row.best is None or row.best != row.best:  # NaN
            return 2, 0.0
        return 1, -row.best if maximize else row.best

    order = sorted(range(len(rows)), key=lambda index: rank(rows[index]))
    # At most half for what went wrong, or a broken grid would hide its own best runs.
    wrong = [index for index in order if rank(rows[index])[0] == 0][: limit // 2]
    others = [index for index in order if rank(rows[index])[0] != 0]
    kept = sorted([*wrong, *others[: limit - len(wrong)]])
    return [rows[index] for index in kept], len(rows) - len(kept)


def _ago(seconds: float | None) -> str:
    return "" if seconds is None else f"{duration_text(seconds)} ago"


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)  # "NaN" and "Infinity" are strings in strict JSON
    except ValueError:
        return None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(value: object) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
