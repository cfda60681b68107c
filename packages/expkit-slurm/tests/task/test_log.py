"""What a task's log says of the code that it runs."""

import json

import pytest

from expkit_bookkeeping.launching import code_facts, record_code
from expkit_slurm._submissions.record import read_submission
from expkit_slurm._task.log import code_line


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """An empty one, of a project whose only source is this test's module."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "digits"


def submitted(experiment, code):
    """A submission of this code, as it is read."""
    folder = experiment / "slurm" / "20261128T170509-4f2a9c"
    folder.mkdir(parents=True)
    text = dict.fromkeys(["created_at", "host", "user", "python", "script", "directory"], "")
    record = {"grid_id": None, "program": None, "settings": {}, "arrays": [], "code": code}
    (folder / "submission.json").write_text(json.dumps({**text, **record}))
    return read_submission(folder)


def test_the_record_of_the_code_may_be_in_the_submission_as_version_0_1_0_wrote_it(experiment):
    code = {"commit": code_facts()["commit"], "sources": {"models.py": "0" * 64}}

    assert code_line(submitted(experiment, code)).endswith(", as at submission")


def test_code_that_is_recorded_once_per_content_is_compared(experiment):
    experiment.mkdir()
    code = record_code(experiment, code_facts() | {"sources": {"models.py": "0" * 64}})

    submission = submitted(experiment, code)

    assert code_line(submission).endswith(", as at submission")
    (experiment / "code" / f"{code['sources_hash']}.json").unlink()
    assert code_line(submission).endswith("the record of the submission's code is gone")
