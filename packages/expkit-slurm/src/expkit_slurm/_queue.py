"""What the scheduler says of array tasks: parsing it, and what its words mean for a run."""

from __future__ import annotations

import enum
import re
import signal as signals
from collections.abc import Iterator
from dataclasses import dataclass

# One field of each, in the order in which `parse_squeue` reads them. `-o` has no exit code. A
# suffix without a size neither cuts nor pads. The reason comes last: it is free text.
_SQUEUE_FIELDS = (
    "ArrayJobID",
    "ArrayTaskID",
    "JobID",
    "State",
    "exit_code",
    "NodeList",
    "TimeUsed",
    "RestartCnt",
    "Reason",
)
# --states=all: without it tasks vanish when they end; with it they show, with their exit code,
# for MinJobAge (300 s by default), on clusters without accounting too.
SQUEUE_ARGUMENTS = (
    "--noheader",
    "--states=all",
    f"--Format={','.join(f'{field}:|' for field in _SQUEUE_FIELDS)}",
)
# -X: jobs without their steps. Fields that every version of sacct in use knows.
_SACCT_FIELDS = ("JobID", "JobIDRaw", "State", "ExitCode", "NodeList", "ElapsedRaw")
SACCT_ARGUMENTS = ("-X", "-n", "-P", f"--format={','.join(_SACCT_FIELDS)}")

_MAX_ARRAY_TASKS = 4_000_001  # Slurm's own limit of MaxArraySize (slurm.conf(5))
_NO_VALUE = 0xFFFFFFF0  # Slurm's NO_VAL and INFINITE lie above
# What slurmstepd reports when it could not open the job's output or enter its folder.
_NO_OUTPUT_SIGNAL = 53


@dataclass(frozen=True, slots=True)
class Task:
    """One array task, or one job that is no array, as the scheduler tells it.

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
        restarts: How often Slurm has requeued it; None where that is not told.
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
    """What a state means for the one who waits."""

    PENDING = "pending"  # waits for its start, also to be started again
    ACTIVE = "active"  # may be running
    OVER = "over"  # will not run again unless somebody requeues it


# squeue(1), JOB STATE CODES; EXPEDITING is of later versions.
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


def phase(state: str) -> Phase:
    """What a state means; a word that nobody here knows counts as active, never as over.

    PREEMPTED and NODE_FAIL in the queue are final: a task that Slurm requeues is PENDING there.
    In the accounting they may be the last record of a task that waits to run again, so the queue
    is believed first.

    >>> phase("CANCELLED by 1000"), phase("SUSPENDED")
    (<Phase.OVER: 'over'>, <Phase.ACTIVE: 'active'>)
    """
    word = _word(state)
    if word in _OVER:
        return Phase.OVER
    return Phase.PENDING if word in _PENDING else Phase.ACTIVE


def cause(task: Task) -> str | None:
    """Why a task that is over did not complete, in one clause; None for all others."""
    word = _word(task.state)
    if phase(word) is not Phase.OVER or word == "COMPLETED":
        return None
    where = f"{word}, {task.node}" if task.node else word
    match word:
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
    return f"{word} ({task.reason})" if task.reason else word


def parse_squeue(text: str) -> list[Task]:
    """The tasks in what `squeue` printed with `SQUEUE_ARGUMENTS`; pending ranges are expanded.

    Raises:
        ValueError: If a line is something else. Skipping it would make tasks look gone.
    """
    tasks: list[Task] = []
    for line in _lines(text):
        fields = line.split("|", maxsplit=len(_SQUEUE_FIELDS) - 1)
        if len(fields) != len(_SQUEUE_FIELDS) or not fields[0].isdecimal():
            raise ValueError(f"squeue printed a line that nobody expected: {line!r}")
        array, indices, job, state, status, nodes, used, restarts, reason = fields
        over = phase(state) is Phase.OVER
        code, number = _wait_status(status) if over else (None, None)
        for index in parse_indices(indices):
            tasks.append(
                Task(
                    array_job_id=array,
                    task_id=index,
                    job_id=job,
                    state=state,
                    reason=_known(reason.removesuffix("|")),
                    node=_known(nodes),
                    exit_code=code,
                    signal=number,
                    elapsed_s=parse_duration_s(used),
                    restarts=int(restarts) if restarts.isdecimal() else None,
                )
            )
    return tasks


def parse_sacct(text: str) -> list[Task]:
    """The tasks in what `sacct` printed with `SACCT_ARGUMENTS`, each once.

    Raises:
        ValueError: If a line is something else.
    """
    ranges: dict[str, Task] = {}
    single: dict[str, Task] = {}
    for line in _lines(text):
        fields = line.split("|")
        if len(fields) != len(_SACCT_FIELDS):
            raise ValueError(f"sacct printed a line that nobody expected: {line!r}")
        identifier, raw, state, status, nodes, elapsed = fields
        array, _, indices = identifier.partition("_")
        if not array.partition("+")[0].isdecimal():  # 12+0: part of a heterogeneous job
            raise ValueError(f"sacct printed a line that nobody expected: {line!r}")
        by = re.fullmatch(r"CANCELLED by (\d+)", state)
        over = phase(state) is Phase.OVER
        code, number = _wait_status(status) if over else (None, None)
        found = ranges if indices.startswith("[") else single
        for index in parse_indices(indices or "N/A"):
            task = Task(
                array_job_id=array,
                task_id=index,
                job_id=raw,
                state=_word(state),
                reason=f"by uid {by[1]}" if by else None,
                node=_known(nodes),
                exit_code=code,
                signal=number,
                elapsed_s=float(elapsed) if elapsed.isdecimal() else None,
            )
            found[task.name] = task
    # When the last tasks of an array are cancelled, the range that they waited in is recorded as
    # CANCELLED with tasks that had started since (seen in 22.05): a task's own record wins.
    return list((ranges | single).values())


def parse_indices(text: str) -> Iterator[int | None]:
    """The indices in an array range as Slurm writes it; None once where there is no array.

    >>> list(parse_indices("[3,5-7%4]")), list(parse_indices("0-6:3")), list(parse_indices("N/A"))
    ([3, 5, 6, 7], [0, 3, 6], [None])

    Raises:
        ValueError: If it is no range, or one that was cut for its length.
    """
    if text in ("N/A", ""):
        yield None
        return
    body = text.removeprefix("[").removesuffix("]").partition("%")[0]
    for part in body.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if match is None or match[3] in ("0", "00"):
            raise ValueError(f"{text!r} is not a range of array tasks")
        first, last = int(match[1]), int(match[2] or match[1])
        if last >= _MAX_ARRAY_TASKS:
            raise ValueError(f"{text!r} has indices beyond Slurm's limit, {_MAX_ARRAY_TASKS - 1}")
        yield from range(first, last + 1, int(match[3] or 1))


def parse_duration_s(text: str) -> float | None:
    """Seconds in a duration as Slurm writes it; None for UNLIMITED, NOT_SET, INVALID and the like.

    >>> parse_duration_s("1-02:03:04"), parse_duration_s("5:06"), parse_duration_s("UNLIMITED")
    (93784.0, 306.0, None)
    """
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        # With SLURM_CLUSTERS set, a heading stands above each cluster's jobs, --noheader or not.
        if line.strip() and not line.startswith("CLUSTER:"):
            yield line


def _word(state: str) -> str:
    """The state alone: `CANCELLED` of `CANCELLED by 0`, `COMPLETED` of `COMPLETED+`."""
    return state.strip().partition(" ")[0].rstrip("+").upper()


def _known(text: str) -> str | None:
    text = text.strip()
    return None if text in ("", "None", "(null)", "N/A", "None assigned") else text


def _wait_status(text: str) -> tuple[int | None, int | None]:
    """Exit code and signal from `1792` (a wait status: squeue) or `7:0` (sacct)."""
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text.strip())
    if match is None or int(match[1]) >= _NO_VALUE:
        return None, None
    if match[2] is None:
        code, number = int(match[1]) >> 8, int(match[1]) & 0x7F  # 0x80: it left a core
    else:
        code, number = int(match[1]), int(match[2])
    return (None, number) if number else (code, None)


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
