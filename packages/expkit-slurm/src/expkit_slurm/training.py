"""One task of a grid's array job: `python -m expkit_slurm.training GRID [INDEX]`.

GRID is the folder of a submission, in which an array task finds its runs by its number, or that of
a grid or an experiment, for a batch script started by hand: then INDEX, or the array task's own
number, is the run's index in the grid. The run's configuration comes from the frozen grid: nothing
is composed, and Hydra's plugins are not searched.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from ._cluster.current_job import CurrentJob, current_job
from ._cluster.errors import SlurmError
from ._cluster.liveness import QueueLiveness
from ._cluster.scheduler import Scheduler
from ._submissions.layout import RECORD
from ._submissions.record import SubmittedRun, places_of_task, read_runs, read_submission
from ._task.distributed import (
    RankError,
    Ranks,
    declare_one_process,
    join_torch_distributed,
    srun_command,
)
from ._task.follower import run_follower
from ._task.forking import forking
from ._task.log import banner, code_line, open_task_log, run_line
from ._task.program import run_program
from ._task.stopping import (
    LEAVE_S,
    Saved,
    TimeLeft,
    requeue,
    stop_before_limit,
    stop_before_limit_by_alarm,
    stop_cause,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.types import TaskFunction
    from omegaconf import DictConfig

    from expkit_hydra import Grid, GridRun
    from expkit_hydra.launching import RunOutcome, Task

    from ._submissions.record import Submission

FAILED, INTERRUPTED = 1, 130  # exit codes; 130 is what a shell reports of Ctrl-C
DEFAULT_GRACE_S = 120.0


class SlurmTraining:
    """Runs of a grid in this process's Slurm task, or here to debug them.

    Args:
        grid: Folder of the grid, or of its experiment.
        runs: The runs, and what was known of them when they were submitted.
        submission: The submission that they belong to; None outside the manager's array jobs.
        show_output: Whether the output of the runs stays on this process's console instead of
            going to their console.log.
        grace_s: Seconds before the time limit at which a run is asked to stop.
    """

    def __init__(
        self,
        grid: str | PathLike[str],
        runs: Sequence[SubmittedRun],
        *,
        submission: Submission | None = None,
        show_output: bool = False,
        grace_s: float = DEFAULT_GRACE_S,
    ) -> None:
        from expkit_hydra.launching import open_grid

        self._grid = open_grid(grid)
        self._runs = list(runs)
        self._submission = submission
        self._show_output = show_output
        self._grace_s = grace_s
        self._job = current_job()
        # What this process prints goes to the run's own file; these lines stay in Slurm's log.
        self._log = open_task_log()

    def run(self) -> int:
        """Execute the runs.

        Returns:
            The exit code of the task: 0 if none of its runs failed, so that Slurm, sacct and
            dependencies see what happened.
        """
        from expkit_bookkeeping.launching import stop_signals

        # From the start: a signal during the imports would end the process with a traceback.
        with stop_signals():
            try:
                return self._run()
            except SystemExit as end:
                self._log(f"ended: {end.code}")
                raise
            except SlurmError as error:
                self._log(str(error))
                return FAILED

    def _run(self) -> int:
        grid = replace(
            self._grid,
            fresh=frozenset(run.index for run in self._runs if run.fresh),
            known={run.index: run.earlier_versions for run in self._runs},
        )
        runs = [grid.runs[run.index] for run in self._runs]
        skipped = [run for run in runs if run.skipped_by is not None]
        for run in skipped:
            self._log(run_line(run.run_name, "skipped", f"the rule {run.skipped_by} says so"))
        runs = [run for run in runs if run.skipped_by is None]
        if not runs:
            return 0
        if self._job is not None:
            self._log(banner(self._job))
            if self._job.step_tasks <= 1:
                declare_one_process()
        if len(runs) > 1:
            from expkit_hydra.launching import thread_limits

            # Before libraries are imported, which read them; forks share those.
            os.environ.update(thread_limits(self._at_once))

        def execute(task_function: TaskFunction, whole_grid: Grid, task: Task) -> int:
            self._log(code_line(self._submission))
            if len(runs) == 1:
                return self._run_one(whole_grid, runs[0], task_function)
            return self._run_packed(whole_grid, runs, task_function, task)

        return run_program(grid, self._submission, self._log, execute)

    @property
    def _at_once(self) -> int:
        """Runs at a time in a packed task."""
        return 1 if self._submission is None else self._submission.settings.parallel_per_task

    def _run_one(self, grid: Grid, run: GridRun, task_function: TaskFunction) -> int:
        from expkit_bookkeeping.launching import stop_requested

        left = self._time_left()
        with ExitStack() as stack:
            if self._job is not None:
                stack.enter_context(stop_before_limit(left, self._grace_s))
            if self._job is not None and self._job.step_tasks > 1:
                join_torch_distributed(self._job)
                outcome = self._run_rank(grid, run, task_function)
                if outcome is None:
                    return 0
            else:
                outcome = self._execute(grid, run, task_function)
            reason = stop_requested()
        self._report(outcome)
        if outcome.state == "interrupted":
            self._maybe_requeue(reason, left, [outcome])
        return _exit_code([outcome])

    def _execute(self, grid: Grid, run: GridRun, task_function: Callable[[Any], Any]) -> RunOutcome:
        from expkit_hydra.launching import ProcessOutput, execute_run, hydra_context

        return execute_run(
            grid,
            run,
            task_function=task_function,
            hydra_context=hydra_context(grid, run),
            output=None if self._show_output else ProcessOutput(),
            is_alive=QueueLiveness(),
        )

    def _run_rank(
        self, grid: Grid, run: GridRun, task_function: Callable[[Any], Any]
    ) -> RunOutcome | None:
        """This process's part of a distributed run; None for the ranks that record nothing."""
        assert self._job is not None
        base = self._submission.path if self._submission is not None else grid.path
        ranks = Ranks.of(base, self._job)
        if self._job.rank != 0:
            run_follower(grid, run, task_function, ranks)
            return None

        def start(config: DictConfig) -> Any:
            ranks.announce(None)
            return task_function(config)

        with ranks.watched(lambda error: _record_failure(run.folder, error)):
            outcome = self._execute(grid, run, start)
        if outcome.state == "skipped" or not ranks.folder.is_dir():
            ranks.announce(outcome.reason or outcome.state)
        if outcome.state not in ("failed", "interrupted"):
            return outcome
        error = ranks.first_error() or self._error_of_killed_rank(outcome)
        if error is None:
            return outcome
        # Rank 0 only saw the consequence: a peer that was gone, or srun's SIGTERM.
        _record_failure(run.folder, error)
        return replace(outcome, state="failed", error=error, stop=None)

    def _error_of_killed_rank(self, outcome: RunOutcome) -> RankError | None:
        """An error if rank 0 was ended because another one was killed, which leaves no error.

        srun then terminates rank 0 while the job itself runs on; where Slurm cancels, requeues or
        preempts the job, it is ending by now.
        """
        from expkit_bookkeeping.launching import stop_requested

        assert self._job is not None
        if outcome.state != "interrupted" or stop_requested() != "SIGTERM":
            return None
        tasks = Scheduler().queue([self._job.name]) or []
        if not any(task.name == self._job.name and task.state == "RUNNING" for task in tasks):
            return None
        return RankError(
            "another rank ended without a word: killed by SIGKILL, or out of memory? The end of "
            "the task's log says which"
        )

    def _run_packed(
        self, grid: Grid, runs: Sequence[GridRun], task_function: TaskFunction, task: Task
    ) -> int:
        from expkit_bookkeeping.launching import stop_requested
        from expkit_hydra.launching import execute_in_processes

        may_fork, why = forking()
        self._log(f"{len(runs)} runs, {self._at_once} at a time, {why}")
        left = self._time_left()
        outcomes: list[RunOutcome] = []
        with ExitStack() as stack:
            if self._job is not None:
                stack.enter_context(stop_before_limit_by_alarm(left, self._grace_s))
            executed = execute_in_processes(
                grid,
                runs,
                n_jobs=self._at_once,
                task=task,
                loaded=task_function if may_fork else None,
                show_output=self._show_output,
                is_alive=QueueLiveness(),
            )
            for outcome in stack.enter_context(closing(executed)):
                if outcome is not None:
                    outcomes.append(outcome)
                    self._report(outcome)
            reason = stop_requested()
        if reason is not None and len(outcomes) < len(runs):
            self._log(f"stopped by {reason}: {len(runs) - len(outcomes)} runs were not started")
        stopped = len(outcomes) < len(runs) or any(
            outcome.state == "interrupted" or outcome.stop is not None for outcome in outcomes
        )
        if stopped:
            self._maybe_requeue(reason, left, outcomes)
        return _exit_code(outcomes) or (INTERRUPTED if stopped else 0)

    def _time_left(self) -> TimeLeft:
        job = self._job
        return TimeLeft(lambda: None if job is None else Scheduler().time_left_s(job.job_id))

    def _maybe_requeue(
        self, reason: str | None, left: TimeLeft, outcomes: Sequence[RunOutcome]
    ) -> None:
        """Put the task back into the queue if the time limit or a preemption stopped it."""
        if self._job is None or self._submission is None:
            return
        cause = stop_cause(reason, left.seconds(), self._grace_s)
        if cause is None:
            return
        interrupted = [outcome.saved for outcome in outcomes if outcome.state == "interrupted"]
        done = any(outcome.state == "completed" for outcome in outcomes)
        saved = Saved(interrupted, others_completed=done)
        requeued = requeue(self._submission, self._job, cause, Scheduler(), saved)
        self._log(requeued.line)
        if requeued.is_requeued:
            # Slurm ends this process; ending before would let the task count as over.
            time.sleep(LEAVE_S)

    def _report(self, outcome: RunOutcome) -> None:
        from expkit_bookkeeping import read_run
        from expkit_bookkeeping.launching import traceback_text
        from expkit_hydra.launching import CONSOLE_LOG, error_line, short_path

        name, state = outcome.run.run_name, outcome.state
        if state == "failed" and outcome.error is not None:
            self._log(traceback_text(outcome.error).rstrip())
        elif state == "failed" and outcome.reason is None:  # in a process of its own
            record = read_run(outcome.run.folder)
            self._log(error_line(None if record is None else record.error) or "")
        is_unstarted = state == "skipped" and outcome.stop is not None
        line = run_line(name, "not started" if is_unstarted else state, outcome.reason)
        if state != "skipped" and not self._show_output:
            line += f"   ({short_path(outcome.run.folder / CONSOLE_LOG)})"
        self._log(line)


def _record_failure(folder: Path, error: RankError) -> None:
    """Record another rank's error in a run, unless somebody else has it by now."""
    from expkit_bookkeeping import ClaimLost, RunClaimed
    from expkit_bookkeeping.launching import claim_run, completed_since

    # A run that another process has completed stays completed; this process's own becomes a failed
    # one, whatever its rank 0 has recorded.
    with suppress(ClaimLost, RunClaimed):
        claim_run(folder, unless=completed_since(None)).finish("failed", error)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the task that the arguments and Slurm's environment name; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m expkit_slurm.training", description="Run one task of a grid's array job."
    )
    parser.add_argument("grid", metavar="GRID", type=Path, help="a submission, grid or experiment")
    parser.add_argument("index", metavar="INDEX", type=int, nargs="?", help="the run's number")
    parser.add_argument("--array", type=int, help="number of the submission's array")
    parser.add_argument("--program", help="digest of what was submitted, as sbatch was given it")
    arguments = parser.parse_args(argv)
    job = current_job()
    try:
        # sbatch was given a digest, and a submission with it.
        if arguments.program is not None or (arguments.grid / RECORD).is_file():
            number, digest = arguments.array or 0, arguments.program
            return _run_task(arguments.grid, number, arguments.index, job, digest)
        index = arguments.index
        if index is None and job is not None:
            index = job.task_id
        if index is None:
            parser.error("INDEX is missing, and this is not a task of a Slurm array")
        return SlurmTraining(arguments.grid, [SubmittedRun(index)]).run()
    except (SlurmError, OSError, IndexError, ValueError) as error:
        print(error, file=sys.stderr, flush=True)
        return 2


def _run_task(
    folder: Path, number: int, task: int | None, job: CurrentJob | None, digest: str | None
) -> int:
    submission = read_submission(folder)
    if digest is not None and digest != submission.program_digest:
        raise SlurmError(
            f"{folder / RECORD} names another program than the one that was submitted: somebody "
            "has changed it since. Nothing of it is run. Submit the runs again with the sweep's "
            "command."
        )
    if submission.grid_id is None:
        raise SlurmError(
            f"{folder} is of version 0.1.0, whose sweeper waited for what its jobs return. Run "
            "the sweep again."
        )
    array = submission.array(number)
    if task is None:
        if job is None or job.task_id is None:
            raise SlurmError(f"{folder} is a submission, and this is not a task of its array job.")
        task = job.task_id
    tasks = submission.settings.tasks_per_run
    if tasks > 1 and job is not None and job.step_tasks == 0:
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execvp("srun", srun_command(command, tasks, dict(os.environ)))
    places = places_of_task(array, task, submission.settings.runs_per_task)
    training = SlurmTraining(
        submission.grid_path,
        read_runs(folder, places.start, len(places)),
        submission=submission,
        grace_s=array.signal_delay_s,
    )
    return training.run()


def _exit_code(outcomes: Sequence[RunOutcome]) -> int:
    states = {outcome.state for outcome in outcomes}
    if states & {"failed", "lost"}:
        return FAILED
    if "interrupted" in states:
        stops = [outcome.stop for outcome in outcomes if outcome.stop is not None]
        return stops[0] if stops else INTERRUPTED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
