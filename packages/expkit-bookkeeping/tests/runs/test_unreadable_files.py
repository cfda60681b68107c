"""A file that cannot be read spoils itself alone; one of a newer version is left as it is."""

import json
import os

import pytest

from expkit_bookkeeping import Bookkeeping, RunClaimed, find_runs, read_run, results
from expkit_bookkeeping.launching import claim_run, is_alive, move_to_trash

STATE = {"schema": 1, "state": "completed", "run_name": "b"}
HOSTILE = {
    "deep": "[" * 100_000,
    "deep and closed": "[" * 5_000 + "]" * 5_000,
    "deep within": json.dumps(STATE)[:-1] + ', "swept": ' + '{"a":' * 500 + "1" + "}" * 501,
    "a long number": '{"state": "completed", "attempt": ' + "9" * 400 + "}",
    "a number that Python refuses": '{"state": "completed", "pid": ' + "9" * 5_000 + "}",
    "no text": b"\xff\xfe\x00{",
    "of another type": '"completed"',
    "empty": "",
    "a state of its own": '{"state": ["' + "x" * 1_000 + '"]}',
    "a schema of text": '{"schema": "one", "state": "completed"}',
}


def experiment_of(tmp_path, content):
    for name in "abc":
        (tmp_path / "training" / name).mkdir(parents=True)
        text = json.dumps(STATE | {"run_name": name})
        (tmp_path / "training" / name / "run.json").write_text(text)
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "training" / "b" / "run.json").write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_run_json_that_cannot_be_read_hides_no_other_run(tmp_path, content):
    experiment = experiment_of(tmp_path, content)

    records = find_runs(experiment)

    assert [record.state for record in records] == ["completed", "unknown", "completed"]
    assert str(experiment / "training" / "b" / "run.json") in records[1].reason
    assert len(records[1].reason) < 500
    assert records[1] == read_run(experiment / "training" / "b")
    assert list(results(experiment)["state"]) == ["completed", "unknown", "completed"]


def test_a_run_json_without_end_is_not_read_to_its_end(tmp_path):
    experiment = experiment_of(tmp_path, "")
    path = experiment / "training" / "b" / "run.json"
    os.truncate(path, 1 << 40)  # a terabyte of zeros, of which the disk holds none

    assert "64 MiB" in str(find_runs(experiment)[1].reason)


def test_a_pipe_by_the_name_of_run_json_does_not_block(tmp_path):
    experiment = experiment_of(tmp_path, "")
    path = experiment / "training" / "b" / "run.json"
    path.unlink()
    os.mkfifo(path)

    assert find_runs(experiment)[1].state == "unknown"


@pytest.mark.parametrize("pid", [10**300, 1 << 64, 1 << 31, 0, -1, True, "1", None])
def test_a_claim_whose_pid_no_process_can_have_leaves_its_owner_unknown(tmp_path, pid):
    folder = tmp_path / "training" / "run"
    claim_run(folder).finish("failed")
    facts = json.loads((folder / "claims" / "0001.json").read_text())
    (folder / "claims" / "0002.json").write_text(json.dumps(facts | {"attempt": 2, "pid": pid}))

    with pytest.raises(RunClaimed):
        claim_run(folder)
    assert [record.state for record in find_runs(tmp_path)] == ["failed"]
    with pytest.raises(RunClaimed):
        move_to_trash(folder, reason="cleanup")


@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 5_000, "{", "[]", '{"schema": "x"}'])
def test_a_claim_that_cannot_be_read_leaves_its_owner_unknown(tmp_path, content):
    folder = tmp_path / "training" / "run"
    claim_run(folder).finish("failed")
    (folder / "claims" / "0002.json").write_text(content)

    with pytest.raises(RunClaimed):
        claim_run(folder)
    assert len(find_runs(tmp_path)) == 1


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


NEWER = {
    "run.json": {"schema": 2},
    "run.json with a state of its own": {"schema": 2, "state": "paused"},
    "run.json that runs": {"schema": 2, "state": "running", "pid": 1, "process_start": "x/1"},
}


@pytest.mark.parametrize("changes", NEWER.values(), ids=NEWER)
def test_a_run_of_a_newer_version_is_unknown_and_stays_as_it_is(tmp_path, changes):
    folder = tmp_path / "training" / "run"
    claim_run(folder).finish("failed")
    data = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(data | changes))
    before = files(tmp_path)

    record = find_runs(tmp_path)[0]

    assert record.state == "unknown"
    assert record.reason == (
        f"{folder / 'run.json'} was written by a newer version of expkit-bookkeeping (schema 2; "
        "this one reads 1): upgrade it, pip install -U expkit-bookkeeping"
    )
    for act in (claim_run, lambda path: move_to_trash(path, reason="cleanup")):
        with pytest.raises(RunClaimed, match="newer version of expkit-bookkeeping"):
            act(folder)
    with pytest.raises(RunClaimed, match="newer version"), Bookkeeping(folder, console=False):
        pass
    assert files(tmp_path) == before


def test_a_claim_of_a_newer_version_is_not_overtaken(tmp_path):
    folder = tmp_path / "training" / "run"
    claim_run(folder).finish("failed")
    claim = {"schema": 2, "attempt": 2, "pid": 1, "process_start": "elsewhere/1"}
    (folder / "claims" / "0002.json").write_text(json.dumps(claim))
    before = files(tmp_path)

    with pytest.raises(RunClaimed, match=r"0002\.json was written by a newer version"):
        claim_run(folder)
    with pytest.raises(RunClaimed, match="newer version"):
        move_to_trash(folder, reason="cleanup")
    assert files(tmp_path) == before


def test_a_run_of_a_newer_version_that_started_meanwhile_is_not_overwritten(tmp_path):
    folder = tmp_path / "training" / "run"
    claim = claim_run(folder)
    claim.finish("failed")

    def newer_version_comes_first(record):
        data = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(data | {"schema": 2}))
        return False

    claim.update(state="running")
    (folder / "claims" / "0002.json").write_text(json.dumps({"schema": 1, "attempt": 2}))
    with pytest.raises(RunClaimed, match="newer version"):
        claim_run(folder, is_alive=newer_version_comes_first)
    assert json.loads((folder / "run.json").read_text())["schema"] == 2
    assert not list(folder.glob("*.damaged"))
    assert is_alive(read_run(folder)) in (None, True)
