"""What Slurm reports of an experiment's runs, for the sweep and `expkit status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .._cluster.liveness import QueueLiveness
from .._cluster.scheduler import Scheduler
from .._cluster.tasks import Phase, Task, cause_of, phase_of, tasks_by_name
from .._submissions.placements import (
    Placement,
    RunKey,
    all_placements,
    job_ids,
    newest_placements,
    run_key,
)
from .._submissions.record import find_submissions
from .grid_statuses import derive_statuses, status_from_log
from .status import RunStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord
    from expkit_hydra import GridRun
    from expkit_hydra.launching import SchedulerReport, SchedulerView


def view_queue(experiment: Path, scheduler: Scheduler | None = None) -> SchedulerView | None:
    """The queue as it is now; None for an experiment of which nothing was submitted."""
    from expkit_hydra.launching import SchedulerView

    submissions = find_submissions(experiment)
    if not submissions:
        return None
    placements = newest_placements(all_placements(submissions))
    jobs = job_ids(placements.values())
    scheduler = scheduler or Scheduler()
    queued = scheduler.queue(jobs) if jobs else []
    tasks = dict(tasks_by_name(queued or []))

    def report(
        runs: Sequence[GridRun], records: Sequence[RunRecord]
    ) -> Mapping[str, SchedulerReport]:
        return _reports(runs, records, placements, tasks, slurm_answers=queued is not None)

    return SchedulerView(QueueLiveness(tasks, scheduler), report)


def _reports(
    runs: Sequence[GridRun],
    records: Sequence[RunRecord],
    placements: Mapping[RunKey, Placement],
    tasks: Mapping[str, Task],
    *,
    slurm_answers: bool,
) -> dict[str, SchedulerReport]:
    """What Slurm reports of the runs that are not completed, by name; as `expkit wait` sees them.

    Args:
        runs: Runs of a grid.
        records: run.json of these runs and of others.
        placements: Where runs stand in Slurm.
        tasks: The tasks that Slurm reports, by name.
        slurm_answers: Whether Slurm has answered.
    """
    from expkit_hydra.launching import SchedulerReport

    records_by_name = {record.run_name: record for record in records}
    reports = {}
    for placement in placements.values():  # of other grids, too
        task = None if placement.task is None else tasks.get(placement.task)
        if task is not None and placement.run.run_name in records_by_name:
            reports[placement.run.run_name] = SchedulerReport(job=describe(task))
    placed = [run for run in runs if run_key(run) in placements and run.skipped_by is None]
    records_by_index = {
        run.index: records_by_name[run.run_name]
        for run in placed
        if run.run_name in records_by_name
    }
    statuses = derive_statuses(
        placed, placements, records_by_index, tasks, slurm_answers=slurm_answers
    )
    for run, status in zip(placed, statuses, strict=True):
        from_log = status_from_log(
            status, placements[run_key(run)], records_by_index.get(run.index)
        )
        reports[run.run_name] = _report(
            from_log or status, None if from_log else tasks.get(status.job or "")
        )
    completed = {record.run_name for record in records if record.state == "completed"}
    return {name: report for name, report in reports.items() if name not in completed}


def _report(status: RunStatus, task: Task | None) -> SchedulerReport:
    from expkit_hydra.launching import SchedulerReport

    job = None if task is None else describe(task)
    if task is None and status.job is not None and status.reason is not None:
        job = f"{status.job} {status.reason}"
    return SchedulerReport(
        state=status.state, job=job, advice=status.advice, is_blocked=status.obstacle is not None
    )


def describe(task: Task) -> str | None:
    """What a task does, in a few words; None for one that ended well.

    Examples:
        >>> describe(Task("12", 3, "15", "PENDING", "Resources"))
        '12_3 PENDING (Resources)'
    """
    if phase_of(task.state) is Phase.OVER:
        cause = cause_of(task)
        return None if cause is None else f"{task.name} {cause}"
    if phase_of(task.state) is Phase.PENDING:
        return f"{task.name} {task.state}" + (f" ({task.reason})" if task.reason else "")
    return f"{task.name} on {task.node}" if task.node else f"{task.name} {task.state}"
