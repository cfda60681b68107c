"""Parsing what `squeue` and `sacct` print; pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .tasks import Phase, Task, phase_of, plain_state

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


def parse_squeue(text: str) -> list[Task]:
    """The tasks that `squeue` printed with `SQUEUE_ARGUMENTS`; pending ranges are expanded.

    Raises:
        ValueError: If a line is something else. Skipping it would make tasks look gone.
    """
    tasks: list[Task] = []
    for line in _lines(text):
        fields = line.split("|", maxsplit=len(_SQUEUE_FIELDS) - 1)
        if len(fields) != len(_SQUEUE_FIELDS) or not fields[0].isdecimal():
            raise ValueError(f"squeue printed an unexpected line: {line!r}")
        array, indices, job, state, status, nodes, used, restarts, reason = fields
        over = phase_of(state) is Phase.OVER
        code, number = _wait_status(status) if over else (None, None)
        for index in parse_indices(indices):
            tasks.append(
                Task(
                    array_job_id=array,
                    task_id=index,
                    job_id=job,
                    state=state,
                    reason=_text_or_none(reason.removesuffix("|")),
                    node=_text_or_none(nodes),
                    exit_code=code,
                    signal=number,
                    elapsed_s=parse_duration_s(used),
                    restarts=int(restarts) if restarts.isdecimal() else None,
                )
            )
    return tasks


def parse_sacct(text: str) -> list[Task]:
    """The tasks that `sacct` printed with `SACCT_ARGUMENTS`, each once.

    Raises:
        ValueError: If a line is something else.
    """
    tasks_of_ranges: dict[str, Task] = {}
    single_tasks: dict[str, Task] = {}
    for line in _lines(text):
        fields = line.split("|")
        if len(fields) != len(_SACCT_FIELDS):
            raise ValueError(f"sacct printed an unexpected line: {line!r}")
        identifier, raw, state, status, nodes, elapsed = fields
        array, _, indices = identifier.partition("_")
        if not array.partition("+")[0].isdecimal():  # 12+0: part of a heterogeneous job
            raise ValueError(f"sacct printed an unexpected line: {line!r}")
        by = re.fullmatch(r"CANCELLED by (\d+)", state)
        over = phase_of(state) is Phase.OVER
        code, number = _wait_status(status) if over else (None, None)
        tasks = tasks_of_ranges if indices.startswith("[") else single_tasks
        for index in parse_indices(indices or "N/A"):
            task = Task(
                array_job_id=array,
                task_id=index,
                job_id=raw,
                state=plain_state(state),
                reason=f"by uid {by[1]}" if by else None,
                node=_text_or_none(nodes),
                exit_code=code,
                signal=number,
                elapsed_s=float(elapsed) if elapsed.isdecimal() else None,
            )
            tasks[task.name] = task
    # When the last tasks of an array are cancelled, the range that they waited in is recorded as
    # CANCELLED with tasks that had started since (seen in 22.05): a task's own record wins.
    return list((tasks_of_ranges | single_tasks).values())


def parse_indices(text: str) -> Iterator[int | None]:
    """The indices in an array range as Slurm writes it; None once where there is no array.

    Raises:
        ValueError: If it is no range, or one that was cut for its length.

    Examples:
        >>> [list(parse_indices(text)) for text in ("[3,5-7%4]", "0-6:3", "N/A")]
        [[3, 5, 6, 7], [0, 3, 6], [None]]
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

    Examples:
        >>> parse_duration_s("1-02:03:04"), parse_duration_s("5:06"), parse_duration_s("UNLIMITED")
        (93784.0, 306.0, None)
    """
    match = re.fullmatch(r"(?:(\d{1,9})-)?(?:(\d{1,9}):)?(\d{1,9}):(\d{1,9})", text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        # With SLURM_CLUSTERS set, a heading stands above each cluster's jobs, --noheader or not.
        if line.strip() and not line.startswith("CLUSTER:"):
            yield line


def _text_or_none(text: str) -> str | None:
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
