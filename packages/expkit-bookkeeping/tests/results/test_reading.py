"""What programs that go on with results read: one run, its configuration, what was removed."""

import signal
import subprocess
import sys

import pytest

from expkit_bookkeeping import Bookkeeping
from expkit_bookkeeping.launching import claim_run, move_to_trash
from expkit_bookkeeping.reading import find_run, read_config, read_run, removed_runs


def test_a_run_that_was_killed_is_lost_and_one_that_ended_is_what_it_says(tmp_path):
    code = """if True:
        import os, signal, sys
        from expkit_bookkeeping import Bookkeeping
        with Bookkeeping(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = tmp_path / "digits" / "training" / "killed"
    assert subprocess.run([sys.executable, "-c", code, killed]).returncode == -signal.SIGKILL
    claim_run(tmp_path / "ended", run_name="ended").finish("failed", ValueError("no"))

    assert read_run(killed).state == "running"
    assert find_run(killed).state == "lost"
    assert find_run(tmp_path / "ended").state == "failed"
    assert find_run(tmp_path) is None


def test_a_run_that_ends_while_its_owner_is_asked_for_is_not_lost(tmp_path):
    claim = claim_run(tmp_path / "a", run_name="a")

    def is_alive(record):
        claim.finish("completed")
        return False

    assert find_run(tmp_path / "a", is_alive=is_alive).state == "completed"


def test_a_claim_without_run_json_is_a_run(tmp_path):
    claim_run(tmp_path / "a", run_name="a")
    (tmp_path / "a" / "run.json").unlink()

    assert find_run(tmp_path / "a").state == "running"


def test_a_configuration_is_read_as_it_was_given(tmp_path):
    config = {"lr": 0.1, "model": {"name": "cnn", "sizes": [8, 16]}, "note": "1e5", "none": None}
    with Bookkeeping(tmp_path / "a", config=config):
        pass

    assert read_config(tmp_path / "a") == config


@pytest.mark.parametrize("text", ["a: [1", "- 1", "", "a: \xff"])
def test_a_damaged_configuration_is_named(tmp_path, text):
    (tmp_path / "config.yaml").write_bytes(text.encode("latin-1"))

    with pytest.raises(ValueError, match=r"config\.yaml is damaged"):
        read_config(tmp_path)


def test_removed_runs_are_listed_with_their_place_in_the_trash(tmp_path):
    folder = tmp_path / "digits" / "training" / "a"
    claim = claim_run(folder, run_name="a")
    run_id = claim.record.id
    claim.finish("failed", ValueError("no"))
    target = move_to_trash(folder, reason="cleanup")

    (removed,) = removed_runs(tmp_path / "digits")

    assert (removed.id, removed.run_name, removed.state) == (run_id, "a", "failed")
    assert (removed.reason, removed.trash) == ("cleanup", target)
    assert removed_runs(tmp_path) == []


def test_lines_of_removed_runs_that_are_torn_damaged_or_lead_out_harm_nothing(tmp_path):
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash" / "removed.jsonl").write_text(
        '{"id": "a", "trash": ".trash/../../elsewhere"}\nrubbish\n[1]\n'
        '{"id": "b", "trash": "/etc"}\n{"id": 7, "trash": 7}\n{"id": "to'
    )

    removed = removed_runs(tmp_path)

    assert [run.id for run in removed] == ["a", "b", None]
    assert [run.trash for run in removed] == [None, None, None]
