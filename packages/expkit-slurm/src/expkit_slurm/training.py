"""One task of a grid's array job: `python -m expkit_slurm.training GRID [INDEX]`.

GRID is the folder of a submission, whose array task knows its runs by its number, or of a grid or
an experiment, for a batch script started by hand: then INDEX, or the array task's own number, is
the run's number in the grid. The run's configuration comes from the frozen grid: nothing is
composed, and none of Hydra's plugins is looked for.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._distributed import RankError, Ranks, join_torch_distributed, srun_command
from ._errors import SlurmError
from ._forking import start_method
from ._hydra_jobs import follow, hydra_context
from ._job import Job, this_job
from ._submission import CODE, RECORD, Order, places, read_orders, read_submission
from ._task_log import banner, code_line, run_line, speaker

if TYPE_CHECKING:
    from hydra.types import TaskFunction
    from omegaconf import DictConfig

    from expkit_bookkeeping import Liveness
    from expkit_hydra import Grid, GridRun
    from expkit_hydra.launching import RunOutcome

    from ._submission import Submission

FAILED, INTERRUPTED = 1, 130  # exit codes; 130 is what a shell reports of Ctrl-C
DEFAULT_GRACE_S = 120.0


class SlurmTraining:
    """Runs of a grid in this process's Slurm task, or here to debug them.

    Args:
        grid: Folder of the grid, or of its experiment.
        orders: The runs, and what was known of them when they were submitted.
        submission: What they were submitted with; None outside an array job of the manager.
        show_output: Whether what the runs print stays on this process's console instead of going
            to their console.log.
        grace_s: Seconds before the time limit at which a run is asked to stop.
    """

    def __init__(
        self,
        grid: Path,
        orders: Sequence[Order],
        *,
        submission: Submission | None = None,
        show_output: bool = False,
        grace_s: float = DEFAULT_GRACE_S,
    ) -> None:
        from expkit_hydra.launching import open_grid

        self._grid = open_grid(grid)
        self._orders = list(orders)
        self._submission = submission
        self._show_output = show_output
        self._grace_s = grace_s
        self._job = this_job()
        # What this process prints goes to the run's own file; these lines stay in Slurm's log.
        self._say = speaker()

    def run(self) -> int:
        """Execute the runs.

        Returns:
            The exit code of the task: 0 if none of its runs failed, so that Slurm, sacct and
            dependencies see what happened.
        """
        from expkit_bookkeeping import stop_signals

        # From the start: a signal amid the imports would end the process with a traceback.
        with stop_signals():
            try:
                return self._run()
            except SystemExit as end:
                self._say(f"ended: {end.code}")
                raise
            except SlurmError as error:
                self._say(str(error))
                return FAILED

    def _run(self) -> int:
        grid = replace(
            self._grid,
            fresh=frozenset(each.run for each in self._orders if each.fresh),
            known={each.run: each.known for each in self._orders},
        )
        runs = [grid.runs[each.run] for each in self._orders]
        skipped = [run for run in runs if run.skipped_by is not None]
        for run in skipped:
            self._say(run_line(run.run_name, "skipped", f"the rule {run.skipped_by} says so"))
        runs = [run for run in runs if run.skipped_by is None]
        if not runs:
            return 0
        if self._job is not None:
            self._say(banner(self._job))
        with _few_collections():
            task_function = self._load()
        self._say(code_line(self._submission))
        if len(runs) == 1:
            return self._run_one(grid, runs[0], task_function)
        return self._run_packed(grid, runs, task_function)

    def _load(self) -> TaskFunction:
        """Import the user's program and find the function, from the snapshot if there is one."""
        if self._submission is not None and self._submission.program is None:
            from ._payload import read_function

            return read_function(self._submission.path)
        from expkit_bookkeeping import stop_requested
        from expkit_hydra.launching import Program

        program = self._program()
        if program is None:
            raise SlurmError(
                f"Nobody knows which function the grid {self._grid.grid_id} runs: its "
                "grid_search.yaml names none. Submit it again with hydra/launcher=expkit_slurm."
            )
        try:
            return Program.load(program)
        except SystemExit as end:
            if stop_requested() is not None:
                raise
            raise SlurmError(
                f"The program ends while it is imported: sys.exit({end.code!r}). Tasks import it; "
                'what only the sweep is to do belongs under `if __name__ == "__main__":`.'
            ) from end
        except (FileNotFoundError, ImportError, ValueError) as error:
            self._say(traceback.format_exc().rstrip())
            raise SlurmError(
                f"The program cannot be imported here: {type(error).__name__}: {error}"
            ) from error

    def _program(self) -> Any:
        from expkit_hydra.launching import Program

        if self._submission is not None:
            assert self._submission.program is not None
            program = Program.from_record(self._submission.program)
            if self._submission.snapshot is not None:
                return _from_snapshot(program, self._submission)
            return program
        described = self._grid.description.get("task")
        return None if described is None else Program.described(described)

    def _run_one(self, grid: Grid, run: GridRun, task_function: TaskFunction) -> int:
        from expkit_bookkeeping import stop_requested

        from ._stopping import stop_before_limit

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
        from expkit_hydra.launching import ProcessOutput, execute_run

        context = hydra_context(grid, run)
        return execute_run(
            grid,
            run,
            task_function=task_function,
            hydra_context=context,
            output=None if self._show_output else ProcessOutput(),
            is_alive=queue_liveness(),
        )

    def _run_rank(
        self, grid: Grid, run: GridRun, task_function: Callable[[Any], Any]
    ) -> RunOutcome | None:
        """This process's part of a distributed run; None for the ranks that record nothing."""
        from expkit_bookkeeping import claim_run

        assert self._job is not None
        base = self._submission.path if self._submission is not None else grid.path
        ranks = Ranks.of(base, self._job)
        if self._job.rank != 0:
            follow(grid, run, task_function, ranks)
            return None

        def starts(config: DictConfig) -> Any:
            ranks.tell(None)
            return task_function(config)

        with ranks.watched(lambda error: claim_run(run.folder).finish("failed", error)):
            outcome = self._execute(grid, run, starts)
        if outcome.state == "skipped" or not ranks.folder.is_dir():
            ranks.tell(outcome.reason or outcome.state)
        if outcome.state not in ("failed", "interrupted"):
            return outcome
        first = ranks.first_error() or self._killed_rank(outcome)
        if first is None:
            return outcome
        # What rank 0 met was the echo: a peer that was gone, or srun's SIGTERM.
        claim_run(run.folder).finish("failed", first)
        return replace(outcome, state="failed", error=first, stop=None)

    def _killed_rank(self, outcome: RunOutcome) -> RankError | None:
        """Whether rank 0 was ended because another one was killed, which leaves no word.

        srun then terminates rank 0 while the job itself runs on; where Slurm cancels, requeues or
        preempts the job, it is ending by now.
        """
        from expkit_bookkeeping import stop_requested

        from ._scheduler import Scheduler

        assert self._job is not None
        if outcome.state != "interrupted" or stop_requested() != "SIGTERM":
            return None
        told = Scheduler().queue([self._job.name]) or []
        if not any(each.name == self._job.name and each.state == "RUNNING" for each in told):
            return None
        return RankError(
            "another rank ended without a word: killed by SIGKILL, or out of memory? The end of "
            "the task's log says which"
        )

    def _run_packed(self, grid: Grid, runs: Sequence[GridRun], task_function: TaskFunction) -> int:
        from expkit_bookkeeping import stop_requested
        from expkit_hydra.launching import execute_in_processes

        from ._stopping import stop_before_limit_by_alarm

        chosen = self._submission.settings if self._submission is not None else None
        at_once = 1 if chosen is None else chosen.parallel_per_task
        method, why = start_method()
        self._say(f"{len(runs)} runs, {at_once} at a time, {why}")
        left = self._time_left()
        ended: list[RunOutcome] = []
        with ExitStack() as stack:
            if self._job is not None:
                stack.enter_context(stop_before_limit_by_alarm(left, self._grace_s))
            outcomes = execute_in_processes(
                grid,
                runs,
                n_jobs=at_once,
                task_function=task_function,
                hydra_context=hydra_context(grid, runs[0]),
                show_output=self._show_output,
                start_method=method,
                is_alive=queue_liveness(),
                with_jobs=False,
            )
            for outcome in stack.enter_context(closing(outcomes)):
                if outcome is not None:
                    ended.append(outcome)
                    self._report(outcome)
            reason = stop_requested()
        if reason is not None and len(ended) < len(runs):
            self._say(f"stopped by {reason}: {len(runs) - len(ended)} runs were not started")
        stopped = len(ended) < len(runs) or any(
            each.state == "interrupted" or each.stop is not None for each in ended
        )
        if stopped:
            self._maybe_requeue(reason, left, ended)
        return _exit_code(ended) or (INTERRUPTED if stopped else 0)

    def _time_left(self) -> Any:
        from ._scheduler import Scheduler
        from ._stopping import TimeLeft

        job = self._job
        return TimeLeft(lambda: None if job is None else Scheduler().time_left_s(job.job_id))

    def _maybe_requeue(self, reason: str | None, left: Any, ended: Sequence[RunOutcome]) -> None:
        """Put the task back into the queue where it was stopped by the clock or a better job."""
        import time

        from ._scheduler import Scheduler
        from ._stopping import LEAVE_S, requeue, why_stopped

        if self._job is None or self._submission is None:
            return
        cause = why_stopped(reason, left.seconds(), self._grace_s)
        if cause is None:
            return
        saved = all(each.error is None for each in ended if each.state == "interrupted")
        told = requeue(self._submission, self._job, cause, Scheduler(), saved=saved)
        self._say(told.line)
        if told.is_done:
            # Slurm ends this process; ending before would let the task count as over.
            time.sleep(LEAVE_S)

    def _report(self, outcome: RunOutcome) -> None:
        from expkit_hydra.launching import CONSOLE_LOG, short_path

        name, state = outcome.run.run_name, outcome.state
        if outcome.error is not None and state == "failed":
            text = "".join(traceback.format_exception(outcome.error)).rstrip()
            self._say(text)
        is_unstarted = state == "skipped" and outcome.stop is not None
        line = run_line(name, "not started" if is_unstarted else state, outcome.reason)
        if state != "skipped" and not self._show_output:
            line += f"   ({short_path(outcome.run.folder / CONSOLE_LOG)})"
        self._say(line)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the task that the arguments and Slurm's environment name; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m expkit_slurm.training", description="Run one task of a grid's array job."
    )
    parser.add_argument("grid", metavar="GRID", type=Path, help="a submission, grid or experiment")
    parser.add_argument("index", metavar="INDEX", type=int, nargs="?", help="the run's number")
    parser.add_argument("--array", type=int, help="number of the submission's array")
    arguments = parser.parse_args(argv)
    job = this_job()
    try:
        if (arguments.grid / RECORD).is_file():
            return _run_task(arguments.grid, arguments.array or 0, arguments.index, job)
        index = arguments.index
        if index is None and job is not None:
            index = job.task_id
        if index is None:
            parser.error("INDEX is missing, and this is no task of a Slurm array")
        return SlurmTraining(arguments.grid, [Order(index)]).run()
    except (SlurmError, FileNotFoundError, IndexError, ValueError) as error:
        print(error, file=sys.stderr, flush=True)
        return 2


def _run_task(folder: Path, number: int, task: int | None, job: Job | None) -> int:
    submission = read_submission(folder)
    array = submission.array(number)
    if task is None:
        if job is None or job.task_id is None:
            raise SlurmError(f"{folder} is a submission, and this is no task of its array job.")
        task = job.task_id
    tasks = submission.settings.tasks_per_run
    if tasks > 1 and job is not None and job.step_tasks == 0:
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execvp("srun", srun_command(command, tasks, dict(os.environ)))
    where = places(array, task, submission.settings.runs_per_task)
    if submission.grid_id is None:
        from ._jobs import run_job_at

        return max(run_job_at(submission, place) for place in where)
    training = SlurmTraining(
        submission.grid_path,
        read_orders(folder, where.start, len(where)),
        submission=submission,
        grace_s=array.signal_delay_s,
    )
    return training.run()


@contextlib.contextmanager
def _few_collections() -> Iterator[None]:
    """For imports, which make many objects and hardly any garbage.

    What they made is looked through no more, not even at the end: the last collection of a process
    that has imported hydra costs as much as half of the import.
    """
    before, rarely = gc.get_threshold(), (100_000, 50, 1_000)
    gc.set_threshold(*rarely)
    try:
        yield
    finally:
        if gc.get_threshold() == rarely:  # else the script has set its own
            gc.set_threshold(*before)
        gc.freeze()


def queue_liveness() -> Liveness:
    """Tells whether the owner of a run lives: Slurm's queue decides for Slurm's jobs."""
    from ._liveness import QueueLiveness

    return QueueLiveness()


def _exit_code(outcomes: Sequence[RunOutcome]) -> int:
    states = {each.state for each in outcomes}
    if states & {"failed", "lost"}:
        return FAILED
    if "interrupted" in states:
        stops = [each.stop for each in outcomes if each.stop is not None]
        return stops[0] if stops else INTERRUPTED
    return 0


def _from_snapshot(program: Any, submission: Submission) -> Any:
    from ._snapshot import Snapshot

    assert submission.snapshot is not None
    snapshot = Snapshot.from_record(submission.snapshot, submission.path / CODE)
    snapshot.announce()
    script = program.script
    return replace(
        program,
        script=None if script is None else snapshot.relocated(script),
        path=tuple(snapshot.relocated(each) for each in program.path),
    )


if __name__ == "__main__":
    raise SystemExit(main())
