"""A results folder that version 0.1.0 wrote: opened, resumed, plotted, synced and cleaned.

tests/data/results-0.1.0.tar.xz was made with the project in tests/data/tiny, in its folder:

    python train.py -m
    python train.py lr=0.003 experiment_id=single             # completed, then moved to the trash
    KILL_AT=1 python train.py lr=0.2 experiment_id=single     # killed …
    python train.py lr=0.2 experiment_id=single               # … and resumed
    python train.py lr=0.5 fail_at=2 experiment_id=single
    python train.py lr=0.003 experiment_id=single
    KILL_AT=2 python train.py lr=0.7 experiment_id=single     # killed, and left alone
    expkit sync results/single
    expkit plot results/single
    python train.py -m hydra/launcher=expkit_slurm experiment_id=packed \
        hydra.launcher.runs_per_task=3 hydra.launcher.parallel_per_task=2

Figures were left out, and paths of the machine were replaced. It is never made again: whatever
changes in the formats, the test shows that this folder can still be used.
"""

import json
import shutil
import tarfile

import pytest
from workspace import REPOSITORY, Workspace

DATA = REPOSITORY / "tests" / "data"
GRID_NAMES = [
    "large_0.01_1", "large_0.01_2", "small_0.01_1", "small_0.01_2", "small_0.1_1", "small_0.1_2",
]  # fmt: skip


@pytest.fixture
def older(tmp_path):
    """The project with the results that version 0.1.0 left in it."""
    pytest.importorskip("torch")
    shutil.copytree(DATA / "tiny", tmp_path, dirs_exist_ok=True)
    with tarfile.open(DATA / "results-0.1.0.tar.xz") as archive:
        archive.extractall(tmp_path / "results", filter="data")
    return Workspace(tmp_path)


def states(workspace, experiment):
    done = workspace.run("expkit", "status", f"results/{experiment}", "--json", code=None)
    return {run["run_name"]: run["state"] for run in json.loads(done.stdout)["runs"]}


@pytest.mark.parametrize("experiment", ["tiny", "packed"])
def test_a_grid_of_an_older_version_is_done(older, experiment):
    assert states(older, experiment) == dict.fromkeys(GRID_NAMES, "completed")

    again = older.run("python", "train.py", "-m", f"experiment_id={experiment}")

    assert "2 skipped by rule 1, 6 completed, 0 to run" in again.stdout


def test_single_runs_of_an_older_version_are_listed_shown_and_read(older):
    from expkit_bookkeeping import load_metrics, read_run, results

    assert states(older, "single") == {
        "small_0.003_1": "completed",
        "small_0.2_1": "completed",
        "small_0.5_1": "failed",
        "small_0.7_1": "lost",
    }
    shown = older.run("expkit", "show", "results/single", "0.5").stdout
    assert "ValueError: the loss is not a number" in shown
    assert "fail_at: 2" in shown
    training = older.folder / "results" / "single" / "training"
    assert read_run(training / "small_0.2_1").attempt == 2
    metrics = load_metrics(training / "small_0.2_1")
    assert sorted(set(metrics["step"])) == [0, 1, 2, 3]
    table = results(older.folder / "results" / "tiny").table(metrics="val/acc")
    assert len(table) == 3


def test_unfinished_runs_of_an_older_version_continue_from_their_checkpoint(older):
    lost = older.run("python", "train.py", "lr=0.7", "experiment_id=single")
    failed = older.run(
        "python", "train.py", "lr=0.5", "experiment_id=single", "expkit.on_change=continue"
    )

    for run, epoch in ((lost, 2), (failed, 2)):
        assert f"Resumed from epoch_{epoch:04}.pt: epoch {epoch + 1} is next." in run.stdout
        assert "is completed" in run.stdout + run.stderr


def test_results_of_an_older_version_are_plotted_and_synced(older):
    plot = older.run("expkit", "plot", "results/tiny")
    sync = older.run("expkit", "sync", "results/single")

    assert (older.folder / "results" / "tiny" / "plots" / "val_acc.png").exists()
    assert "plots over all runs" in plot.stdout
    assert "4 runs" in sync.stdout


def test_unfinished_runs_of_an_older_version_are_cleaned_up(older):
    older.run("expkit", "cleanup", "results/single", "--yes", "--purge")

    assert states(older, "single") == {"small_0.003_1": "completed", "small_0.2_1": "completed"}
    trash = older.folder / "results" / "single" / ".trash"
    assert [path.name for path in trash.iterdir()] == ["removed.jsonl"]
    assert len((trash / "removed.jsonl").read_text().splitlines()) == 3
