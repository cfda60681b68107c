"""The first steps of the README in an empty folder, as a new user would take them."""

import time

import pytest
from fenced import blocks
from workspace import REPOSITORY, Workspace

pytestmark = pytest.mark.integration


@pytest.fixture
def project(empty: Workspace) -> Workspace:
    """A folder with the README's two files."""
    for block in blocks((REPOSITORY / "README.md").read_text(encoding="utf-8")):
        if block.name in ("train.py", "config.yaml"):
            (empty.folder / block.name).write_text(block.text)
    return empty


def test_the_first_five_minutes_go_as_the_readme_says(project):
    start = time.monotonic()
    first = project.run("python", "train.py", "-m")
    elapsed_s = time.monotonic() - start

    output = first.stdout + first.stderr
    assert "4 completed" in output
    assert "ui results/first" in output
    assert (project.folder / "results" / "first" / "plots" / "val_accuracy.png").exists()
    assert "results/first/plots" in output
    assert elapsed_s < 60  # the promise is half a minute; CI's cores are shared

    again = project.run("python", "train.py", "-m")
    assert "4 completed, nothing to do" in again.stdout + again.stderr

    project.run("expkit", "plot", "results/first", "--style", "Thesis")
    status = project.run("expkit", "status", "results/first")
    assert "4 completed" in status.stdout


def test_another_value_in_the_grid_runs_only_what_is_new(project):
    project.run("python", "train.py", "-m", "epochs=2", "expkit.after=[]")

    more = "hydra.sweeper.params.lr=[0.01,0.001,0.1]"
    done = project.run("python", "train.py", "-m", "epochs=2", "expkit.after=[]", more)

    assert "6 in the grid, 4 completed, 2 to run" in done.stdout + done.stderr
    assert len(list(project.folder.glob("results/first/training/*/run.json"))) == 6


def test_a_single_run_goes_into_the_same_tree_and_is_never_skipped(project):
    for _ in range(2):
        project.run("python", "train.py", "epochs=2")

    assert [path.parent.name for path in project.folder.glob("results/*/training/*/run.json")] == [
        "0.01_1"
    ]
    assert len(list(project.folder.glob("results/first/.trash/0.01_1*"))) == 1
