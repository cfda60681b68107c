"""Handing a plan to Slurm: recorded first, then submitted array by array."""

from __future__ import annotations

import getpass
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from .._cluster.errors import SlurmError
from .._cluster.options import to_arguments
from .._cluster.scheduler import Scheduler, SubmitRefused
from .layout import FOLDER, LOGS
from .plan import ArrayPlan, halve, share_limit
from .record import (
    FINALISER,
    PLANNED,
    REFUSED,
    SUBMITTED,
    SUBMITTING,
    Array,
    Submission,
    SubmittedRun,
    job_name,
    new_id,
    read_submission,
    write_runs,
)
from .sbatch import PACKAGE, sbatch_arguments, signal_delay_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_hydra.launching import Program

    from .._cluster.script import ArrayScript
    from .plan import SubmissionPlan

FOR_TRAINING = frozenset(
    (
        *("begin", "cpus-per-gpu", "cpus-per-task", "dependency", "exclusive", "gpus", "gres"),
        *("gpus-per-node", "gpus-per-task", "mem-per-gpu", "nodes", "ntasks-per-node"),
    )
)
LONGEST_SUBMISSION_S = 3600.0  # of one array, with all attempts and pauses of `Scheduler.submit`


def new_submission(
    plan: SubmissionPlan,
    *,
    experiment: Path,
    grid_id: str,
    program: Program | None,
    facts: Mapping[str, Any],
    python: str = sys.executable,
    now: datetime | None = None,
) -> Submission:
    """The record of a submission, before anything is written.

    Args:
        plan: What to submit.
        experiment: The experiment's folder.
        grid_id: The grid's id.
        program: What the tasks run; None where it is in a pickle.
        facts: Of the code and the configuration files, by field of `Submission`.
        python: The tasks' interpreter.
        now: The present time, in UTC; None takes the clock's.

    Raises:
        SlurmError: If Slurm would write no logs there.
    """
    if "\\" in str(experiment):  # sbatch's --output: it then stands for no job's number either
        raise SlurmError(
            f"Slurm writes no log into a folder with a backslash in its path, and starts no job "
            f"without one: {experiment}. Nothing has been submitted. Choose another name with "
            "experiment_id=… or results_dir=…"
        )
    # In UTC, because the newest submission is the one whose name sorts last, and local clocks are
    # put back in autumn.
    submission_id = new_id(now or datetime.now(UTC), uuid4().hex[:6])
    script, settings = plan.script, plan.settings
    arrays = tuple(
        Array(
            number=number,
            name=job_name(experiment.name, submission_id, number),
            first=array.first,
            runs=array.runs,
            options=array.options,
            signal_delay_s=signal_delay_s(settings, script, array.options),
        )
        for number, array in enumerate(plan.arrays)
    )
    return Submission(
        path=experiment / FOLDER / submission_id,
        grid_id=grid_id,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        host=platform.node(),
        user=getpass.getuser(),
        python=python,
        script=str(script.path),
        directory=program.directory if program is not None else str(Path.cwd()),
        program=None if program is None else program.to_record(),
        settings=settings,
        arrays=arrays,
        **facts,
    )


def create_folder(
    submission: Submission, runs: Sequence[SubmittedRun], *, pickled: bytes | None = None
) -> None:
    """Write a new submission's folder; its record last.

    Args:
        submission: The submission.
        runs: Its runs, in the order of their places.
        pickled: The function, if nobody can import it.

    Raises:
        SlurmError: If it cannot be written.
    """
    try:
        (submission.path / LOGS).mkdir(parents=True)  # Slurm creates no folder for its logs
        write_runs(submission.path, runs)
        if pickled is not None:
            from .payload import write_pickle

            write_pickle(submission.path, pickled)
        submission.write()
    except OSError as error:
        raise SlurmError(
            f"{submission.path} cannot be written: {error}. Nothing has been submitted. Choose "
            "another folder with results_dir=…"
        ) from error


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
    leaves the rest `refused`: `retry` submits it later. What Slurm never accepts leaves out only
    the runs of the same resources.

    Returns:
        The submission as its record now says.

    Raises:
        SubmitRefused: If Slurm accepts nothing at all.
    """
    limits = dict(zip((array.number for array in submission.arrays), parallelism, strict=True))
    waiting = [array.number for array in submission.arrays if array.state == PLANNED]
    while waiting:
        number = waiting.pop(0)
        submission = submission.with_array(number, state=SUBMITTING)
        submission.write()
        array = submission.array(number)
        try:
            job_id = scheduler.submit(
                sbatch_arguments(submission, array, script, limits[number]),
                name=array.name,
                directory=Path(submission.directory),
            )
        except SubmitRefused as refusal:
            if refusal.kind == "limit":
                halves = halve(
                    ArrayPlan(array.first, array.runs, array.options),
                    submission.settings.runs_per_task,
                )
                if halves is not None:
                    submission = _halved(submission, array, halves)
                    back = submission.arrays[-1].number
                    tasks = [half.tasks(submission.settings.runs_per_task) for half in halves]
                    limits[number], limits[back] = share_limit(limits[number], tasks)
                    waiting = [number, back, *waiting]
                    continue
            refused = [number, *waiting]
            if refusal.kind == "invalid":  # other resources may be valid
                refused = [
                    other for other in refused if submission.array(other).options == array.options
                ]
            waiting = [other for other in waiting if other not in refused]
            for other in refused:
                # Without an answer this one may have been accepted all the same; `recover` asks.
                if other != number or refusal.kind != "unreachable":
                    submission = submission.with_array(other, state=REFUSED, error=str(refusal))
            submission.write()
            if not waiting and not any(part.state == SUBMITTED for part in submission.arrays):
                raise
            say(str(refusal))
            continue
        submission = submission.with_array(number, state=SUBMITTED, job_id=job_id)
        submission.write()
    return submission


def _halved(
    submission: Submission, array: Array, halves: tuple[ArrayPlan, ArrayPlan]
) -> Submission:
    front, back = halves
    number = max(other.number for other in submission.arrays) + 1
    submission = submission.with_array(array.number, runs=front.runs, state=PLANNED)
    new_array = replace(
        array,
        number=number,
        name=f"{array.name.rpartition('-')[0]}-{number}",
        first=back.first,
        runs=back.runs,
        state=PLANNED,
    )
    return replace(submission, arrays=(*submission.arrays, new_array))


def recover(submission: Submission, scheduler: Scheduler) -> Submission:
    """Find out what became of jobs whose sbatch was interrupted; nothing is submitted twice.

    Jobs that exist are recorded. One that does not may be on its way: then the record is left to
    the process that submits, and the next call asks again.

    Raises:
        SlurmError: If Slurm does not answer.
    """
    for array in submission.jobs():
        if array.state != SUBMITTING:
            continue
        job_id = submission.job_id_in_logs(array.number) or scheduler.find_job(array.name)
        changes = (
            {"state": REFUSED, "error": "its submission was interrupted"}
            if job_id is None
            else {"state": SUBMITTED, "job_id": job_id}
        )
        if job_id is None and submission.written_s_ago() < LONGEST_SUBMISSION_S:
            continue
        submission = submission.with_array(array.number, **changes)
        # Changes the record as it is by now: the process that submits may have written it since.
        latest = read_submission(submission.path)
        if latest.array(array.number).state == SUBMITTING:
            latest.with_array(array.number, **changes).write()
    return submission


def submit_finaliser(
    submission: Submission, script: ArrayScript, scheduler: Scheduler, *, after: Sequence[str]
) -> Submission:
    """Submit a job that tidies up when arrays have ended, for when nobody waits.

    It runs in the user's script, for its modules and environments, with the least resources.

    Args:
        submission: Records the job.
        script: The batch script.
        scheduler: Slurm.
        after: Ids of the arrays.

    Raises:
        SubmitRefused: If it was not accepted.
    """
    name = job_name(submission.experiment.name, submission.id, "after")
    # What overrides the script's lines for the runs holds here too: a partition, and its limits.
    shared = [option for option in submission.arrays[0].options if option[0] not in FOR_TRAINING]
    arguments = [
        f"--dependency=afterany:{':'.join(after)}",
        f"--job-name={name}",
        f"--output={str(submission.path / LOGS).replace('%', '%%')}/after.log",
        "--open-mode=append",
        *to_arguments(tuple(shared)),
        *_without_resources(script),
        str(script.path),
        submission.python,
        "-m",
        f"{PACKAGE}.finish",
        str(submission.experiment),
    ]
    job = Array(number=FINALISER, name=name, first=0, runs=0, state=SUBMITTING)
    submission = replace(submission, finaliser=job)
    submission.write()
    try:
        job_id = scheduler.submit(arguments, name=name, directory=Path(submission.directory))
    except SubmitRefused as refusal:
        if refusal.kind != "unreachable":
            submission.with_array(FINALISER, state=REFUSED, error=str(refusal)).write()
        raise
    submission = submission.with_array(FINALISER, state=SUBMITTED, job_id=job_id)
    submission.write()
    return submission


def _without_resources(script: ArrayScript) -> Iterator[str]:
    """Options that take back what the script's lines ask for a training: drawing needs no GPU."""
    yield "--nodes=1"
    yield "--ntasks=1"
    if script.value("cpus-per-gpu") is None:  # sbatch takes one of them
        yield "--cpus-per-task=1"
    if script.value("gres") is not None:
        yield "--gres=none"
