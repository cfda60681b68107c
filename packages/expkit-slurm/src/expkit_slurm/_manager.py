"""`SlurmManager`: submits a grid, waits for it, cancels it and tries again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from os import PathLike
from pathlib import Path

from ._cluster.errors import SlurmError
from ._cluster.options import Options, sbatch_options
from ._cluster.scheduler import Scheduler
from ._cluster.script import ArrayScript, read_script
from ._cluster.tasks import Phase, phase_of, shorten_names
from ._submissions.conf_files import changed_conf_files
from ._submissions.layout import RECORD
from ._submissions.placements import RunKey, job_ids, run_key
from ._submissions.plan import SubmissionPlan
from ._submissions.record import SUBMITTING, Submission, read_submission
from ._submissions.request import SubmissionRequest, plan_request, submit_plan, with_pending
from ._submissions.settings import SubmissionSettings
from ._submissions.submitting import submit_finaliser
from ._watching.monitor import GridMonitor
from ._watching.status import RETRIABLE, RunStatus, check_retriable
from ._watching.waiting import GracePeriod, wait_until_over

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.types import TaskFunction

    from expkit_hydra import Grid, GridRun

log = logging.getLogger("expkit_slurm")


class SlurmManager:
    """A grid as Slurm array jobs: one task per run, or several short runs per task.

    It keeps nothing in memory that is not in the experiment's folder: any process can `attach`,
    at any time.

    Args:
        grid: The grid; its `pending` runs are submitted.
        script: The batch script; None takes gpu_scripts/grid_search_array.sh where it exists.
        task_function: The user's function; None takes the one that the grid names.
        scheduler: Runs Slurm's commands.
        **options: Settings and resources of `hydra.launcher`, such as `array_parallelism=8`,
            `mem="16G"`, `time="04:00:00"`. A resource given here holds for all runs; the others
            come from each run's configuration, else from the script.

    Raises:
        SlurmError: If an option or the script cannot be used.
    """

    def __init__(
        self,
        grid: Grid,
        script: str | None = None,
        *,
        task_function: TaskFunction | None = None,
        scheduler: Scheduler | None = None,
        **options: object,
    ) -> None:
        settings, resources = SubmissionSettings.split({**options, "script": script})
        request = SubmissionRequest(settings, sbatch_options(resources), task_function)
        scheduler = scheduler or Scheduler()
        self._set_up(grid, request, scheduler, GridMonitor(grid, scheduler))

    def _set_up(
        self, grid: Grid, request: SubmissionRequest, scheduler: Scheduler, monitor: GridMonitor
    ) -> None:
        self.grid = grid
        self._request = request
        self._scheduler = scheduler
        self._monitor = monitor

    @classmethod
    def _of(
        cls, grid: Grid, request: SubmissionRequest, scheduler: Scheduler, monitor: GridMonitor
    ) -> SlurmManager:
        manager = cls.__new__(cls)
        manager._set_up(grid, request, scheduler, monitor)
        return manager

    @classmethod
    def attach(
        cls, path: str | PathLike[str], *, scheduler: Scheduler | None = None
    ) -> SlurmManager:
        """Take over what was submitted, from the folder of an experiment or a submission.

        The record of an interrupted submission is completed: Slurm is asked what it accepted.

        Args:
            path: The folder.
            scheduler: How Slurm is asked; by default with the commands on PATH.

        Raises:
            FileNotFoundError: If there is no grid.
            SlurmError: If nothing was submitted, or Slurm does not answer about an interrupted
                submission.
        """
        from expkit_hydra.launching import read_grid, short_path

        path = Path(path).absolute()
        only = None
        if (path / RECORD).is_file():
            submission = read_submission(path)
            only, grid_path = submission.id, submission.grid_path
        else:
            grid_path = path
        grid: Grid = read_grid(grid_path)
        scheduler = scheduler or Scheduler()
        monitor = GridMonitor(grid, scheduler, only=only)
        submissions = monitor.submissions()
        if not submissions:
            raise SlurmError(
                f"Nothing of {short_path(grid.experiment)} was submitted to Slurm. Run the "
                "sweep's command again: it runs what is missing here, and on the cluster with "
                "hydra/launcher=expkit_slurm."
            )
        request = SubmissionRequest(submissions[-1].settings)
        return cls._of(grid, request, scheduler, monitor)

    # --- what there is -----------------------------------------------------------------------

    def submissions(self) -> list[Submission]:
        """The submissions of the experiment, the oldest first, interrupted ones recovered."""
        return self._monitor.submissions()

    def status(self) -> list[RunStatus]:
        """How each run of the grid stands now, in the grid's order; asks Slurm once.

        Runs that a rule skips are left out.
        """
        return self._monitor.with_logs(self._monitor.statuses(accounting=True))

    # --- doing something ---------------------------------------------------------------------

    def plan(self, *, grid: Grid | None = None) -> tuple[SubmissionPlan, list[GridRun]]:
        """What `submit` would do, and the runs that are in the queue already.

        Args:
            grid: Reads the configurations from there, for a grid that is not yet written.

        Raises:
            SlurmError: If an option or the script cannot be used.
        """
        grid = grid or self.grid
        queued = self._queued(grid.pending)
        runs = [run for run in grid.pending if run_key(run) not in queued]
        plan = plan_request(self._request, grid, runs, self._scheduler)
        return plan, [run for run in grid.pending if run_key(run) in queued]

    def _queued(self, runs: Sequence[GridRun]) -> set[RunKey]:
        """Those of the runs that Slurm has already."""
        placements = self._monitor.placements()
        keys = [run_key(run) for run in runs if run_key(run) in placements]
        jobs = job_ids(placements[key] for key in keys)
        if not jobs:
            return set()
        tasks = self._scheduler.queue(jobs)
        if tasks is None:
            raise SlurmError(
                "Slurm does not answer, and runs of this experiment were submitted before: they "
                "would be submitted twice. Try again when `squeue` works."
            )
        alive = {task.name for task in tasks if phase_of(task.state) is not Phase.OVER}
        return {key for key in keys if placements[key].task in alive}

    def submit(
        self,
        *,
        planned: SubmissionPlan | None = None,
        finaliser: bool = False,
        say: Callable[[str], None] = log.info,
    ) -> Submission | None:
        """Submit what is pending and not in the queue yet.

        Args:
            planned: What `plan` returned; None makes the plan.
            finaliser: Whether a last job synchronises MLflow and draws the figures when all
                others have ended.
            say: Is given each message for the user.

        Returns:
            The submission; None if there was nothing to submit.

        Raises:
            SlurmError: If nothing could be submitted.
        """
        if planned is None:
            planned, _ = self.plan()
        if not planned.runs:
            if finaliser:
                self._finalise_what_is_queued(say)
            return None
        self._say_unsettled(planned, say)
        submission = submit_plan(self._request, planned, self.grid, self._scheduler, say)
        if finaliser:
            self.finalise_later(submission, planned.script, say=say)
        return submission

    def _say_unsettled(self, planned: SubmissionPlan, say: Callable[[str], None]) -> None:
        """Say which runs may come to the queue a second time."""
        keys = {run_key(self.grid.runs[run.index]) for run in planned.runs}
        unsettled = {
            run_key(placement.run)
            for placement in self._monitor.all_placements()
            if placement.array.state == SUBMITTING and run_key(placement.run) in keys
        }
        if unsettled:
            runs = "1 run" if len(unsettled) == 1 else f"{len(unsettled)} runs"
            say(
                f"sbatch was called before for {runs} of these, and that was interrupted or still "
                "goes on; Slurm knows no such job. Should it come after all, each run is trained "
                "once all the same: the task that is later leaves it alone."
            )

    def _finalise_what_is_queued(self, say: Callable[[str], None]) -> None:
        """Submit the job that tidies up where an earlier manager could not any more."""
        submissions = self.submissions()
        jobs = [submission.finaliser.job_id for submission in submissions if submission.finaliser]
        queued = self._scheduler.queue([job for job in jobs if job is not None])
        if queued is None or any(phase_of(task.state) is not Phase.OVER for task in queued):
            return
        if submissions and self._arrays_in_queue():
            self.finalise_later(submissions[-1], say=say)

    def _arrays_in_queue(self) -> set[str]:
        """Ids of the arrays with runs of this grid that are not over."""
        placements = self._monitor.placements()
        keys = [run_key(run) for run in self.grid.runs if run_key(run) in placements]
        tasks = self._scheduler.queue(job_ids(placements[key] for key in keys)) or []
        return {task.array_job_id for task in tasks if phase_of(task.state) is not Phase.OVER}

    def finalise_later(
        self,
        submission: Submission,
        script: ArrayScript | None = None,
        *,
        say: Callable[[str], None] = log.info,
    ) -> None:
        """Submit a job that synchronises MLflow and draws when the arrays have ended.

        Args:
            submission: Whose arrays it waits for, and for others in the queue.
            script: Its batch script; by default that of the submission.
            say: Is called with one line about it.
        """
        jobs = [array.job_id for array in submission.arrays if array.job_id is not None]
        try:
            script = script or read_script(Path(submission.script))
            jobs += sorted(self._arrays_in_queue() - set(jobs))
            submission = submit_finaliser(submission, script, self._scheduler, after=jobs)
        except SlurmError as error:
            say(f"No job will bring MLflow, figures and report up to date: {error}")
            return
        assert submission.finaliser is not None
        job = submission.finaliser.job_id
        say(f"job {job} brings MLflow, figures and report up to date when all have ended")

    def wait(
        self,
        timeout_s: float | None = None,
        *,
        show: Callable[[Sequence[RunStatus]], None] = lambda statuses: None,
        lost_after_s: float | None = None,
    ) -> list[RunStatus]:
        """Wait until all runs are over. A dead run hides none of the others.

        Args:
            timeout_s: Longest time to wait, in seconds; None waits forever.
            show: Is called with the statuses each time Slurm has been asked.
            lost_after_s: Seconds after which a run counts as lost when its task is gone and
                nothing recorded how it ended.

        Returns:
            One status per run, in the grid's order.
        """
        everything = {run.index for run in self.grid.runs if run.skipped_by is None}
        return self.wait_for(everything, timeout_s, show=show, lost_after_s=lost_after_s)

    def wait_for(
        self,
        runs: Collection[int],
        timeout_s: float | None = None,
        *,
        show: Callable[[Sequence[RunStatus]], None] = lambda statuses: None,
        lost_after_s: float | None = None,
    ) -> list[RunStatus]:
        """Wait as `wait` does, for some of the runs.

        Args:
            runs: Their indices in the grid.
            timeout_s: As for `wait`.
            show: As for `wait`.
            lost_after_s: As for `wait`.

        Returns:
            One status per run, in the grid's order.
        """

        def of_runs(statuses: Sequence[RunStatus]) -> list[RunStatus]:
            return [status for status in statuses if status.index in runs]

        def cancel() -> None:
            self.cancel([self.grid.runs[index].run_name for index in runs])

        settings = self._request.settings
        wait_until_over(
            lambda: of_runs(self._monitor.statuses()),
            show=show,
            cancel=cancel,
            stop_after_failures=settings.stop_after_failures,
            timeout_s=timeout_s,
            poll_s=settings.poll_s,
            grace_period=None if lost_after_s is None else GracePeriod(lost_after_s),
        )
        return of_runs(self.status())

    def cancel(self, run_names: Iterable[str] | None = None) -> list[str]:
        """Cancel runs that are in the queue; those that run end as interrupted.

        Runs of the experiment's earlier grids too, and both tasks of a run that has two.

        Args:
            run_names: Which ones; None cancels all, and the job that tidies up.

        Returns:
            Slurm's names of what was cancelled.

        Raises:
            SlurmError: If Slurm does not answer, or did not cancel them all.
        """
        names = None if run_names is None else set(run_names)
        placements = [
            placement
            for placement in self._monitor.all_placements()
            if placement.task is not None and (names is None or placement.run.run_name in names)
        ]
        finalisers = [
            submission.finaliser.job_id
            for submission in self.submissions()
            if names is None
            and submission.finaliser is not None
            and submission.finaliser.job_id is not None
        ]
        queued = self._scheduler.queue([*job_ids(placements), *finalisers])
        if queued is None:
            raise SlurmError("Slurm does not answer. Cancel again when `squeue` works.")
        alive = {task.name for task in queued if phase_of(task.state) is not Phase.OVER}
        tasks = list(
            dict.fromkeys(
                placement.task
                for placement in placements
                if placement.task in alive and not placement.has_ended()
            )
        )
        finalisers = [job for job in finalisers if job in alive]
        if tasks or finalisers:
            self._scheduler.cancel(shorten_names(tasks) + finalisers)
        return tasks

    def retry(
        self,
        states: Sequence[str] = RETRIABLE,
        *,
        runs: Iterable[str] | None = None,
        say: Callable[[str], None] = log.info,
        finaliser: bool = False,
        options: Options = (),
        **changes: object,
    ) -> Submission | None:
        """Submit runs again, with the grid's frozen configurations.

        Args:
            states: The states of the runs that are tried again.
            runs: Names of the runs; None takes all in these states.
            say: Is given each message for the user.
            finaliser: As for `submit`.
            options: Options of sbatch that the runs get now.
            **changes: Settings and resources that the runs get now, such as `mem="32G"`. The rest
                stays as it was.

        Returns:
            The submission; None if no run is in one of these states.

        Raises:
            SlurmError: If a state or a resource is unknown, or nothing could be submitted.
        """
        check_retriable(states)
        submissions = self.submissions()
        names = None if runs is None else set(runs)
        retried = [
            self.grid.runs[status.index]
            for status in self._monitor.statuses(accounting=True)
            if status.state in states and (names is None or status.run_name in names)
        ]
        if not retried:
            return None
        previous = submissions[-1]
        _say_changed_files(previous, say)
        placements = self._monitor.placements()
        request = SubmissionRequest.to_retry(
            retried, placements, previous, options=options, changes=changes
        )
        grid = with_pending(self.grid, retried, placements)
        # Of all submissions: what another one has in the queue is not submitted again.
        monitor = GridMonitor(grid, self._scheduler)
        manager = SlurmManager._of(grid, request, self._scheduler, monitor)
        return manager.submit(say=say, finaliser=finaliser)


def _say_changed_files(submission: Submission, say: Callable[[str], None]) -> None:
    from expkit_hydra.launching import short_path

    changed = changed_conf_files(submission.conf)
    if changed:
        names = ", ".join(short_path(Path(name)) for name in changed[:5])
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        say(
            f"{names}{more} changed since the grid was submitted; the runs use the "
            "configuration that was frozen then. The sweep's command makes a new grid."
        )
