"""Optuna's sweeper, which knows no grids: with processes here, and on a real Slurm cluster."""

import json
import os
import signal
import time
from importlib.util import find_spec

import pytest
import yaml

APP = """
import time
from pathlib import Path

import hydra
import numpy
from hydra.core.hydra_config import HydraConfig


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    number = HydraConfig.get().job.num
    Path(f"started{number}").touch()
    while Path("hold").exists():
        time.sleep(0.02)
    if number == 1:
        import optuna  # takes seconds

        raise optuna.TrialPruned("no good")
    if number == 2:
        raise ValueError("2 is broken")
    return cfg.x, numpy.float64(-cfg.x)


if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [{override hydra/sweeper: optuna}, _self_]
x: 0.0
hydra:
  sweep: {dir: sweep}
  sweeper:
    n_trials: 6
    n_jobs: 3
    direction: [maximize, maximize]
    max_failure_rate: 1.0
    sampler: {seed: 1}
    params: {x: "interval(0.0, 1.0)"}
"""
EXAMPLE = """
    n_trials: 12
    n_jobs: 4
    direction: maximize
    sampler: {seed: 1}
    params: {model: "choice(mlp,cnn)", optimizer.lr: "interval(0.001,0.1)"}
"""
HERE = ["hydra/launcher=expkit", "hydra.launcher.n_jobs=3"]
SLURM = [
    "hydra/launcher=expkit_slurm",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem=800M",
    "hydra.launcher.poll_s=0.3",
]


@pytest.fixture(autouse=True)
def _optuna():
    """CI says EXPKIT_REQUIRE=optuna, and its absence is then a failure."""
    if find_spec("optuna") is None or find_spec("hydra_plugins.hydra_optuna_sweeper") is None:
        advice = "needs hydra-optuna-sweeper"
        if "optuna" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
            pytest.fail(advice)
        pytest.skip(advice)


@pytest.fixture(params=["processes", "slurm"])
def launcher(request):
    """Options of the command line, and the environment that they need."""
    if request.param == "processes":
        return HERE, {}
    return SLURM, request.getfixturevalue("cluster")


@pytest.fixture
def app(empty):
    """An app without the line `expkit`, whose trial 1 is pruned and trial 2 fails."""
    (empty.folder / "train.py").write_text(APP)
    (empty.folder / "config.yaml").write_text(CONFIG)
    return empty


def records(folder):
    """run.json of each run, in the order of the jobs."""
    paths = folder.glob("training/*/run.json")
    runs = [json.loads(path.read_text()) for path in paths]
    return sorted(runs, key=lambda run: run["created_at"])


def test_optuna_maximises_the_accuracy_of_the_example_in_batches(example, launcher):
    options, variables = launcher
    config = example.folder / "conf" / "config.yaml"
    before, _, _ = config.read_text().partition("    params:\n")
    config.write_text(before + EXAMPLE.removeprefix("\n"))
    done = example.run(
        "python", "examples/digits.py", "-m", "hydra/sweeper=optuna", "epochs=1",
        "expkit.after=[]", *options, **variables,
    )  # fmt: skip

    results = example.folder / "results" / "digits"
    runs = records(results)
    assert [run["state"] for run in runs] == ["completed"] * 12  # rules would skip some of them
    best = yaml.safe_load((results / "training/optimization_results.yaml").read_text())
    assert best["best_value"] == max(run["best"]["value"] for run in runs)
    assert "12 completed" in done.stdout
    sweeps = [
        {json.loads(line)["sweep"]["id"] for line in path.read_text().splitlines()}
        for path in results.glob("grids/*/grid_search.jsonl")
    ]
    assert len(sweeps) == 3
    assert sweeps[0] == sweeps[1] == sweeps[2]
    status = example.run("expkit", "status", "results/digits", "--json", **variables)
    names = [run["run_name"] for run in json.loads(status.stdout)["runs"]]
    assert names[:4] != sorted(names)[:4]  # in the order of the trials
    assert sorted(names) == sorted(run["run_name"] for run in runs)


def test_pruned_and_failed_trials_are_told_apart_from_pairs_that_come_back(app, launcher):
    options, variables = launcher
    done = app.run("python", "train.py", "-m", *options, **variables)

    output = done.stdout + done.stderr
    assert "Failed experiment: TrialPruned: no good" in output
    assert "Failed experiment: ValueError: 2 is broken" in output
    sweep = app.folder / "sweep"
    solutions = yaml.safe_load((sweep / "optimization_results.yaml").read_text())["solutions"]
    runs = {run["run_name"]: run for run in records(sweep / ".expkit")}
    assert {name: run["state"] for name, run in runs.items()} == {
        **dict.fromkeys(["0", "3", "4", "5"], "completed"),
        **dict.fromkeys(["1", "2"], "failed"),
    }
    pairs = [run["returned"]["$tuple"] for run in runs.values() if run["returned"] is not None]
    assert len(pairs) == 4  # x and -x, of which none is worse than another
    assert sorted(solution["values"] for solution in solutions) == sorted(pairs)
    # Each value belongs to the parameters that it was asked for.
    assert all(solution["values"][0] == solution["params"]["x"] for solution in solutions)
    assert {path.name for path in sweep.iterdir()} == {
        ".expkit", "optimization_results.yaml", *runs,
    }  # fmt: skip
    status = app.run("expkit", "status", "sweep", code=1, **variables)
    assert "4 completed, 2 failed" in status.stdout


def test_ctrl_c_ends_the_trials(app, launcher):
    options, variables = launcher
    (app.folder / "hold").touch()
    process = app.start("python", "train.py", "-m", *options, **variables)
    deadline = time.monotonic() + 60
    while len(list(app.folder.glob("started*"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 130, output
    assert "Traceback" not in output
    app.run("expkit", "wait", "sweep", code=None, **variables)
    assert [run["state"] for run in records(app.folder / "sweep" / ".expkit")] == [
        "interrupted"
    ] * 3
