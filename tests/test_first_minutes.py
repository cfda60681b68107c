"""README's first block, in an empty folder, as a new user would do it."""

import time

import pytest
from fenced import blocks
from workspace import REPOSITORY, Workspace

pytestmark = pytest.mark.integration


@pytest.fixture
def pasted(empty: Workspace) -> Workspace:
    for block in blocks((REPOSITORY / "README.md").read_text(encoding="utf-8")):
        if block.name in ("train.py", "config.yaml"):
            (empty.folder / block.name).write_text(block.text)
    return empty


def test_the_first_five_minutes_go_as_the_readme_says(pasted):
    begin = time.monotonic()
    first = pasted.run("python", "train.py", "-m")
    elapsed_s = time.monotonic() - begin

    output = first.stdout + first.stderr
    assert "4 completed" in output
    assert "ui results/first" in output
    assert (pasted.folder / "results" / "first" / "plots" / "val_accuracy.png").exists()
    assert "results/first/plots" in output
    assert elapsed_s < 60  # the promise is half a minute; CI's cores are shared

    again = pasted.run("python", "train.py", "-m")
    assert "4 completed, nothing to do" in again.stdout + again.stderr

    pasted.run("expkit", "plot", "results/first", "--style", "Thesis")
    status = pasted.run("expkit", "status", "results/first")
    assert "4 completed" in status.stdout


def test_a_value_more_in_the_grid_runs_only_what_is_new(pasted):
    pasted.run("python", "train.py", "-m", "epochs=2", "expkit.after=[]")

    more = "hydra.sweeper.params.lr=[0.01,0.001,0.1]"
    done = pasted.run("python", "train.py", "-m", "epochs=2", "expkit.after=[]", more)

    assert "6 in the grid, 4 completed, 2 to run" in done.stdout + done.stderr
    assert len(list(pasted.folder.glob("results/first/training/*/run.json"))) == 6


def test_a_single_run_lands_in_the_same_tree_and_is_never_skipped(pasted):
    for _ in range(2):
        pasted.run("python", "train.py", "epochs=2")

    assert [path.parent.name for path in pasted.folder.glob("results/*/training/*/run.json")] == [
        "0.01_1"
    ]
    assert len(list(pasted.folder.glob("results/first/.trash/0.01_1*"))) == 1
