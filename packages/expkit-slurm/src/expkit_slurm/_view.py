"""What Slurm says of an experiment's runs, for `expkit status`, `cleanup` and the sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ._liveness import QueueLiveness
from ._placements import find_placements, jobs_of
from ._queue import Phase, Task, cause, phase
from ._scheduler import Scheduler
from ._status import tasks_by_name
from ._submission import find_submissions

if TYPE_CHECKING:
    from expkit_hydra.launching import View


def look(experiment: Path, scheduler: Scheduler | None = None) -> View | None:
    """One look at the queue; None for an experiment of which nothing was submitted."""
    from expkit_hydra.launching import View

    submissions = find_submissions(experiment)
    if not submissions:
        return None
    places = find_placements(submissions)
    jobs = jobs_of(places.values())
    scheduler = scheduler or Scheduler()
    told = scheduler.queue(jobs) if jobs else []
    tasks = dict(tasks_by_name(told or []))
    described = {
        place.run.run_name: describe(tasks[place.job])
        for place in places.values()
        if place.job is not None and place.job in tasks
    }
    return View(
        QueueLiveness(tasks, scheduler), {name: text for name, text in described.items() if text}
    )


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
