"""Reading how the runs of a grid stand: the experiment's files, and one question to Slurm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .._cluster.errors import SlurmError
from .._cluster.liveness import QueueLiveness
from .._cluster.scheduler import Scheduler
from .._cluster.tasks import Phase, Task, phase_of, tasks_by_name
from .._submissions.placements import (
    Placement,
    RunKey,
    all_placements,
    job_ids,
    newest_placements,
    run_key,
)
from .._submissions.record import Submission, find_submissions
from .._submissions.submitting import recover
from .grid_statuses import derive_statuses, is_owned_by, output_file, status_from_log
from .status import RunStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord
    from expkit_hydra import Grid, GridRun

TAIL_LINES = 5


class GridMonitor:
    """Reads how the runs of a grid stand, again and again.

    What cannot change any more is kept, and so is what was read from files that have not changed.

    Args:
        grid: The grid.
        scheduler: Runs Slurm's commands.
        only: The id of the one submission to read; None reads all of the experiment.
    """

    def __init__(self, grid: Grid, scheduler: Scheduler, *, only: str | None = None) -> None:
        self._grid = grid
        self._scheduler = scheduler
        self._only = only
        self._final: dict[int, RunStatus] = {}
        self._cache: tuple[list[Submission], list[Placement]] | None = None

    def submissions(self) -> list[Submission]:
        """The submissions of the experiment, the oldest first, interrupted ones recovered."""
        submissions = find_submissions(self._grid.experiment)
        if self._only is not None:
            submissions = [submission for submission in submissions if submission.id == self._only]
        return [recover(submission, self._scheduler) for submission in submissions]

    def placements(self) -> dict[RunKey, Placement]:
        """Where the runs stand now, each in the newest submission that has it."""
        return newest_placements(self.all_placements())

    def all_placements(self) -> list[Placement]:
        """The placements of all submissions; read again where a submission's record has changed.

        Raises:
            SlurmError: If Slurm does not answer about an interrupted submission the first time.
        """
        try:
            submissions = self.submissions()
        except SlurmError:
            if self._cache is None:
                raise
            return self._cache[1]
        if self._cache is None or self._cache[0] != submissions:
            self._cache = submissions, list(all_placements(submissions))
        return self._cache[1]

    def statuses(self, *, accounting: bool = False) -> list[RunStatus]:
        """How each run of the grid stands now, in the grid's order; asks the queue once.

        Args:
            accounting: Whether to ask sacct about tasks that the queue has forgotten.
        """
        placements = self.placements()
        runs = [run for run in self._grid.runs if run.skipped_by is None]
        open_runs = [run for run in runs if run.index not in self._final]
        open_jobs = job_ids(
            placements[run_key(run)] for run in open_runs if run_key(run) in placements
        )
        queued = self._scheduler.queue(open_jobs) if open_jobs else []
        tasks = dict(tasks_by_name(queued or []))
        records = self._records(open_runs, placements, tasks)
        statuses = derive_statuses(
            open_runs, placements, records, tasks, slurm_answers=queued is not None
        )
        unexplained = [status for status in statuses if _is_unexplained(status)]
        if accounting and unexplained:
            jobs = {str(status.job).partition("_")[0] for status in unexplained}
            accounted = self._scheduler.accounting(sorted(jobs))
            if accounted:
                tasks = {**tasks_by_name(accounted), **tasks}
                statuses = derive_statuses(
                    open_runs, placements, records, tasks, slurm_answers=True
                )
        by_index = {}
        for status in statuses:
            placement = placements.get(run_key(self._grid.runs[status.index]))
            from_log = status_from_log(status, placement, records.get(status.index))
            by_index[status.index] = from_log or status
            is_skipped = from_log is not None and from_log.state == "skipped"
            if is_skipped or status.state == "completed":  # nothing changes that any more
                self._final[status.index] = by_index[status.index]
        return [by_index.get(run.index) or self._final[run.index] for run in runs]

    def _records(
        self,
        runs: Sequence[GridRun],
        placements: Mapping[RunKey, Placement],
        tasks: Mapping[str, Task],
    ) -> dict[int, RunRecord]:
        """run.json of each run that can have changed; Slurm is asked whether its owner lives."""
        from expkit_bookkeeping import read_run

        is_alive = QueueLiveness(tasks, self._scheduler)
        records = {}
        for run in runs:
            placement = placements.get(run_key(run))
            name = None if placement is None else placement.task
            task = None if name is None else tasks.get(name)
            if task is not None and phase_of(task.state) is Phase.PENDING and not task.restarts:
                continue  # has never started: nothing to read
            record = read_run(run.folder)
            if record is None:
                continue
            has_other_owner = record.state == "running" and not is_owned_by(record, placement)
            if has_other_owner and is_alive(record) is False:
                record = replace(record, state="lost")
            records[run.index] = record
        return records

    def with_logs(self, statuses: Sequence[RunStatus]) -> list[RunStatus]:
        """The same with the files of their output, and the end of those that did not complete."""
        from expkit_hydra.launching import last_lines

        placements = self.placements()
        statuses_with_logs = []
        for status in statuses:
            run = self._grid.runs[status.index]
            path = output_file(run, placements.get(run_key(run)))
            lines = () if path is None or status.is_good else tuple(last_lines(path, TAIL_LINES))
            if path is not None and status.state == "lost" and not lines:
                reason = f"{status.reason}; its log is empty, as it is when the disk there is full"
                status = replace(status, reason=reason)
            statuses_with_logs.append(replace(status, log=path, last_lines=lines))
        return statuses_with_logs


def _is_unexplained(status: RunStatus) -> bool:
    return (
        status.job is not None
        and status.state in ("lost", "skipped")
        and (status.exit_code is None)
    )
