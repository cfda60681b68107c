"""One row per run: its record, and what a scheduler says about it."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from .texts import duration_text, error_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

    from .._grid.run import GridRun
    from .._grid.schedulers import SchedulerReport


DOUBTFUL_S = 30 * 60  # an owner renews its heartbeat every 30 s


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
    built_on: str | None = None  # runs that were trained anew since this one was built on them
    continued: str | None = None  # how its configuration changed while it was trained
    job: str | None = None  # what a scheduler says about it
    advice: str | None = None
    is_blocked: bool = False  # the job will not start until somebody acts


def row_of(record: RunRecord, *, now: datetime, metric: str | None = None) -> Row:
    """What a table says about one run.

    Args:
        record: The run, as `find_runs` returns it.
        now: The time against which the age of the heartbeat is measured.
        metric: The metric to show; None takes the one that the run itself calls its best.
    """
    from expkit_bookkeeping.reading import continuation_text, metric_outcome

    progress = record.progress or {}
    value, step = metric_outcome(record, metric)
    age = None
    heartbeat_at = _time(record.heartbeat_at)
    if record.state in ("running", "lost", "unknown") and heartbeat_at is not None:
        age = max(0.0, (now - heartbeat_at).total_seconds())
    return Row(
        run_name=record.run_name,
        state=record.state,
        attempt=record.attempt,
        step=_whole(progress.get("step")),
        total=_whole(progress.get("total")),
        elapsed_s=record.elapsed_s,
        best=value,
        best_step=_whole(step),
        heartbeat_age_s=age,
        error=error_line(record.error) or record.reason or _doubt(record, age),
        built_on=_changed_uses(record),
        continued=continuation_text(record.continued) or None,
    )


def _changed_uses(record: RunRecord) -> str | None:
    from expkit_bookkeeping.launching import printable
    from expkit_bookkeeping.reading import change_since, used_runs

    changes = {use.name: change_since(use, record) for use in used_runs(record)}
    texts = [f"{printable(name)}: {change}" for name, change in changes.items() if change]
    return ", ".join(texts) or None


def _doubt(record: RunRecord, age_s: float | None) -> str | None:
    """Why a run that counts as running may be none; its owner cannot be asked from here."""
    if record.state != "running" or age_s is None or age_s <= DOUBTFUL_S:
        return None
    if record.host == platform.node():  # which was asked
        return None
    return (
        f"uncertain: {record.host or 'its host'} cannot be asked from here, and its last heartbeat "
        f"is {duration_text(age_s)} old; 30 minutes after run.json was written or copied it is lost"
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
        is_done = record is not None and record.state == "completed"
        if elsewhere is not None and not is_done and run.job is None:
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
        merged.append(
            replace(
                row,
                state=state,
                error=error,
                job=report.job,
                advice=report.advice,
                is_blocked=report.is_blocked,
            )
        )
    return merged


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


def last_sign(record: RunRecord) -> datetime | None:
    """When a run ended or gave its last sign of life; None if it never did."""
    for text in (record.ended_at, record.heartbeat_at, record.started_at):
        with suppress(ValueError):
            moment = datetime.fromisoformat(text or "")
            return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(text: str | None) -> datetime | None:
    """The time of a text with a time zone; None for any other text."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return None if time.tzinfo is None else time
