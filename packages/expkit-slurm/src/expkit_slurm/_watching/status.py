"""How a run stands: as its run.json says, else as Slurm reports its task; pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from .._cluster.errors import SlurmError
from .._cluster.liveness import is_of_this_start
from .._cluster.pending_reasons import obstacle_of
from .._cluster.tasks import Phase, Task, cause_of, is_running, phase_of
from .._submissions.record import UNSETTLED, Array, task_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord
    from expkit_hydra import GridRun
    from expkit_hydra.launching import RunVersion

# Nothing more happens to a run in one of these, unless somebody submits it again.
OVER = ("completed", "failed", "interrupted", "lost", "cancelled", "skipped", "unsubmitted")
GOOD = ("completed", "skipped")
RETRIABLE = ("failed", "lost", "interrupted", "cancelled", "unsubmitted")
# In the order in which they are counted.
STATES = (
    "completed", "skipped", "running", "pending", "interrupted", "cancelled", "lost", "failed",
    "unsubmitted",
)  # fmt: skip


@dataclass(frozen=True)
class RunStatus:
    """How one run of a grid stands.

    Attributes:
        index: Position among the grid's runs, from 0.
        run_name: Its name in the experiment.
        state: That of run.json, or derived: `pending` (in the queue), `lost` (its task is gone and
            nothing recorded how the run ended), `cancelled` (before it started), `skipped` (its
            task found that there was nothing to do), `unsubmitted` (Slurm does not have it).
        reason: Why, in a sentence.
        job: Slurm's name of the task.
        exit_code: As a shell reports it; 137 is SIGKILL.
        node: Where it runs or ran.
        elapsed_s: Seconds spent in the run.
        log: The file with its output.
        last_lines: The end of that file, where the run did not complete.
        advice: What to do, where that is not obvious.
        obstacle: `held` for a pending run whose job starts only when somebody releases it, `never`
            where it cannot start as it is.
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
    obstacle: Literal["held", "never"] | None = None

    @property
    def why(self) -> str | None:
        """The reason and the advice, in one line."""
        return "; ".join(filter(None, (self.reason, self.advice))) or None

    @property
    def is_over(self) -> bool:
        """Whether the run is over: nothing more happens to it unless somebody acts."""
        return self.state in OVER

    @property
    def is_good(self) -> bool:
        """Whether nothing is left to do about it."""
        return self.state in GOOD


@dataclass(frozen=True)
class RunFacts:
    """All that a run's status is derived from.

    `record` is its run.json, `earlier_versions` those of it from before the run was submitted.
    `array` and `task_id` say where it stands in Slurm (None: it was never submitted), `task` is
    what Slurm reports of that task, None where it reports nothing. `slurm_answers` is False where
    Slurm did not answer. `has_log` is whether the task has started, as that creates its log.
    `other_owner` names another process that owns the run and may live: one of another submission,
    or outside Slurm.
    """

    run: GridRun
    record: RunRecord | None
    earlier_versions: frozenset[RunVersion] = frozenset()
    array: Array | None = None
    task_id: int | None = None
    task: Task | None = None
    slurm_answers: bool = True
    has_log: bool = True
    other_owner: str | None = None
    is_packed: bool = False


def derive_status(facts: RunFacts) -> RunStatus:
    """The state of one run, without its log."""
    from expkit_hydra.launching import run_version

    record, task = facts.record, facts.task
    if record is not None and facts.other_owner is not None:
        return _status(facts, record, record.state, f"{facts.other_owner} has it")
    # What an earlier attempt left says nothing about the one that was submitted.
    is_earlier = record is not None and run_version(record) in facts.earlier_versions
    if is_earlier and facts.array is not None:
        record = None
    if record is not None and record.state == "completed":
        return _status(facts, record, "completed")
    if facts.array is None:
        return _status(facts, record, record.state if record else "unsubmitted")
    if facts.array.job_id is None:
        reason = facts.array.error or UNSETTLED.get(facts.array.state)
        return _status(facts, record, "unsubmitted", reason)
    if task is None and not facts.slurm_answers:
        return _status(
            facts, record, record.state if record else "pending", "Slurm does not answer"
        )
    task_phase = None if task is None else phase_of(task.state)
    if task is not None and task_phase is Phase.PENDING:
        return _of_pending_task(facts, record, task)
    if task is not None and task_phase is Phase.ACTIVE:
        return _of_active_task(facts, record, task)
    return _of_ended_task(facts, record, task)


def _of_pending_task(facts: RunFacts, record: RunRecord | None, task: Task) -> RunStatus:
    status = _status(facts, record, "pending", task.reason)
    obstacle = obstacle_of(task)
    if obstacle is None:
        return status
    reason = task.reason or task.state  # REQUEUE_HOLD has none
    return replace(status, reason=reason, advice=obstacle.advice, obstacle=obstacle.kind)


def _of_active_task(facts: RunFacts, record: RunRecord | None, task: Task) -> RunStatus:
    if record is None:
        waits = facts.is_packed or not is_running(task)
        return _status(facts, None, "pending" if waits else "running", _unusual_state(task))
    if record.state == "failed" and (facts.is_packed or is_of_this_start(record, task)):
        return _status(facts, record, "failed")
    if record.state == "lost" and facts.is_packed:  # by somebody else; its turn comes later
        return _status(facts, record, "pending")
    # `interrupted`: its task ends now, or puts it back into the queue.
    return _status(facts, record, "running", _unusual_state(task))


def _of_ended_task(facts: RunFacts, record: RunRecord | None, task: Task | None) -> RunStatus:
    why = None if task is None else cause_of(task)
    if record is not None and record.state not in ("running", "lost"):
        return _status(facts, record, record.state, why if record.state == "interrupted" else None)
    if record is not None:
        return _status(facts, record, "lost", why or "its task is gone from Slurm's queue")
    if not facts.has_log:  # Slurm forgets at once a pending task of an array that is cancelled
        return _status(facts, None, "cancelled", why or "taken from the queue before it started")
    if task is None:
        return _status(facts, None, "lost", "its task is gone and never started the run")
    if task.state.startswith("CANCELLED"):
        return _status(facts, None, "cancelled", why)
    if why is None:
        return _status(facts, None, "skipped", "its task ended without a need to run it")
    return _status(facts, None, "lost", f"{why}, before the run started")


def _unusual_state(task: Task) -> str | None:
    """The state of an active task where it is neither of the two usual ones."""
    return None if is_running(task) else f"Slurm: {task.state}"


def _status(
    facts: RunFacts, record: RunRecord | None, state: str, reason: str | None = None
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
        job=task_name(facts.array, facts.task_id),
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
    """How many runs are in which state, in the order in which people read them."""
    counts: dict[str, int] = {}
    for status in statuses:
        counts[status.state] = counts.get(status.state, 0) + 1
    order = [*STATES, *sorted(set(counts) - set(STATES))]
    return {state: counts[state] for state in order if state in counts}


def check_retriable(states: Sequence[str]) -> None:
    """Refuse states in which runs are not tried again.

    Raises:
        SlurmError: If one of these is not retriable.
    """
    for state in states:
        if state not in RETRIABLE:
            near = get_close_matches(state, RETRIABLE, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SlurmError(
                f"Runs in the state {state!r} are not tried again.{hint} "
                f"Allowed: {', '.join(RETRIABLE)}."
            )
