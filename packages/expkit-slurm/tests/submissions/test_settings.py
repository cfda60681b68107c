"""How a grid is submitted: what is refused."""

import pytest

from expkit_slurm import SlurmError
from expkit_slurm._submissions.settings import SubmissionSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"runs_per_task": 0}, "runs_per_task=0 must be a whole number, 1 or more"),
        ({"runs_per_task": 2, "parallel_per_task": 3}, "more than runs_per_task=2"),
        ({"runs_per_task": 2, "tasks_per_run": 2}, "Set one of them to 1"),
        ({"array_parallelism": -1}, "array_parallelism=-1 must be a whole number, 1 or more"),
        ({"snapshot": "copi"}, "Did you mean 'copy'"),
        ({"poll_s": 0}, "number of seconds above 0"),
        ({"max_requeues_timeout": True}, "must be a whole number, 0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(SlurmError, match=message):
        SubmissionSettings(**settings)
