"""Many sweeps of one grid, started at one moment: EXPKIT_FAULTS=4 makes them sixteen."""

import json
import time
from collections import Counter

import pytest
from faults.plugin import FACTOR
from workspace import Workspace

from expkit_bookkeeping import find_runs

SWEEPS = 4 * min(4, FACTOR)
RUNS = 6
SCRIPT = """
import os, time
from pathlib import Path
import hydra
from expkit_bookkeeping import Bookkeeping
from expkit_mlflow import MLFlowLogger

# All wait here until the last has imported what it needs.
Path(f"ready.{os.getpid()}").touch()
while not Path("go").exists():
    time.sleep(0.01)

@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    with open("trained", "a") as file:
        file.write(f"{cfg.run_name}\\n")
    with Bookkeeping.from_config(cfg, sinks=[MLFlowLogger()]) as run:
        run.log_metrics({"loss": float(cfg.x)}, step=0)

if __name__ == "__main__":
    main()
"""
CONFIG = f"""
defaults: [expkit, _self_]
experiment_id: first
x: 0
expkit: {{metric: loss, after: [sync]}}
hydra: {{sweeper: {{params: {{x: {list(range(RUNS))}}}}}}}
"""


@pytest.mark.faults("sweeps of one grid at once train each run once, and one of them sends")
def test_sweeps_at_once_train_each_run_once_and_one_of_them_sends(empty: Workspace, campaign):
    campaign.tried = SWEEPS
    pytest.importorskip("mlflow")
    (empty.folder / "train.py").write_text(SCRIPT)
    (empty.folder / "config.yaml").write_text(CONFIG)

    sweeps = [empty.start("python", "train.py", "-m") for _ in range(SWEEPS)]
    try:
        while len(list(empty.folder.glob("ready.*"))) < SWEEPS:
            assert all(sweep.poll() is None for sweep in sweeps), sweeps[0].stdout.read()
            time.sleep(0.05)
        (empty.folder / "go").touch()
        outputs = [sweep.communicate()[0] for sweep in sweeps]
    finally:
        for sweep in sweeps:
            sweep.kill()

    shown = "\n".join(outputs)
    assert [sweep.returncode for sweep in sweeps] == [0] * SWEEPS, shown
    trained = Counter((empty.folder / "trained").read_text().split())
    assert sorted(trained.values()) == [1] * RUNS, shown
    experiment = empty.folder / "results" / "first"
    runs = find_runs(experiment)
    assert [(run.state, run.attempt) for run in runs] == [("completed", 1)] * RUNS
    for text in ("Traceback", "taken for", "sync ended", "sync was not done", "is held by"):
        assert text not in shown
    left = [line for line in shown.splitlines() if line.endswith("sends these runs to MLflow, too")]
    assert len(left) < SWEEPS  # somebody has sent
    done = empty.run("expkit", "sync", "results/first")
    assert "6 runs, nothing missing" in done.stdout
    assert json.loads((experiment / ".after.json").read_text())["after"] == ["sync"]
