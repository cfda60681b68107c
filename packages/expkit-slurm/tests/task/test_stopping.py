"""Why a task was asked to stop, and what its log says then."""

from types import SimpleNamespace

import pytest

from expkit_slurm._cluster.current_job import CurrentJob
from expkit_slurm._cluster.scheduler import Scheduler
from expkit_slurm._submissions.record import Submission
from expkit_slurm._submissions.settings import SubmissionSettings
from expkit_slurm._task.log import banner, read_stop_reason, stop_line
from expkit_slurm._task.stopping import Saved, requeue, stop_cause


def test_what_a_warning_means_is_told_by_the_time_that_is_left():
    assert stop_cause("the time limit", None, 120.0) == "timeout"
    assert stop_cause("SIGUSR1", 150.0, 120.0) == "timeout"  # up to a minute early
    assert stop_cause("SIGUSR1", None, 120.0) == "preemption"
    assert stop_cause("SIGTERM", 10.0, 120.0) is None


def test_a_run_that_is_not_requeued_says_how_to_go_on_wherever_its_results_are(tmp_path):
    path = tmp_path / "scratch" / "digits" / "slurm" / "1"
    submission = Submission(path, "g", "", "", "", "python", "s", ".", None, SubmissionSettings())
    job = CurrentJob("7", "7", 0, restarts=0, node="node1", rank=0, step_tasks=0)
    outcome = requeue(submission, job, "timeout", Scheduler(), Saved([True]))

    assert not outcome.is_requeued
    assert "max_requeues_timeout=0" in outcome.line
    assert f"retry {tmp_path / 'scratch' / 'digits'}`" in outcome.line
    assert "state saved" in outcome.line


@pytest.mark.parametrize("cause", ["timeout", "preemption"])
@pytest.mark.parametrize("unasked", [True, False])
def test_a_run_without_a_checkpoint_of_this_attempt_is_requeued_only_where_that_is_asked_for(
    tmp_path, cause, unasked
):
    settings = SubmissionSettings(max_requeues_timeout=2, requeue_without_checkpoint=not unasked)
    path = tmp_path / "digits" / "slurm" / "1"
    path.mkdir(parents=True)
    submission = Submission(path, "g", "", "", "", "python", "s", ".", None, settings)
    job = CurrentJob("7", "7", 0, restarts=0, node="node1", rank=0, step_tasks=0)
    requeued: list[str] = []
    scheduler = SimpleNamespace(requeue=requeued.append)
    outcome = requeue(submission, job, cause, scheduler, Saved([False]))

    assert "nothing was saved" in outcome.line
    assert "state saved" not in outcome.line
    assert outcome.is_requeued is not unasked
    assert requeued == ([] if unasked else [job.name])
    if unasked:
        assert "requeue_without_checkpoint=false" in outcome.line
        assert "goes on from there" not in outcome.line


def test_a_packed_task_goes_back_into_the_queue_if_any_of_its_runs_got_further():
    assert not Saved([False, False]).is_progress
    assert Saved([False, True]).is_progress
    assert Saved([False], others_completed=True).is_progress
    assert Saved([False], others_completed=True).text == "nothing was saved"


def test_only_the_last_attempt_of_a_task_says_why_it_was_stopped():
    stop = stop_line("time limit: state saved", "`expkit retry x` goes on from there")
    begin = banner(CurrentJob("7", "7", 0, restarts=1, node="node1", rank=0, step_tasks=0))

    assert read_stop_reason([begin, stop, "slurmstepd: error: …"]) == "time limit: state saved"
    assert read_stop_reason([begin, stop, begin, "interrupted: a"]) is None
    assert read_stop_reason([]) is None
