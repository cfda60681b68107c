"""Whether the owner of a run lives, where Slurm started it: Slurm's queue decides."""

from __future__ import annotations

from collections.abc import Mapping

from .tasks import Phase, Task, phase_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

    from .scheduler import Scheduler


class QueueLiveness:
    """A `Liveness` that asks Slurm's queue about a job when somebody asks about its run.

    Args:
        tasks: The tasks that the queue has listed already, by name; the queue is then asked once
            about each further job. None asks each time.
        scheduler: Runs Slurm's commands; None creates one when it is needed.
    """

    def __init__(
        self, tasks: Mapping[str, Task] | None = None, scheduler: Scheduler | None = None
    ) -> None:
        self._tasks = None if tasks is None else dict(tasks)
        self._scheduler = scheduler
        self._asked: set[str] = set()  # ids of arrays and jobs

    def __call__(self, record: RunRecord) -> bool | None:
        """Whether the owner lives; None where nobody can tell."""
        from expkit_bookkeeping.launching import is_alive

        alive = is_alive(record)
        job = owner_job(record)
        if job is None or alive is False:  # a process that is gone from this machine is gone
            return alive
        task = self._task(job)
        if task is None:
            return None
        return owner_lives(record, task)

    def _task(self, job: str) -> Task | None:
        """The task of this name; one that is over where the queue no longer has it.

        None where Slurm does not answer.
        """
        array, _, number = job.partition("_")
        tasks = {} if self._tasks is None else self._tasks
        if job not in tasks and array not in self._asked:
            from .scheduler import Scheduler

            queued = (self._scheduler or Scheduler()).queue([array])
            if queued is None:
                return None
            tasks = tasks | {task.name: task for task in queued}
            if self._tasks is not None:
                self._tasks = tasks
                self._asked.add(array)
        return tasks.get(job) or Task(array, int(number) if number else None, job, "COMPLETED")


def owner_lives(record: RunRecord, task: Task) -> bool:
    """Whether the process that owns a run is the one that Slurm now runs.

    Args:
        record: A running run of this task.
        task: The task, as Slurm reports it.
    """
    return phase_of(task.state) is Phase.ACTIVE and is_of_this_start(record, task)


def is_of_this_start(record: RunRecord, task: Task) -> bool:
    """Whether a record of a run was written since Slurm last started the run's task."""
    restarts = (record.slurm or {}).get("restart_count")
    return task.restarts is None or restarts is None or task.restarts == restarts


def owner_job(record: RunRecord) -> str | None:
    """Slurm's name of the job that owns a run, `1234_7` or `1234`; None outside Slurm."""
    if record.slurm is None:
        return None
    array, task = record.slurm.get("array_job_id"), record.slurm.get("array_task_id")
    if array and task:
        return f"{array}_{task}"
    job = record.slurm.get("job_id")
    return None if job is None else str(job)
