"""Handing a grid to Slurm: planned, recorded, then submitted array by array."""

from __future__ import annotations

import getpass
import hashlib
import platform
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ._arrays import ArrayPlan, group, halves, plan_arrays, shares
from ._errors import SlurmError
from ._options import Options, arguments
from ._scheduler import Scheduler, SubmitRefused
from ._script import ArrayScript
from ._settings import DEFAULT_DELAY_S, SubmissionSettings
from ._submission import (
    LOGS,
    PLANNED,
    REFUSED,
    SUBMITTED,
    SUBMITTING,
    Array,
    Order,
    Submission,
    job_name,
    new_id,
    read_submission,
    write_orders,
)
from ._view import FOLDER

if TYPE_CHECKING:
    from expkit_hydra.launching import Program

PACKAGE = "expkit_slurm"
FOR_TRAINING = frozenset(
    (
        *("begin", "cpus-per-gpu", "cpus-per-task", "dependency", "exclusive", "gpus", "gres"),
        *("gpus-per-node", "gpus-per-task", "mem-per-gpu", "nodes", "ntasks-per-node"),
    )
)
LONGEST_SUBMISSION_S = 3600.0  # of one array, with all attempts and pauses of `Scheduler.submit`


@dataclass(frozen=True)
class Plan:
    """What would be submitted: runs in their order, and their arrays."""

    orders: tuple[Order, ...]
    arrays: tuple[ArrayPlan, ...]
    script: ArrayScript
    settings: SubmissionSettings

    def parallelism(self) -> list[int | None]:
        """Most tasks at once of each array."""
        tasks = [each.tasks(self.settings.runs_per_task) for each in self.arrays]
        return shares(self.settings.array_parallelism, tasks)


def plan(
    orders: Sequence[Order],
    options: Sequence[Options],
    *,
    script: ArrayScript,
    settings: SubmissionSettings,
    max_array_size: int,
) -> Plan:
    """Arrange runs into arrays: one for each set of resources, as long as the cluster allows.

    Args:
        orders: The runs.
        options: What each asks of Slurm.
        script: The batch script.
        settings: How to submit.
        max_array_size: The cluster's MaxArraySize.
    """
    order, groups = group(options)
    arrays = plan_arrays(
        groups, runs_per_task=settings.runs_per_task, max_array_size=max_array_size
    )
    return Plan(tuple(orders[place] for place in order), tuple(arrays), script, settings)


def draft(
    plan: Plan,
    *,
    experiment: Path,
    grid_id: str | None,
    program: Program | None,
    facts: Mapping[str, Any],
    python: str = sys.executable,
    now: datetime | None = None,
) -> Submission:
    """The record of a submission, before anything is written."""
    # Of UTC, as the newest submission is told by its name: clocks are put back in autumn.
    submission_id = new_id(now or datetime.now(UTC), uuid4().hex[:6])
    script, chosen = plan.script, plan.settings
    arrays = tuple(
        Array(
            number=number,
            name=job_name(experiment.name, submission_id, number),
            first=each.first,
            runs=each.runs,
            options=each.options,
            signal_delay_s=signal_delay_s(chosen, script, each.options),
        )
        for number, each in enumerate(plan.arrays)
    )
    return Submission(
        path=experiment / FOLDER / submission_id,
        grid_id=grid_id,
        created_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        host=platform.node(),
        user=getpass.getuser(),
        python=python,
        script=str(script.path),
        directory=program.directory if program is not None else str(Path.cwd()),
        program=None if program is None else program.to_record(),
        settings=chosen,
        arrays=arrays,
        **facts,
    )


def create(submission: Submission, orders: Sequence[Order]) -> None:
    """Write a new submission's folder.

    Raises:
        SlurmError: If it cannot be written.
    """
    try:
        (submission.path / LOGS).mkdir(parents=True)  # Slurm makes no folder for its logs
        write_orders(submission.path, orders)
        submission.write()
    except OSError as error:
        raise SlurmError(
            f"{submission.path} cannot be written: {error}. Nothing has been submitted. Choose "
            "another folder with results_dir=…"
        ) from error


def command(
    submission: Submission, array: Array, script: ArrayScript, parallelism: int | None
) -> list[str]:
    """The arguments of sbatch for one array.

    Options on sbatch's command line win over the script's `#SBATCH` lines, so that only what the
    manager knows better is here.
    """
    chosen = submission.settings
    tasks = submission.tasks(array)
    limit = f"%{parallelism}" if parallelism is not None and parallelism < tasks else ""
    options = [
        f"--array=0-{tasks - 1}{limit}",
        f"--job-name={array.name}",
        f"--output={submission.log_pattern(array.number)}",
        "--open-mode=append",
        f"--signal={signal_option(script, chosen, array.signal_delay_s)}",
    ]
    if script.value("error") is not None:  # or the script's file would take the tracebacks
        options.append(f"--error={submission.log_pattern(array.number)}")
    may_requeue = chosen.max_requeues_timeout or chosen.max_requeues_preempt
    if may_requeue and not _has(script, "no-requeue") and not _asks(array, "no-requeue"):
        options.append("--requeue")
    if chosen.tasks_per_run > 1 or _asks(array, "gpus-per-task"):  # which asks for a number
        options.append(f"--ntasks={chosen.tasks_per_run}")
    words = [submission.python, "-m", f"{PACKAGE}.training", str(submission.path)]
    return [
        *options,
        *arguments(array.options),
        str(script.path),
        *words,
        f"--array={array.number}",
    ]


def signal_option(script: ArrayScript, settings: SubmissionSettings, delay_s: float) -> str:
    """The value of `--signal`: to the batch process where that is Python, else to the steps.

    Where the script's shell stays in between, `B:` would end the shell. Slurm then signals no
    one, and the run goes by the time that is left.
    """
    is_python = script.ending == "exec" and settings.tasks_per_run == 1
    return f"{'B:' if is_python else ''}USR1@{round(delay_s)}"


def signal_delay_s(settings: SubmissionSettings, script: ArrayScript, options: Options) -> float:
    """How many seconds before the time limit a run is asked to stop."""
    if settings.signal_delay_s is not None:
        return float(settings.signal_delay_s)
    own = re.search(r"@(\d+)", script.value("signal") or "")
    if own is not None:
        return float(own.group(1))
    limit = limit_s(dict(options).get("time") or script.value("time"))
    return DEFAULT_DELAY_S if limit is None else min(DEFAULT_DELAY_S, limit / 4)


def limit_s(text: str | None) -> float | None:
    """A time limit as sbatch takes it, in seconds; None for none.

    >>> [limit_s(each) for each in ("90", "4:30", "1:00:00", "2-12", "1-00:30", "UNLIMITED", None)]
    [5400.0, 270.0, 3600.0, 216000.0, 88200.0, None, None]
    """
    if text is None or not re.fullmatch(r"[\d:-]+", text):
        return None
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = [*parts, 0, 0][:3]
        return float(int(days) * 86_400 + hours * 3600 + minutes * 60 + seconds)
    if len(parts) == 1:
        return float(parts[0] * 60)
    if len(parts) == 2:
        return float(parts[0] * 60 + parts[1])
    return float(parts[0] * 3600 + parts[1] * 60 + parts[2])


def submit_arrays(
    submission: Submission,
    script: ArrayScript,
    *,
    scheduler: Scheduler,
    parallelism: Sequence[int | None],
    say: Callable[[str], None],
) -> Submission:
    """Hand the arrays that are planned to sbatch, one after another.

    What is accepted stands. A submit limit halves an array until a part of it is accepted, and
    leaves the rest `refused`: `retry` submits it later. What Slurm never accepts leaves out the
    runs of the same resources.

    Returns:
        The submission, as its record now says.

    Raises:
        SubmitRefused: If Slurm takes nothing at all.
    """
    limits = dict(zip((each.number for each in submission.arrays), parallelism, strict=True))
    waiting = [each.number for each in submission.arrays if each.state == PLANNED]
    while waiting:
        number = waiting.pop(0)
        submission = submission.with_array(number, state=SUBMITTING)
        submission.write()
        array = submission.array(number)
        try:
            job_id = scheduler.submit(
                command(submission, array, script, limits[number]),
                name=array.name,
                directory=Path(submission.directory),
            )
        except SubmitRefused as refused:
            if refused.kind == "limit":
                parts = halves(
                    ArrayPlan(array.first, array.runs, array.options),
                    submission.settings.runs_per_task,
                )
                if parts is not None:
                    submission = _halved(submission, array, parts)
                    back = submission.arrays[-1].number
                    tasks = [part.tasks(submission.settings.runs_per_task) for part in parts]
                    limits[number], limits[back] = shares(limits[number], tasks)
                    waiting = [number, back, *waiting]
                    continue
            reason = str(refused)
            concerned = [number, *waiting]
            if refused.kind == "invalid":  # other resources may be valid
                concerned = [
                    each for each in concerned if submission.array(each).options == array.options
                ]
            waiting = [each for each in waiting if each not in concerned]
            for each in concerned:
                # Nobody answered: this one may have been accepted all the same; `recover` asks.
                if each != number or refused.kind != "unreachable":
                    submission = submission.with_array(each, state=REFUSED, error=reason)
            submission.write()
            if not waiting and not any(each.state == SUBMITTED for each in submission.arrays):
                raise
            say(reason)
            continue
        submission = submission.with_array(number, state=SUBMITTED, job_id=job_id)
        submission.write()
    return submission


def _halved(submission: Submission, array: Array, parts: tuple[ArrayPlan, ArrayPlan]) -> Submission:
    front, back = parts
    number = max(each.number for each in submission.arrays) + 1
    submission = submission.with_array(array.number, runs=front.runs, state=PLANNED)
    other = replace(
        array,
        number=number,
        name=f"{array.name.rpartition('-')[0]}-{number}",
        first=back.first,
        runs=back.runs,
        state=PLANNED,
    )
    return replace(submission, arrays=(*submission.arrays, other))


def recover(submission: Submission, scheduler: Scheduler) -> Submission:
    """Find out what became of arrays whose sbatch was interrupted; nothing is submitted twice.

    What is found is written down. What is not may be on its way: then the record belongs to the
    process that submits, and the next look asks again.

    Raises:
        SlurmError: If Slurm does not answer.
    """
    for array in submission.arrays:
        if array.state != SUBMITTING:
            continue
        job_id = submission.job_id_in_logs(array.number) or scheduler.find(array.name)
        changes = (
            {"state": REFUSED, "error": "its submission was interrupted"}
            if job_id is None
            else {"state": SUBMITTED, "job_id": job_id}
        )
        if job_id is None and submission.written_s_ago() < LONGEST_SUBMISSION_S:
            continue
        submission = submission.with_array(array.number, **changes)
        # Of the record as it is by now: the process that submits may have gone on.
        latest = read_submission(submission.path)
        if latest.array(array.number).state == SUBMITTING:
            latest.with_array(array.number, **changes).write()
    return submission


def submit_finaliser(
    submission: Submission, script: ArrayScript, scheduler: Scheduler, *, after: Sequence[str]
) -> Submission:
    """Let a job tidy up when arrays have ended, for when nobody waits.

    It runs the user's script, for its modules and environments, with the least resources.

    Args:
        submission: Notes the job.
        script: The batch script.
        scheduler: Slurm.
        after: Ids of the arrays.
    """
    name = job_name(submission.experiment.name, submission.id, "after")
    # What overrides the script's lines for the runs holds here too: a partition, and its limits.
    where = [each for each in submission.arrays[0].options if each[0] not in FOR_TRAINING]
    options = [
        f"--dependency=afterany:{':'.join(after)}",
        f"--job-name={name}",
        f"--output={str(submission.path / LOGS).replace('%', '%%')}/after.log",
        "--open-mode=append",
        *arguments(tuple(where)),
        *_without_resources(script),
        str(script.path),
        submission.python,
        "-m",
        f"{PACKAGE}.finish",
        str(submission.experiment),
    ]
    job_id = scheduler.submit(options, name=name, directory=Path(submission.directory))
    job = Array(number=-1, name=name, first=0, runs=0, state=SUBMITTED, job_id=job_id)
    submission = replace(submission, finaliser=job)
    submission.write()
    return submission


def _without_resources(script: ArrayScript) -> Iterator[str]:
    """Takes back what the script's lines ask for a training: drawing needs no GPU."""
    yield "--nodes=1"
    yield "--ntasks=1"
    if script.value("cpus-per-gpu") is None:  # sbatch takes one of them
        yield "--cpus-per-task=1"
    if script.value("gres") is not None:
        yield "--gres=none"


def conf_hashes(config: Any) -> dict[str, str]:
    """A hash of each configuration file that the app finds in its folders, by path."""
    found = {}
    for source in config.hydra.runtime.config_sources:
        if source.schema != "file":
            continue
        folder = Path(str(source.path))
        for path in sorted(folder.rglob("*.yaml")):
            if not any(part.startswith(".") for part in path.relative_to(folder).parts):
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found


def conf_changes(then: Mapping[str, str]) -> list[str]:
    """The configuration files that are others now than at submission, or gone."""
    changed = []
    for name, digest in then.items():
        try:
            now = hashlib.sha256(Path(name).read_bytes()).hexdigest()[:16]
        except OSError:
            now = ""
        if now != digest:
            changed.append(name)
    return changed


def shown_command(words: Sequence[str]) -> str:
    """The sbatch command as a user would type it."""
    return shlex.join(["sbatch", *words])


def _has(script: ArrayScript, option: str) -> bool:
    return any(each.option == option for each in script.directives)


def _asks(array: Array, option: str) -> bool:
    return option in dict(array.options)
