"""The record of a submission that two processes have at hand."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from expkit_slurm._cluster.scheduler import Scheduler
from expkit_slurm._submissions.record import (
    Array,
    Submission,
    find_submissions,
    new_id,
    read_submission,
)
from expkit_slurm._submissions.settings import SubmissionSettings
from expkit_slurm._submissions.submitting import recover


class WithoutJobs(Scheduler):
    """A Slurm that has no job of any name."""

    def find_job(self, name):
        return None


@pytest.fixture
def submitting(tmp_path: Path) -> Submission:
    """A submission whose first array is on its way, and whose second one is planned."""
    arrays = (Array(0, "a-0", 0, 2, state="submitting"), Array(1, "a-1", 2, 2))
    submission = Submission(
        tmp_path / "slurm" / "1",
        "g",
        "",
        "",
        "",
        "python",
        "s",
        ".",
        None,
        SubmissionSettings(),
        arrays,
    )
    (submission.path / "logs").mkdir(parents=True)
    submission.write()
    return submission


def states(submission: Submission) -> list[str]:
    return [array.state for array in submission.arrays]


def test_the_later_of_two_submissions_within_a_second_is_the_newer_one(submitting, tmp_path):
    begin = datetime(2026, 11, 28, 17, 5, 9, tzinfo=UTC)
    of_an_earlier_version = "20261128T170509-4f2a9c"  # 0.1.0 wrote the second alone
    ids = [of_an_earlier_version, new_id(begin, "ffffff")]
    ids.append(new_id(begin + timedelta(milliseconds=3), "000000"))
    for identifier in reversed(ids):
        folder = tmp_path / "slurm" / identifier
        folder.mkdir()
        replace(submitting, path=folder).write()

    assert [submission.id for submission in find_submissions(tmp_path)] == ["1", *ids]


def test_whoever_looks_leaves_the_record_to_the_one_who_submits(submitting):
    looked = recover(submitting, WithoutJobs())

    assert states(looked) == ["submitting", "planned"]
    assert states(read_submission(submitting.path)) == ["submitting", "planned"]


def test_what_is_found_is_noted_in_the_record_as_it_is_by_then(submitting):
    class Slow(WithoutJobs):
        def find_job(self, name):  # meanwhile the other process has gone on
            submitting.with_array(1, state="submitted", job_id="8").write()
            return "7"

    assert states(recover(submitting, Slow())) == ["submitted", "planned"]
    latest = read_submission(submitting.path)
    assert [array.job_id for array in latest.arrays] == ["7", "8"]


def test_an_interrupted_submission_is_settled_when_nobody_can_be_at_it(submitting):
    path = submitting.path / "submission.json"
    assert json.loads(path.read_text())["arrays"][0]["state"] == "submitting"
    os.utime(path, (0, 0))
    recover(submitting, WithoutJobs())

    assert states(read_submission(submitting.path)) == ["refused", "planned"]
