"""Array tasks as Slurm reports them, and what its states mean for a run."""

from __future__ import annotations

import enum
import signal as signals
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

# What slurmstepd reports when it could not open the job's output or enter its folder.
_NO_OUTPUT_SIGNAL = 53


@dataclass(frozen=True, slots=True)
class Task:
    """One array task, or one job that is no array, as Slurm reports it.

    Attributes:
        array_job_id: Id of the array, which `sbatch` printed; of the job where it is no array.
        task_id: Index in the array; None where the job is no array.
        job_id: The task's own id. Tasks that were never started share the array's.
        state: Slurm's own word, such as PENDING or OUT_OF_MEMORY.
        reason: Slurm's reason; after a cancellation `by uid 1000` where that is known.
        node: The nodes that it has or had, as Slurm writes them: `node[1-2]`.
        exit_code: Of a task that is over and was not killed; otherwise None.
        signal: Number of the signal that ended it; None where none did.
        elapsed_s: Seconds that this attempt has run.
        restarts: How often Slurm has requeued it; None where Slurm does not say.
    """

    array_job_id: str
    task_id: int | None
    job_id: str
    state: str
    reason: str | None = None
    node: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    elapsed_s: float | None = None
    restarts: int | None = None

    @property
    def name(self) -> str:
        """As people and Slurm write it: `123_4`, or `123` where the job is no array."""
        return self.array_job_id if self.task_id is None else f"{self.array_job_id}_{self.task_id}"


class Phase(enum.Enum):
    """What a state means for somebody who waits."""

    PENDING = "pending"  # waits for its start, or for being started again
    ACTIVE = "active"  # may be running
    OVER = "over"  # will not run again unless somebody requeues it


# squeue(1), JOB STATE CODES; later versions have EXPEDITING.
_PENDING = frozenset(
    (
        *("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD"),
        *("RESV_DEL_HOLD", "SPECIAL_EXIT", "EXPEDITING"),
    )
)
_OVER = frozenset(
    (
        *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL"),
        *("PREEMPTED", "BOOT_FAIL", "DEADLINE", "REVOKED"),
    )
)


_RUNNING = ("RUNNING", "COMPLETING")


def is_running(task: Task) -> bool:
    """Whether a task's program runs or is just ending; other active states are unusual."""
    return task.state in _RUNNING


def phase_of(state: str) -> Phase:
    """What a state means; an unknown one counts as active, never as over.

    PREEMPTED and NODE_FAIL in the queue are final: a task that Slurm requeues is PENDING there.
    In the accounting they may be the last record of a task that waits to run again, so the queue
    is believed first.

    Examples:
        >>> phase_of("CANCELLED by 1000"), phase_of("SUSPENDED")
        (<Phase.OVER: 'over'>, <Phase.ACTIVE: 'active'>)
    """
    state = plain_state(state)
    if state in _OVER:
        return Phase.OVER
    return Phase.PENDING if state in _PENDING else Phase.ACTIVE


def cause_of(task: Task) -> str | None:
    """Why a task that is over did not complete, in one clause; None for all others."""
    state = plain_state(task.state)
    if phase_of(state) is not Phase.OVER or state == "COMPLETED":
        return None
    where = f"{state}, {task.node}" if task.node else state
    match state:
        case "OUT_OF_MEMORY":
            return "out of memory (Slurm: OUT_OF_MEMORY)"
        case "TIMEOUT":
            return "time limit reached (TIMEOUT)"
        case "NODE_FAIL":
            return f"its node failed ({where})"
        case "BOOT_FAIL":
            return f"its node did not boot ({where})"
        case "PREEMPTED":
            return "preempted by another job (PREEMPTED)"
        case "DEADLINE":
            return "its deadline passed (DEADLINE)"
        case "REVOKED":
            return "taken over by another cluster (REVOKED)"
        case "CANCELLED":
            by = task.reason if task.reason is not None and task.reason.startswith("by ") else ""
            return f"cancelled {by}".rstrip()
    if task.signal == _NO_OUTPUT_SIGNAL:
        return "its log file could not be opened (Slurm: 0:53); does its folder exist?"
    if task.signal is not None:
        return f"killed by {_signal_name(task.signal)}"
    if task.exit_code:
        # A shell ends so when its last command was killed.
        shell = _signal_name(task.exit_code - 128) if task.exit_code > 128 else ""
        return f"exit code {task.exit_code}" + (f" (128 + {shell})" if "SIG" in shell else "")
    return f"{state} ({task.reason})" if task.reason else state


def tasks_by_name(tasks: Iterable[Task]) -> Mapping[str, Task]:
    """Tasks by their names; of a requeued one the last report."""
    return {task.name: task for task in tasks}


def shorten_names(names: Sequence[str]) -> list[str]:
    """Fewer and shorter words for scancel, as a word of a command line has at most 128 kB.

    Examples:
        >>> shorten_names(["12_3", "12_4", "12_5", "12_9", "13_0"])
        ['12_[3-5,9]', '13_[0]']
    """
    indices_by_array: dict[str, list[int]] = {}
    for name in names:
        array, _, index = name.partition("_")
        indices_by_array.setdefault(array, []).append(int(index))
    return [
        f"{array}_[{','.join(_ranges(sorted(indices)))}]"
        for array, indices in indices_by_array.items()
    ]


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    for _, pairs in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        neighbours = [number for _, number in pairs]
        first, last = neighbours[0], neighbours[-1]
        yield str(first) if len(neighbours) == 1 else f"{first}-{last}"


def plain_state(state: str) -> str:
    """The state alone: `CANCELLED` of `CANCELLED by 0`, `COMPLETED` of `COMPLETED+`."""
    return state.strip().partition(" ")[0].rstrip("+").upper()


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
