"""What became of each run: run.json first, then what Slurm says; pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ._queue import Phase, Task, cause, phase
from ._submission import UNSETTLED, Array

if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord
    from expkit_hydra import GridRun
    from expkit_hydra.launching import RunVersion

# Nothing more happens to a run in one of these, unless somebody submits it again.
OVER = ("completed", "failed", "interrupted", "lost", "cancelled", "skipped", "unsubmitted")
GOOD = ("completed", "skipped")
# In the order in which they are counted.
STATES = (
    "completed", "skipped", "running", "pending", "interrupted", "cancelled", "lost", "failed",
    "unsubmitted",
)  # fmt: skip


@dataclass(frozen=True)
class RunStatus:
    """One run of a grid, as far as anybody can tell.

    `state` is that of run.json, or derived: `pending` (in the queue), `lost` (its task is gone and
    never said how the run ended), `cancelled` (before it started), `skipped` (its task found that
    there was nothing to do), `unsubmitted` (Slurm has not been given it). `reason` says why in a
    sentence and `advice` what to do where it is not plain, `job` is Slurm's name of the task,
    `exit_code` as a shell reports it (137 is SIGKILL), `elapsed_s` the seconds spent in the run,
    `log` the file with its output and `last_lines` the end of it where the run did not complete.
    """

    index: int
    run_name: str
    state: str
    reason: str | None = None
    job: str | None = None
    exit_code: int | None = None
    node: str | None = None
    elapsed_s: float | None = None
    log: Path | None = None
    last_lines: tuple[str, ...] = ()
    advice: str | None = None

    @property
    def why(self) -> str | None:
        """The reason and the advice, in one line."""
        return "; ".join(filter(None, (self.reason, self.advice))) or None

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in OVER

    @property
    def is_good(self) -> bool:
        """Whether there is nothing left to do about it."""
        return self.state in GOOD


@dataclass(frozen=True)
class Facts:
    """All that is known of one run.

    `record` is its run.json, `known` are the versions of it from before it was submitted, `array`
    and `task_id` its place in the queue (None: it was never submitted), `task` what Slurm says of
    that place: None where it says nothing, although it was `asked`. `has_log` is whether the task
    has started, which makes its log. `elsewhere` names another process that has the run and may
    live: of another submission, or outside of Slurm.
    """

    run: GridRun
    record: RunRecord | None
    known: frozenset[RunVersion] = frozenset()
    array: Array | None = None
    task_id: int | None = None
    task: Task | None = None
    asked: bool = True
    has_log: bool = True
    elsewhere: str | None = None
    is_packed: bool = False


def job_of(array: Array | None, task_id: int | None) -> str | None:
    """Slurm's name of an array task, `1234_7`; None where it was not accepted."""
    if array is None or array.job_id is None:
        return None
    return f"{array.job_id}_{task_id}"


def derive(facts: Facts) -> RunStatus:
    """The state of one run, without its log."""
    from expkit_hydra.launching import run_version

    record, task = facts.record, facts.task
    if record is not None and facts.elsewhere is not None:
        return _told(facts, record, record.state, f"{facts.elsewhere} has it")
    # What an earlier attempt left says nothing about the one that was submitted.
    if record is not None and run_version(record) in facts.known and facts.array is not None:
        record = None
    if record is not None and record.state == "completed":
        return _told(facts, record, "completed")
    if facts.array is None:
        return _told(facts, record, record.state if record else "unsubmitted")
    if facts.array.job_id is None:
        reason = facts.array.error or UNSETTLED.get(facts.array.state)
        return _told(facts, record, "unsubmitted", reason)
    if task is None and not facts.asked:
        return _told(facts, record, record.state if record else "pending", "Slurm does not answer")
    now = None if task is None else phase(task.state)
    if task is not None and now is Phase.PENDING:
        return _told(facts, record, "pending", task.reason)
    if task is not None and now is Phase.ACTIVE:
        return _of_active_task(facts, record, task)
    return _of_ended_task(facts, record, task)


def _of_active_task(facts: Facts, record: RunRecord | None, task: Task) -> RunStatus:
    if record is None:
        waits = facts.is_packed or not _runs(task)
        return _told(facts, None, "pending" if waits else "running", _unusual(task))
    if record.state == "failed":
        return _told(facts, record, "failed")
    if record.state == "lost" and facts.is_packed:  # by somebody else; its turn is to come
        return _told(facts, record, "pending")
    # `interrupted`: its task ends now, or puts it back into the queue.
    return _told(facts, record, "running", _unusual(task))


def _of_ended_task(facts: Facts, record: RunRecord | None, task: Task | None) -> RunStatus:
    why = None if task is None else cause(task)
    if record is not None and record.state not in ("running", "lost"):
        return _told(facts, record, record.state, why if record.state == "interrupted" else None)
    if record is not None:
        return _told(facts, record, "lost", why or "its task is gone from Slurm's queue")
    if not facts.has_log:  # Slurm forgets at once a pending task of an array that is cancelled
        return _told(facts, None, "cancelled", why or "taken from the queue before it started")
    if task is None:
        return _told(facts, None, "lost", "its task is gone and never started the run")
    if task.state.startswith("CANCELLED"):
        return _told(facts, None, "cancelled", why)
    if why is None:
        return _told(facts, None, "skipped", "its task ended without a need to run it")
    return _told(facts, None, "lost", f"{why}, before the run started")


def _runs(task: Task) -> bool:
    return task.state in ("RUNNING", "COMPLETING")


def _unusual(task: Task) -> str | None:
    """A state that is neither of the two that everybody expects, as Slurm says it."""
    return None if _runs(task) else f"Slurm: {task.state}"


def _told(
    facts: Facts, record: RunRecord | None, state: str, reason: str | None = None
) -> RunStatus:
    from expkit_hydra.launching import error_line

    task = facts.task
    if state == "failed" and record is not None and reason is None:
        reason = error_line(record.error)
    return RunStatus(
        index=facts.run.index,
        run_name=facts.run.run_name,
        state=state,
        reason=reason,
        job=job_of(facts.array, facts.task_id),
        exit_code=None if task is None else _exit_code(task),
        node=(task.node if task is not None else None) or _node(record),
        elapsed_s=record.elapsed_s if record is not None else None,
    )


def _exit_code(task: Task) -> int | None:
    """As a shell reports it: 128 and the number of the signal."""
    return 128 + task.signal if task.signal else task.exit_code


def _node(record: RunRecord | None) -> str | None:
    return None if record is None else record.host


def count_states(statuses: Iterable[RunStatus]) -> dict[str, int]:
    """How many runs are in which state, in the order that people read them."""
    found: dict[str, int] = {}
    for each in statuses:
        found[each.state] = found.get(each.state, 0) + 1
    order = [*STATES, *sorted(set(found) - set(STATES))]
    return {state: found[state] for state in order if state in found}


def tasks_by_name(tasks: Iterable[Task]) -> Mapping[str, Task]:
    """What Slurm says, by name of the task; of a requeued one the last word."""
    return {each.name: each for each in tasks}
