"""How a run stands, as run.json and Slurm say."""

from dataclasses import replace
from pathlib import Path

import pytest

from expkit_bookkeeping import RunRecord
from expkit_hydra import GridRun
from expkit_slurm import RunStatus
from expkit_slurm._cluster.tasks import Task
from expkit_slurm._submissions.record import Array
from expkit_slurm._watching.status import RunFacts, count_states, derive_status

RUN = GridRun(3, "cnn_1", (), {}, "hash", None, Path("results/x/training/cnn_1"))
ARRAY = Array(0, "x-0", 0, 8, state="submitted", job_id="12")
JOB = {"job_id": "15", "array_job_id": "12", "array_task_id": "3", "restart_count": 0}


def record(state: str, attempt: int = 1, **facts: object) -> RunRecord:
    return RunRecord(RUN.folder, "cnn_1", state, id="a", attempt=attempt, slurm=JOB, **facts)


def task(state: str, **facts: object) -> Task:
    return replace(Task("12", 3, "15", state), **facts)


@pytest.mark.parametrize(
    ("run_record", "slurm_task", "expected"),
    [
        # run.json is the first to be believed
        (record("completed"), task("RUNNING"), "completed"),
        (record("completed"), task("FAILED", exit_code=1), "completed"),
        (record("failed"), task("RUNNING"), "failed"),
        (record("running"), task("RUNNING"), "running"),
        # a task that waits has not begun, or was put back
        (None, task("PENDING"), "pending"),
        (record("interrupted"), task("PENDING", restarts=1), "pending"),
        (record("running"), task("PENDING", restarts=1), "pending"),
        (record("interrupted"), task("RUNNING"), "running"),
        (record("failed"), task("RUNNING", restarts=1), "running"),  # as a node was lost, too
        # a word of Slurm's that nobody knows never ends a run
        (None, task("HIBERNATING"), "pending"),
        (record("running"), task("SUSPENDED"), "running"),
        # a task that is gone while its run never said how it ended
        (record("running"), task("FAILED", signal=9), "lost"),
        (record("running"), task("OUT_OF_MEMORY", exit_code=0), "lost"),
        (record("running"), None, "lost"),
        (record("interrupted"), None, "interrupted"),
        (record("failed"), None, "failed"),
        # a task that never got as far as its run
        (None, task("FAILED", exit_code=127), "lost"),
        (None, task("CANCELLED"), "cancelled"),
        (None, task("COMPLETED", exit_code=0), "skipped"),
        (None, None, "lost"),
    ],
)
def test_states(run_record, slurm_task, expected):
    assert (
        derive_status(RunFacts(RUN, run_record, array=ARRAY, task_id=3, task=slurm_task)).state
        == expected
    )


def test_packed_runs_that_were_stopped_are_not_over_while_their_task_may_go_back_into_the_queue():
    facts = RunFacts(RUN, record("interrupted"), array=ARRAY, task_id=3, is_packed=True)

    assert derive_status(replace(facts, task=task("RUNNING"))).state == "running"
    assert derive_status(replace(facts, task=task("FAILED", exit_code=130))).state == "interrupted"
    lost = replace(facts, record=record("lost"), task=task("RUNNING"))  # of another job, before
    assert derive_status(lost).state == "pending"


def test_a_task_without_a_log_never_started():
    facts = RunFacts(RUN, None, array=ARRAY, task_id=3, has_log=False)

    assert derive_status(facts).state == "cancelled"


def test_what_an_earlier_attempt_left_says_nothing_of_the_one_submitted():
    facts = RunFacts(
        RUN,
        record("failed"),
        earlier_versions=frozenset([("a", 1, "failed")]),
        array=ARRAY,
        task_id=3,
        task=task("PENDING", reason="Priority"),
    )

    assert (derive_status(facts).state, derive_status(facts).reason) == ("pending", "Priority")
    assert (
        derive_status(replace(facts, record=record("running", 2), task=task("RUNNING"))).state
        == "running"
    )


def test_where_slurm_does_not_answer_nothing_is_lost():
    facts = RunFacts(RUN, record("running"), array=ARRAY, task_id=3, slurm_answers=False)

    assert (derive_status(facts).state, derive_status(facts).reason) == (
        "running",
        "Slurm does not answer",
    )
    assert derive_status(replace(facts, record=None)).state == "pending"


@pytest.mark.parametrize("state", ["planned", "refused"])
def test_what_slurm_was_not_given_is_unsubmitted_with_its_words(state):
    array = replace(ARRAY, state=state, job_id=None, error="AssocMaxSubmitJobLimit")
    status = derive_status(RunFacts(RUN, None, array=array, task_id=3))

    assert (status.state, status.reason) == ("unsubmitted", "AssocMaxSubmitJobLimit")
    assert status.job is None


def test_a_killed_task_has_the_exit_code_that_a_shell_would_report():
    status = derive_status(
        RunFacts(RUN, record("running"), array=ARRAY, task_id=3, task=task("FAILED", signal=9))
    )

    assert status.exit_code == 137
    assert "SIGKILL" in status.reason


def test_counts_come_in_the_order_that_people_read():
    statuses = [RunStatus(0, "a", state) for state in ("failed", "pending", "completed", "odd")]

    assert list(count_states(statuses)) == [
        "completed",
        "pending",
        "failed",
        "odd",
    ]
