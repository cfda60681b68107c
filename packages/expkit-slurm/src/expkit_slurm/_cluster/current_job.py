"""The Slurm job that this process is part of, as read from its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class CurrentJob:
    """One array task, or a job that is no array.

    `restarts` counts how often Slurm has requeued it. `step_tasks` is the number of
    processes of the srun step that this process belongs to; 0 in the batch script itself, where
    `rank` is 0.
    """

    job_id: str
    array_job_id: str | None
    task_id: int | None
    restarts: int
    node: str | None
    rank: int
    step_tasks: int

    @property
    def name(self) -> str:
        """As Slurm's commands take it: `1234_7`, or `1234` for a job that is no array."""
        if self.array_job_id is None or self.task_id is None:
            return self.job_id
        return f"{self.array_job_id}_{self.task_id}"


def current_job(environ: Mapping[str, str] | None = None) -> CurrentJob | None:
    """The job that runs this process, or None outside Slurm.

    Args:
        environ: Environment variables; None takes this process's.

    Examples:
        >>> current_job({"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "10",
        ...              "SLURM_ARRAY_TASK_ID": "3"}).name
        '10_3'
    """
    environ = os.environ if environ is None else environ
    job_id = environ.get("SLURM_JOB_ID")
    if not job_id:
        return None
    task = environ.get("SLURM_ARRAY_TASK_ID", "")
    # srun sets these for each task of a step; a batch script has none of them.
    in_step = environ.get("SLURM_STEP_ID", "").isdecimal() and "SLURM_STEP_NUM_TASKS" in environ
    return CurrentJob(
        job_id=job_id,
        array_job_id=environ.get("SLURM_ARRAY_JOB_ID"),
        task_id=int(task) if task.isdecimal() else None,
        restarts=_integer(environ.get("SLURM_RESTART_COUNT")),
        node=environ.get("SLURMD_NODENAME"),
        rank=_integer(environ.get("SLURM_PROCID")) if in_step else 0,
        step_tasks=_integer(environ.get("SLURM_STEP_NUM_TASKS")) if in_step else 0,
    )


def _integer(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
