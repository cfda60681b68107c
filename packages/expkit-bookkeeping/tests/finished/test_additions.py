"""Adding results to a completed run, of which nothing else changes."""

import json
import logging
import math
import os
import subprocess
import sys

import pytest

from expkit_bookkeeping import Bookkeeping, ClaimLost, Run, RunClaimed, find_runs, result_rows
from expkit_bookkeeping.launching import claim_run, move_to_trash

ADDED = {"results/additions.jsonl", "results/test.yaml"}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "digits" / "training" / "cnn_1"
    config = {"epochs": 3, "expkit": {"metric": "acc"}}
    with Bookkeeping(folder, config=config, console=False) as run:
        for step, accuracy in enumerate((0.1, 0.9, 0.3)):
            run.log_metrics({"acc": accuracy}, step=step)
    return folder


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_is_added_is_in_the_table_and_nothing_else_has_changed(folder):
    before = contents(folder)
    (row,) = result_rows(folder.parents[1])

    path = Run(folder).add_results({"test_acc": 0.98}, "test")

    (now,) = result_rows(folder.parents[1])
    assert now == {**row, "test_acc": 0.98}
    assert path == folder / "results" / "test.yaml"
    after = contents(folder)
    assert after.keys() - before.keys() == ADDED
    assert {name: after[name] for name in before} == before


def test_the_history_says_who_added_what_and_when(folder):
    run = Run(folder, clock=lambda: 1763884800.0)

    run.add_results({"test_acc": 0.98}, "test")

    (addition,) = run.additions
    assert addition["added_at"] == "2025-11-23T08:00:00.000000+00:00"
    assert addition["file"] == "test.yaml"
    assert addition["data"] == {"test_acc": 0.98}
    assert addition["replaced"] is None
    assert addition["attempt"] == 1
    assert addition["pid"] == os.getpid()
    assert addition["user"]
    assert addition["host"]
    assert addition["command"]


def test_mappings_are_merged_and_a_replaced_value_is_kept_and_named(folder, caplog):
    run = Run(folder)
    run.add_results({"test": {"acc": 0.98}, "n": 100}, "test")
    run.add_results({"test": {"loss": math.nan}}, "test")
    run.add_results({"test": {"loss": math.nan}, "n": 100}, "test")
    with caplog.at_level(logging.WARNING):
        assert caplog.messages == []

        run.add_results({"test": {"acc": 0.97}}, "test")

    assert run.results["test"] == {
        "test": {"acc": 0.97, "loss": pytest.approx(math.nan, nan_ok=True)},
        "n": 100,
    }
    assert [line["replaced"] for line in run.additions] == [None, None, None, {"test.acc": 0.98}]
    (message,) = caplog.messages
    assert message.startswith("test.acc in ")
    assert "was 0.98 before" in message


def test_what_the_training_saved_is_merged_into_in_its_own_format(tmp_path):
    with Bookkeeping(tmp_path / "a", console=False) as run:
        run.save_results({"dev_acc": 0.9}, "scores.json")

    Run(tmp_path / "a").add_results({"test_acc": 0.8}, "scores")

    content = json.loads((tmp_path / "a" / "results" / "scores.json").read_text())
    assert content == {"dev_acc": 0.9, "test_acc": 0.8}
    assert not (tmp_path / "a" / "results" / "scores.yaml").exists()


def test_what_cannot_be_merged_replaces_nothing(folder):
    run = Run(folder)
    run.add_results([1, 2], "list")
    before = contents(folder)

    with pytest.raises(FileExistsError, match="another name"):
        run.add_results([3], "list")
    with pytest.raises(FileExistsError, match="another name"):
        run.add_results({"a": 1}, "list")

    assert contents(folder) == before
    assert run.results["list"] == [1, 2]


def test_frames_and_arrays_are_added_in_files_of_their_own(folder):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"label": [1, 0], "score": [0.5, 0.25]})

    run = Run(folder)
    path = run.add_results(frame, "predictions")

    pd.testing.assert_frame_equal(run.results["predictions"], frame)
    assert path.name == "predictions.csv"
    assert run.additions[0]["data"] is None
    with pytest.raises(FileExistsError):
        run.add_results(frame, "predictions")


@pytest.mark.parametrize(
    ("data", "name", "error"),
    [
        ({"a": object()}, "test", TypeError),
        (0.98, "test", TypeError),
        ({"a": 1}, "../test", ValueError),
        ({"a": 1}, "test.csv", ValueError),
    ],
)
def test_bad_results_are_refused_before_anything_is_written(folder, data, name, error):
    before = contents(folder)

    with pytest.raises(error):
        Run(folder).add_results(data, name)

    assert contents(folder) == before


def test_two_processes_that_add_at_once_lose_nothing(folder):
    code = """if True:
        import sys
        from expkit_bookkeeping import Run
        run = Run(sys.argv[1])
        sys.stdin.readline()
        for number in range(25):
            run.add_results({f"{sys.argv[2]}_{number}": number}, "test")
    """
    before = contents(folder)
    processes = [
        subprocess.Popen([sys.executable, "-c", code, folder, name], stdin=subprocess.PIPE)
        for name in ("a", "b")
    ]
    for process in processes:
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0

    run = Run(folder)
    expected = {f"{name}_{number}": number for name in "ab" for number in range(25)}
    assert run.results["test"] == expected
    added: dict[str, int] = {}
    for line in run.additions:
        added |= line["data"]
    assert added == expected
    assert len(run.additions) == 50
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == ADDED


def test_a_torn_or_damaged_line_of_the_history_hides_no_other(folder, caplog):
    run = Run(folder)
    run.add_results({"a": 1}, "test")
    history = folder / "results" / "additions.jsonl"
    with history.open("a") as file:
        file.write('rubbish\n{"schema": 2}\n{"schema": 1, "file"')

    assert [line["data"] for line in run.additions] == [{"a": 1}]
    run.add_results({"b": 2}, "test")

    assert [line["data"] for line in run.additions] == [{"a": 1}, {"b": 2}]
    assert "line 2" in caplog.text
    assert "newer version" in caplog.text


def test_nothing_is_added_to_a_run_that_is_running(tmp_path):
    claim = claim_run(tmp_path / "a")
    run = Run(tmp_path / "a")

    with pytest.raises(RunClaimed, match="is held by") as caught:
        run.add_results({"a": 1}, "test")

    assert caught.value.owner.state == "running"
    assert not (tmp_path / "a" / "results").exists()
    claim.finish("completed")
    with pytest.raises(ValueError, match="was running when it was opened"):
        run.add_results({"a": 1}, "test")
    Run(tmp_path / "a").add_results({"a": 1}, "test")


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_nothing_is_added_to_a_run_that_was_not_completed(tmp_path, state):
    claim_run(tmp_path / "a").finish(state)

    with pytest.raises(ValueError, match=f"was {state}"):
        Run(tmp_path / "a").add_results({"a": 1}, "test")


def test_results_of_a_run_do_not_reach_what_was_trained_in_its_place_since(folder):
    run = Run(folder)
    with Bookkeeping(folder, console=False) as training:
        training.log_metrics({"acc": 0.5}, step=0)
    before = contents(folder)

    with pytest.raises(ClaimLost, match="was run again since"):
        run.add_results({"a": 1}, "test")

    assert contents(folder) == before
    Run(folder).add_results({"a": 1}, "test")


def test_results_of_a_run_that_was_moved_away_make_no_folder(folder):
    run = Run(folder)
    move_to_trash(folder, reason="cleanup")

    with pytest.raises(ClaimLost, match="is gone from"):
        run.add_results({"a": 1}, "test")

    assert not folder.exists()
    assert find_runs(folder.parents[1]) == []
