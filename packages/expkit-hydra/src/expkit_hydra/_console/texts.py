"""Durations, sizes, values, counts, errors and a metric that nobody logs, as short texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord


# The order of counts: what is done, what is under way, what went wrong.
STATES = (
    "completed", "skipped", "running", "pending", "interrupted", "cancelled", "lost", "failed",
    "unsubmitted", "unknown",
)  # fmt: skip


def error_line(error: Mapping[str, object] | None) -> str | None:
    r"""The error of a run in one line: its type and the first line of its message.

    Examples:
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

    Examples:
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

    Examples:
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

    Examples:
        >>> [value_text(value) for value in (None, 0.98104, 12345.6, 2.5e-7)]
        ['', '0.981', '1.235e+04', '2.5e-07']
    """
    return "" if value is None else f"{value:.4g}"


def counts_text(states: Iterable[str]) -> str:
    """How many runs are in which state.

    Examples:
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


def unused_folders(folders: Mapping[str, str]) -> str:
    """Folders that the project's own files name and that expkit's runs do not take.

    >>> unused_folders({"hydra.sweep.subdir": "${hydra.job.num}"})
    "This project's own hydra.sweep.subdir (${hydra.job.num}) is not used."
    """
    names = " and ".join(f"{key} ({text})" for key, text in folders.items())
    return f"This project's own {names} {'is' if len(folders) == 1 else 'are'} not used."


def run_count(number: int) -> str:
    """A number of runs.

    Examples:
        >>> [run_count(1), run_count(12)]
        ['1 run', '12 runs']
    """
    return "1 run" if number == 1 else f"{number} runs"


def age_text(seconds: float | None) -> str:
    """How long ago something was."""
    return "" if seconds is None else f"{duration_text(seconds)} ago"


def unlogged(metric: str | None, records: Iterable[RunRecord]) -> str | None:
    """A note if runs were completed and none has logged `expkit.metric`; else None.

    Without the metric there is no best checkpoint, no order in the table and no objective, and
    nobody notices until they look for them.
    """
    if metric is None:
        return None
    completed = [record for record in records if record.state == "completed" and record.metrics]
    if not completed or any(metric in (record.metrics or {}) for record in completed):
        return None
    logged = sorted({name for record in completed for name in record.metrics or {}})
    near = get_close_matches(metric, logged, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return (
        f"expkit.metric is {metric!r}, which no completed run has logged: no best value, no best "
        f"checkpoint.{hint} Logged: {', '.join(logged)}."
    )
