"""Whether the owner of a run lives, as Slurm's queue says."""

from dataclasses import replace
from pathlib import Path

from expkit_bookkeeping import RunRecord
from expkit_slurm._cluster.liveness import owner_lives
from expkit_slurm._cluster.tasks import Task

JOB = {"job_id": "15", "array_job_id": "12", "array_task_id": "3", "restart_count": 0}
RECORD = RunRecord(Path("results/x/training/a"), "a", "running", id="a", attempt=1, slurm=JOB)


def task(state: str, **facts: object) -> Task:
    return replace(Task("12", 3, "15", state), **facts)


def test_the_owner_of_a_run_lives_while_its_task_runs_and_was_not_restarted():
    assert owner_lives(RECORD, task("RUNNING", restarts=0))
    assert not owner_lives(RECORD, task("RUNNING", restarts=1))
    assert not owner_lives(RECORD, task("PENDING"))
    assert not owner_lives(RECORD, task("NODE_FAIL"))
