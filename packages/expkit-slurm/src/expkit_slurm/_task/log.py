"""The lines that a task writes into its own log, and how others read them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._cluster.current_job import CurrentJob
    from .._submissions.record import Submission


def open_task_log() -> Callable[[str], None]:
    """A function that writes to where this process's output goes now, wherever it goes later."""
    fd = os.dup(1)

    def write_line(text: str) -> None:
        data = f"{text}\n".encode("utf-8", "backslashreplace")
        with contextlib.suppress(OSError):
            while data:  # a full disk or pipe takes what fits
                data = data[os.write(fd, data) :]

    return write_line


def banner(job: CurrentJob) -> str:
    """When and where the task runs, and as which job."""
    import platform
    from datetime import datetime

    restarts = f", restart {job.restarts}" if job.restarts else ""
    return (
        f"[{datetime.now():%Y-%m-%d %H:%M:%S}] Slurm job {job.name} ({job.job_id}){restarts} on "
        f"{job.node or platform.node()}, Python {platform.python_version()}"
    )


def run_line(run_name: str, state: str, reason: str | None) -> str:
    """How a run of the task ended.

    Examples:
        >>> run_line("cnn_1", "skipped", "was completed as cnn_a_1 meanwhile")
        'skipped: cnn_1: was completed as cnn_a_1 meanwhile'
    """
    return f"{state}: {run_name}" + ("" if reason is None else f": {reason}")


def stop_line(what: str, advice: str) -> str:
    """Why a task was stopped for good, and how to continue.

    Examples:
        >>> stop_line("time limit: state saved", "`expkit retry results/digits` goes on from there")
        'stopped: time limit: state saved; `expkit retry results/digits` goes on from there'
    """
    return f"{_STOPPED}{what}; {advice}"


def read_stop_reason(lines: Sequence[str]) -> str | None:
    """Why the last attempt of a task was stopped for good; None if its log has no such line.

    Examples:
        >>> read_stop_reason([stop_line("time limit: state saved", "`expkit retry x` goes on")])
        'time limit: state saved'
    """
    for line in reversed(lines):
        if line.startswith(_STOPPED):
            return line.removeprefix(_STOPPED).rpartition("; `")[0]
        if _BANNER.match(line):
            return None
    return None


_STOPPED = "stopped: "
_BANNER = re.compile(r"\[[\d: -]+\] Slurm job ")


def code_line(submission: Submission | None) -> str:
    """Which code runs, and whether it is the code of the submission."""
    from expkit_bookkeeping.launching import code_facts, read_sources

    facts: dict[str, Any] = code_facts()
    commit = facts.get("commit")
    text = "code: no git commit" if commit is None else f"code: commit {commit[:10]}"
    if facts.get("dirty"):
        text += " with uncommitted changes"
    if submission is None:
        return text
    if submission.snapshot is not None:
        return f"{text}, as copied at submission"
    then = read_sources(submission.code, submission.experiment)
    if then is None:
        if submission.code.get("sources_hash") is not None:
            return f"{text}; the record of the submission's code is gone"
        then = {}
    now: dict[str, str] = facts["sources"]
    changed = sorted(name for name, digest in then.items() if now.get(name, digest) != digest)
    if changed or submission.code.get("commit") != commit:
        what = ", ".join(changed[:5]) or "another commit"
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        return f"{text}; not the code of the submission: {what}{more} changed since"
    return f"{text}, as at submission"
