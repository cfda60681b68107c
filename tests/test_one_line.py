"""The one line `defaults: [expkit, …]` in a Hydra script that imports nothing of expkit's."""

import json

import pytest
from workspace import Workspace

pytestmark = pytest.mark.integration

SCRIPT = """
import hydra
from pathlib import Path

@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    with Path("calls.txt").open("a") as calls:
        calls.write(f"{cfg.x} {cfg.seed}\\n")
    if cfg.x == 2 and not Path("fixed").exists():
        raise ValueError("two is too much")

if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [expkit, _self_]
x: 1
seed: 1
_filters: ["x == 3 and seed == 2"]
hydra: {sweeper: {params: {x: [1, 2, 3], seed: [1, 2]}}}
"""


@pytest.fixture
def plain(empty: Workspace) -> Workspace:
    (empty.folder / "train.py").write_text(SCRIPT)
    (empty.folder / "config.yaml").write_text(CONFIG)
    return empty


def calls(workspace: Workspace) -> list[str]:
    return (workspace.folder / "calls.txt").read_text().splitlines()


def test_that_line_alone_gives_names_rules_resume_and_status(plain):
    first = plain.run("python", "train.py", "-m", code=1)

    states = {
        path.parent.name: json.loads(path.read_text())["state"]
        for path in plain.folder.glob("results/train/training/*/run.json")
    }
    assert states == {
        "1_1": "completed",
        "1_2": "completed",
        "2_1": "failed",
        "2_2": "failed",
        "3_1": "completed",
    }
    assert "two is too much" in first.stdout + first.stderr
    assert len(calls(plain)) == 5

    (plain.folder / "fixed").touch()
    plain.run("python", "train.py", "-m")

    assert calls(plain)[5:] == ["2 1", "2 2"]
    status = plain.run("expkit", "status", "results/train").stdout
    assert "5 completed" in status


def test_hydras_info_shows_all_that_the_line_adds(plain):
    output = plain.run("python", "train.py", "--info", "defaults").stdout

    assert "expkit" in output
    assert "hydra/sweeper" in output


def test_it_works_under_hydras_own_launcher(plain):
    (plain.folder / "fixed").touch()

    plain.run("python", "train.py", "-m", "hydra/launcher=basic")
    plain.run("python", "train.py", "-m", "hydra/launcher=basic")

    assert len(calls(plain)) == 5
