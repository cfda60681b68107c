"""What Slurm says of an experiment's runs; `_view` asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ._liveness import QueueLiveness
from ._look import as_its_log_says, derive_all
from ._placements import Placement, RunKey, all_placements, jobs_of, key_of, newest
from ._queue import Phase, Task, cause, phase
from ._scheduler import Scheduler
from ._status import RunStatus, tasks_by_name
from ._submission import find_submissions

if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord
    from expkit_hydra import GridRun
    from expkit_hydra.launching import SchedulerReport, SchedulerView


def look(experiment: Path, scheduler: Scheduler | None = None) -> SchedulerView | None:
    """One look at the queue; None for an experiment of which nothing was submitted."""
    from expkit_hydra.launching import SchedulerView

    submissions = find_submissions(experiment)
    if not submissions:
        return None
    places = newest(all_placements(submissions))
    jobs = jobs_of(places.values())
    scheduler = scheduler or Scheduler()
    told = scheduler.queue(jobs) if jobs else []
    tasks = dict(tasks_by_name(told or []))

    def tell(
        runs: Sequence[GridRun], records: Sequence[RunRecord]
    ) -> Mapping[str, SchedulerReport]:
        return _tell(runs, records, places, tasks, asked=told is not None)

    return SchedulerView(QueueLiveness(tasks, scheduler), tell)


def _tell(
    runs: Sequence[GridRun],
    records: Sequence[RunRecord],
    places: Mapping[RunKey, Placement],
    tasks: Mapping[str, Task],
    *,
    asked: bool,
) -> dict[str, SchedulerReport]:
    """What is known of the runs that are not completed, by name; as `expkit wait` sees them.

    Args:
        runs: Runs of a grid.
        records: run.json of these runs and of others.
        places: Where runs stand in the queues.
        tasks: What Slurm says, by name of the task.
        asked: Whether Slurm has answered.
    """
    from expkit_hydra.launching import SchedulerReport

    by_name = {each.run_name: each for each in records}
    found = {}
    for place in places.values():  # of other grids, too
        task = None if place.job is None else tasks.get(place.job)
        if task is not None and place.run.run_name in by_name:
            found[place.run.run_name] = SchedulerReport(job=describe(task))
    placed = [run for run in runs if key_of(run) in places and run.skipped_by is None]
    own = {run.index: by_name[run.run_name] for run in placed if run.run_name in by_name}
    for run, status in zip(
        placed, derive_all(placed, places, own, tasks, asked=asked), strict=True
    ):
        by_log = as_its_log_says(status, places[key_of(run)], own.get(run.index))
        found[run.run_name] = _told(
            by_log or status, None if by_log else tasks.get(status.job or "")
        )
    completed = {each.run_name for each in records if each.state == "completed"}
    return {name: told for name, told in found.items() if name not in completed}


def _told(status: RunStatus, task: Task | None) -> SchedulerReport:
    from expkit_hydra.launching import SchedulerReport

    job = None if task is None else describe(task)
    if task is None and status.job is not None and status.reason is not None:
        job = f"{status.job} {status.reason}"
    return SchedulerReport(state=status.state, job=job, advice=status.advice)


def describe(task: Task) -> str | None:
    """What a task does, in a few words; None for one that ended well.

    >>> describe(Task("12", 3, "15", "PENDING", "Resources"))
    '12_3 PENDING (Resources)'
    """
    if phase(task.state) is Phase.OVER:
        why = cause(task)
        return None if why is None else f"{task.name} {why}"
    if phase(task.state) is Phase.PENDING:
        return f"{task.name} {task.state}" + (f" ({task.reason})" if task.reason else "")
    return f"{task.name} on {task.node}" if task.node else f"{task.name} {task.state}"
