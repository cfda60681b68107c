"""A disk that is full, read-only or gone, at each stage of a run: real mounts of two megabytes."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.plugin import FACTOR
from small_disk import small_disk

from expkit_bookkeeping import Bookkeeping, ClaimLost, read_run

SCRIPT = """
from pathlib import Path

import hydra

from expkit_bookkeeping import Bookkeeping


class State:
    def state_dict(self):
        return {"value": 1.0}

    def load_state_dict(self, state):
        pass


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    filler = Path(cfg.results_dir) / "filler"

    def reach(stage):
        if cfg.x != 2 or cfg.stage != stage:
            return
        with filler.open("wb", buffering=0) as file:
            for size in (4096, 1):
                try:
                    while True:
                        file.write(b"0" * size)
                except OSError:
                    pass

    try:
        reach("open")
        with Bookkeeping.from_config(cfg) as run:
            reach("log_metrics")
            for step in range(2000):
                run.log_metrics({"loss": 1 / (step + 1)}, step)
            run.log("hello " * 2000)
            reach("save_checkpoint")
            run.save_checkpoint(0, model=State())
            reach("save_results")
            run.save_results({"accuracy": 1}, "fold1/test")
            print("printed " * 1000)
            reach("close")
            for step in range(2000, 4000):
                run.log_metrics({"loss": 1 / (step + 1)}, step)
    finally:
        if cfg.frees and cfg.x == 2:
            filler.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [expkit, _self_]
experiment_id: first
x: 1
stage: none
frees: true
expkit: {after: []}
hydra: {sweeper: {params: {x: [1, 2, 3]}}}
"""
STAGES = ["open", "log_metrics", "save_checkpoint", "save_results", "close"]
# The others differ in what happens to be under way beside the run whose disk is full.
IN_SHORT = [*((stage, 1, True) for stage in STAGES), ("close", 1, False), ("log_metrics", 2, True)]
IN_LONG = [(stage, jobs, frees) for stage in STAGES for jobs in (1, 2) for frees in (True, False)]
COMBINATIONS = IN_LONG if FACTOR > 1 else IN_SHORT


class State:
    def state_dict(self) -> dict[str, object]:
        return {"value": 1.0}

    def load_state_dict(self, state: dict[str, object]) -> None: ...


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    with small_disk(tmp_path / "disk", "2m") as folder:
        yield folder


def fill(disk: Path) -> Path:
    """Leave no byte free; returns the file that takes them."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"0" * size)
    return filler


@pytest.mark.faults("on a full disk the record says what happened, and the other runs go on")
@pytest.mark.parametrize(("stage", "n_jobs", "frees"), COMBINATIONS)
def test_a_grid_whose_disk_is_full_records_it_and_the_other_runs_go_on(
    disk, tmp_path, stage, n_jobs, frees
):
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "config.yaml").write_text(CONFIG)
    arguments = [f"stage={stage}", f"frees={frees}", f"hydra.launcher.n_jobs={n_jobs}"]
    swept = subprocess.run(
        [sys.executable, "train.py", "-m", "results_dir=disk/results", *arguments],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    output = swept.stdout + swept.stderr

    assert swept.returncode == 1, output
    assert "Traceback" not in output
    assert "Logging error" not in output
    runs = {
        path.parent.name: json.loads(path.read_text()) for path in disk.glob("*/*/*/*/run.json")
    }
    assert runs["2"]["state"] == "failed", output
    assert runs["2"]["error"]["type"] == "OSError"
    assert "No space left on device; free some space" in runs["2"]["error"]["message"]
    assert str(disk / "results" / "first" / "training" / "2") in runs["2"]["error"]["message"]
    if frees and n_jobs == 1:
        assert [runs[name]["state"] for name in "13"] == ["completed", "completed"]
    if not frees and n_jobs == 1:
        assert "3: OSError: [Errno 28] No space left on device; free some space" in output


def test_what_a_full_disk_refuses_names_the_path_and_what_to_do(disk, capsys):
    folder = disk / "first" / "training" / "a"
    with Bookkeeping(folder) as run:
        filler = fill(disk)
        run.log("the first message " * 1000)
        run.log("the second message")
        for call, path in [
            (lambda: run.save_checkpoint(0, model=State()), "states/epoch_0000.pt"),
            (lambda: run.save_model(State(), "last"), "states/last.pt"),
            (lambda: run.save_results({"a": 1}, "test"), "results/test.yaml"),
        ]:
            with pytest.raises(OSError, match="free") as caught:
                call()
            names = (str(folder / path), str(folder / path.partition("/")[0]))
            assert any(name in str(caught.value) for name in names), caught.value
        filler.unlink()
    printed = capsys.readouterr()

    assert "the second message" in printed.out
    assert printed.out.count("The run goes on without its log") == 1
    assert "Logging error" not in printed.out + printed.err
    assert read_run(folder).state == "completed"


def test_on_a_disk_that_stays_full_run_json_still_says_how_the_run_ended(disk):
    folder = disk / "first" / "training" / "a"
    run = Bookkeeping(folder, console=False).open()
    fill(disk)
    run.close(error=ValueError("why"))
    record = read_run(folder)

    assert (record.state, record.error["message"]) == ("failed", "why")
    assert not list(folder.glob(".*.tmp"))


@pytest.mark.faults("a folder that refuses, or is gone, is answered in a sentence")
def test_opening_a_run_on_a_full_or_read_only_disk_is_refused_in_a_sentence(disk):
    folder = disk / "first" / "training" / "a"
    filler = fill(disk)
    with pytest.raises(OSError, match=r"free some space there: '.*training/a"):
        Bookkeeping(folder).open()
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(OSError, match=r"choose a folder that can be written: '.*first"):
        Bookkeeping(disk / "second" / "first").open()


@pytest.mark.faults("a folder that refuses, or is gone, is answered in a sentence")
def test_a_run_whose_folder_vanishes_says_so_and_ends_with_an_error(tmp_path, capsys):
    folder = tmp_path / "a"
    run = Bookkeeping(folder).open()
    os.rename(folder, tmp_path / "moved")  # noqa: PTH104
    with pytest.raises(ClaimLost, match=r"is gone from .*/a \(moved to the trash or renamed\?\)"):
        run.save_results({"a": 1}, "test")
    with pytest.raises(ClaimLost, match="gone"):
        run.close()
    assert not folder.exists()
    assert "Logging error" not in "".join(capsys.readouterr())
