"""The override lists of foreign sweepers, which wait for what each returns.

They have no grid and no tree. `.slurm/<id>/private/` in the sweep's folder holds one pickle with
the function and the configurations, composed at submission, and one per list with what it
returned. Only their owner can read or change them; after a success they are removed, and the logs
stay.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ._cluster.current_job import CurrentJob, current_job
from ._cluster.errors import SlurmError
from ._cluster.scheduler import Scheduler
from ._cluster.script import find_script
from ._cluster.tasks import Phase, Task, cause_of, phase_of, tasks_by_name
from ._job_results import exit_code, failed, read_result, write_result
from ._submissions.payload import discard_pickles, read_payload, write_payload
from ._submissions.plan import plan_submission
from ._submissions.record import (
    Array,
    Submission,
    SubmittedRun,
    array_at,
    read_runs,
    read_submission,
    task_at,
    task_name,
)
from ._submissions.resources import job_options
from ._submissions.sbatch import PACKAGE
from ._submissions.settings import SubmissionSettings
from ._submissions.submitting import create_folder, new_submission, recover, submit_arrays
from ._watching.status import RunStatus
from ._watching.waiting import wait_until_over

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig
    from rich.console import Console

    from ._task.stopping import Saved, TimeLeft

HIDDEN = ".slurm"  # a sweep's folder may be listed by tools, for its jobs
TAIL_LINES = 10
FAILED, INTERRUPTED, TERMINATED = 1, 130, 143  # exit codes
Say = Callable[[str], None]
_MORE_BY_CAUSE = {
    "timeout": "hydra.launcher.time=… gives it longer, hydra.launcher.max_requeues_timeout=… "
    "lets it start again.",
    "preemption": "hydra.launcher.max_requeues_preempt=… lets it start again more often.",
}


@dataclass(frozen=True)
class BatchResult:
    """How the jobs of a batch ended, in the sweeper's order.

    `command` runs one of the failed ones on this machine; None if none failed.
    """

    returned: list[JobReturn]
    statuses: list[RunStatus]
    command: str | None = None


def launch_jobs(
    job_overrides: Sequence[Sequence[str]],
    initial_job_idx: int,
    *,
    config: DictConfig,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    values: Mapping[str, object],
    screen: Console,
) -> BatchResult:
    """Submit override lists as array jobs, wait, and return what they returned.

    Raises:
        SlurmError: If they cannot be submitted.
        SystemExit: With 130 after Ctrl-C: the jobs have been cancelled.
    """
    from hydra.core.utils import configure_log, filter_overrides, setup_globals

    from expkit_bookkeeping.launching import public_override

    def say(text: str) -> None:
        screen.print(text, markup=False, soft_wrap=True)

    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    settings, _ = SubmissionSettings.split(values)
    _refuse_what_needs_a_grid(settings)
    sweep_dir = Path(str(config.hydra.sweep.dir)).absolute()
    names = [
        " ".join([f"#{number}", *map(public_override, filter_overrides(overrides))])
        for number, overrides in enumerate(job_overrides, start=initial_job_idx)
    ]
    for name in names:
        say(name)
    configs = list(_compose(job_overrides, initial_job_idx, config, hydra_context))
    scheduler = Scheduler()
    script = find_script(settings.script, Path.cwd())
    plan = plan_submission(
        [SubmittedRun(number) for number in range(len(configs))],
        [job_options(composed) for composed in configs],
        script=script,
        settings=settings,
        max_array_size=scheduler.max_array_size(),
    )
    submission = new_submission(plan, experiment=sweep_dir, grid_id=None, program=None, facts={})
    submission = replace(submission, path=sweep_dir / HIDDEN / submission.id)
    create_folder(submission, plan.runs)
    with _cancelled_on_leaving(submission.path, scheduler, say):
        write_payload(submission.path, configs, hydra_context, task_function)
        submission = submit_arrays(
            submission, script, scheduler=scheduler, parallelism=plan.parallelism(), say=say
        )
        job_ids = [array.job_id for array in submission.arrays if array.job_id is not None]
        say(f"submitted {len(configs)} jobs: job {', '.join(job_ids)}")
        say("waiting; Ctrl-C cancels the jobs")
        numbers = [run.index for run in plan.runs]
        result = _wait_for(submission, numbers, names, scheduler, screen)
    for job, composed in zip(result.returned, configs, strict=True):
        if job.overrides is None:  # nothing came back
            job.overrides = list(composed.hydra.overrides.task)
    if result.command is None:
        discard_pickles(submission.path)
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    return result


def _refuse_what_needs_a_grid(settings: SubmissionSettings) -> None:
    for name, plain in (("tasks_per_run", 1), ("parallel_per_task", 1), ("snapshot", "none")):
        value = getattr(settings, name)
        if value != plain:
            raise SlurmError(
                f"hydra.launcher.{name}={value} is for the runs of a grid, and this sweep has "
                f"none. Sweep with hydra/sweeper=expkit and `defaults: [expkit, …, _self_]`, or "
                f"set it to {plain}."
            )


def _compose(
    job_overrides: Sequence[Sequence[str]],
    first: int,
    config: DictConfig,
    hydra_context: HydraContext,
) -> Iterator[DictConfig]:
    from omegaconf import open_dict

    for number, overrides in enumerate(job_overrides, start=first):
        composed = hydra_context.config_loader.load_sweep_config(config, list(overrides))
        with open_dict(composed):
            composed.hydra.job.id = str(number)  # until Slurm has assigned one
            composed.hydra.job.num = number
        yield composed


@contextmanager
def _cancelled_on_leaving(path: Path, scheduler: Scheduler, say: Say) -> Iterator[None]:
    """Cancel the jobs when the wait is interrupted: nobody is left to take what they return."""
    from expkit_bookkeeping.launching import stop_signals

    with stop_signals():
        try:
            yield
        except BaseException as error:
            _cancel(path, scheduler, say)
            if isinstance(error, KeyboardInterrupt):
                raise SystemExit(INTERRUPTED) from None
            raise


def _cancel(path: Path, scheduler: Scheduler, say: Say) -> None:
    try:
        # From its record: the interruption may have come during sbatch.
        submission = recover(read_submission(path), scheduler)
        jobs = [array.job_id for array in submission.arrays if array.job_id is not None]
        scheduler.cancel(jobs)
    except SlurmError as error:
        say(f"The jobs may go on, though nobody takes their results. {error}")
        return
    if jobs:
        say(f"cancelled job {', '.join(jobs)}: nobody is left to take what the jobs return")
        discard_pickles(path)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _wait_for(
    submission: Submission,
    numbers: Sequence[int],
    names: Sequence[str],
    scheduler: Scheduler,
    screen: Console,
) -> BatchResult:
    """Wait until each job has left a result, or nothing more can be expected of it.

    Args:
        submission: The submission.
        numbers: The job that stands at each of its places.
        names: What to call each job.
        scheduler: Slurm.
        screen: Shows the progress.
    """
    from ._watching.display import ProgressDisplay, failure_line

    jobs = [array.job_id for array in submission.arrays if array.job_id is not None]
    results: dict[int, JobReturn] = {}

    def read_statuses() -> list[RunStatus]:
        # Slurm first: what it reports as over has left its result before.
        queued = scheduler.queue(jobs)
        tasks = None if queued is None else tasks_by_name(queued)
        statuses = []
        for place, number in enumerate(numbers):
            if number not in results:
                result = read_result(submission.path, number)
                if result is not None:
                    results[number] = result
            status = _status(submission, place, tasks, results.get(number))
            statuses.append(replace(status, index=number, run_name=names[number]))
        return sorted(statuses, key=lambda status: status.index)

    settings = submission.settings
    with ProgressDisplay(screen, total=len(numbers)) as display:
        statuses = wait_until_over(
            read_statuses,
            show=display.show,
            cancel=lambda: scheduler.cancel(jobs),
            stop_after_failures=settings.stop_after_failures,
            poll_s=settings.poll_s,
        )
    statuses = [
        status if status.index in results else _with_last_lines(status) for status in statuses
    ]
    returned = [results.get(status.index) or failed(failure_line(status)) for status in statuses]
    failures = [numbers.index(status.index) for status in statuses if not status.is_good]
    command = _command(submission, failures[0]) if failures else None
    return BatchResult(returned, statuses, command)


def _status(
    submission: Submission, place: int, tasks: Mapping[str, Task] | None, result: JobReturn | None
) -> RunStatus:
    """How the job at one place is; `tasks` is None where Slurm does not answer."""
    array = array_at(submission.arrays, place)
    number = task_at(array, place, submission.settings.runs_per_task)
    job = task_name(array, number)
    status = RunStatus(place, "", "pending", job=job)
    if job is None:
        reason = array.error or "Slurm did not accept it"
        return replace(status, state="unsubmitted", reason=reason)
    status = replace(status, log=_log(submission, array, number))
    task = None if tasks is None else tasks.get(job)
    if task is not None:
        status = replace(status, node=task.node, elapsed_s=task.elapsed_s)
    if result is not None:
        return _of_result(status, result)
    if tasks is None:
        return replace(status, reason="Slurm does not answer")
    return _without_result(status, task)


def _of_result(status: RunStatus, result: JobReturn) -> RunStatus:
    from hydra.core.utils import JobStatus

    from expkit_bookkeeping.launching import error_facts, text_of
    from expkit_hydra import GridError
    from expkit_hydra.launching import error_line, raw_return_value

    if result.status == JobStatus.COMPLETED:
        return replace(status, state="completed")
    error = raw_return_value(result)
    reason = text_of(error).strip().partition("\n")[0]
    if not isinstance(error, GridError):
        reason = error_line(error_facts(error)) or reason
    return replace(status, state="failed", reason=reason)


def _without_result(status: RunStatus, task: Task | None) -> RunStatus:
    if task is None:
        return replace(status, state="lost", reason="its task is gone from Slurm's queue")
    task_phase = phase_of(task.state)
    if task_phase is not Phase.OVER:
        return replace(status, state="pending" if task_phase is Phase.PENDING else "running")
    # Our own exit code after a failure: its result is on its way, on a slow file system.
    code = None if task.exit_code == FAILED else task.exit_code
    return replace(
        status,
        state="cancelled" if task.state.startswith("CANCELLED") else "lost",
        reason=cause_of(task) or "its task ended and left no result",
        exit_code=128 + task.signal if task.signal else code,
    )


def _log(submission: Submission, array: Array, task: int) -> Path | None:
    path = submission.log(array.number, str(array.job_id), task)
    return path if path.is_file() else None


def _with_last_lines(status: RunStatus) -> RunStatus:
    from expkit_hydra.launching import last_lines

    if status.log is None:
        return status
    return replace(status, last_lines=tuple(last_lines(status.log, TAIL_LINES)))


def _command(submission: Submission, place: int) -> str:
    from expkit_hydra.launching import short_path

    array = array_at(submission.arrays, place)
    command = ["python", "-m", f"{PACKAGE}.training", short_path(submission.path)]
    command.append(str(task_at(array, place, submission.settings.runs_per_task)))
    return shlex.join([*command, f"--array={array.number}"] if array.number else command)


def run_job_at(submission: Submission, place: int) -> int:
    """Run one of the jobs in its array task; returns the exit code."""
    from expkit_bookkeeping.launching import stop_requested, stop_signals
    from expkit_hydra.launching import checkpoint_versions

    from ._task.stopping import Saved, TimeLeft, stop_before_limit

    (run,) = read_runs(submission.path, place, 1)
    array, slurm_job = array_at(submission.arrays, place), current_job()
    if slurm_job is not None and slurm_job.restarts:
        earlier = read_result(submission.path, run.index)
        if earlier is not None:  # the task was requeued because of another of its jobs
            return exit_code(earlier)
    left = TimeLeft(lambda: Scheduler().time_left_s(slurm_job.job_id) if slurm_job else None)
    # To the very end: unhandled, the warning before the time limit would end the process.
    with stop_signals(), stop_before_limit(left, array.signal_delay_s):
        before: list[tuple[Path, frozenset[tuple[str, int, int]]]] = []
        job = _run(
            submission,
            run.index,
            slurm_job,
            lambda folder: before.append((folder, checkpoint_versions(folder))),
        )
        reason = stop_requested()
        if reason is not None and _is_interrupted(job):
            saved = Saved([any(checkpoint_versions(folder) - old for folder, old in before)])
            error = _requeued_or_error(
                submission, slurm_job, reason, left, array.signal_delay_s, saved
            )
            if error is None:
                return INTERRUPTED
            job = failed(error, job)
        write_result(submission.path, run.index, job)
    return exit_code(job)


def _run(
    submission: Submission,
    number: int,
    slurm_job: CurrentJob | None,
    at_start: Callable[[Path], object],
) -> JobReturn:
    """Run a job; `at_start` is given its folder just before its function is called."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.singleton import Singleton
    from hydra.core.utils import run_job, setup_globals
    from omegaconf import open_dict

    from expkit_bookkeeping.launching import exit_code, traceback_text
    from expkit_hydra.launching import as_exception

    def task(task_config: DictConfig) -> object:
        at_start(Path(HydraConfig.get().runtime.output_dir))
        return common["task_function"](task_config)

    try:
        common, config = read_payload(submission.path, number)
        Singleton.set_state(common["singletons"])
        setup_globals()
        os.chdir(submission.directory)
        if slurm_job is not None:
            with open_dict(config):
                config.hydra.job.id = slurm_job.name
        return run_job(
            hydra_context=common["hydra_context"],
            task_function=task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    # What the function raises besides exceptions; before and after it: imports, folders, logging.
    except BaseException as error:
        if exit_code(error) == TERMINATED:  # Slurm ends the job, and may start it again
            raise
        print(traceback_text(error), file=sys.stderr, end="", flush=True)
        return failed(as_exception(error))


def _is_interrupted(job: JobReturn) -> bool:
    """Whether the function left before its end, as Bookkeeping has recorded."""
    from expkit_bookkeeping import read_run

    if job.hydra_cfg is None:
        return False
    record = read_run(Path(job.hydra_cfg.hydra.runtime.output_dir))
    return record is not None and record.state == "interrupted"


def _requeued_or_error(
    submission: Submission,
    slurm_job: CurrentJob | None,
    reason: str,
    left: TimeLeft,
    grace_s: float,
    saved: Saved,
) -> str | None:
    """Put the task back into the queue; where it may not go there, why the job has no result."""
    import time

    from ._task.stopping import LEAVE_S, requeue, stop_cause

    cause = stop_cause(reason, left.seconds(), grace_s)
    if cause is None or slurm_job is None:
        return f"It was stopped by {reason} before it was done."
    outcome = requeue(submission, slurm_job, cause, Scheduler(), saved)
    if not outcome.is_requeued:
        more = _MORE_BY_CAUSE[cause] if saved.is_progress else f"{saved.text.capitalize()}."
        return f"It was stopped by {cause} before it was done. {more}"
    print(outcome.line, flush=True)
    time.sleep(LEAVE_S)  # Slurm ends this process; ending before would let the task count as over
    return None
