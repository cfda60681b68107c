"""Override lists of sweepers that know no grids, each batch a grid."""

import json
import subprocess
import sys
import threading

import numpy
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from expkit_hydra import Grid, commands

OBJECTS = """
import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf


class Thing:
    pass


content = {"x": 1, "thing": Thing()}
objects = OmegaConf.create(content, flags={"allow_objects": True})
ConfigStore.instance().store("objects", node=objects)


@hydra.main(version_base="1.3", config_path=None, config_name="objects")
def main(cfg):
    print(f"{cfg.x}: {type(cfg.get('thing')).__name__}, {OmegaConf.get_type(cfg).__name__}")


if __name__ == "__main__":
    main()
"""
WORDS = ("hydra/sweeper=basic", "model=cnn", "optimizer=sgd", "optimizer.lr=0.1")


@pytest.fixture
def sweep(app):
    """Sweep seeds with Hydra's basic sweeper; the configuration sweeps none itself."""
    app.edit(
        "params: {model: [mlp, cnn], optimizer: [sgd], optimizer.lr: [0.1, 0.001], seed: [1, 2]}",
        "max_batch_size: null",
    )
    app.edit("experiment_id: digits", "experiment_id: digits\nrun_name: ${model.name}_${seed}")
    app.task = lambda cfg: cfg.seed

    def sweep(*overrides):
        return [job for batch in app.sweep(*WORDS, *overrides) for job in batch]

    return sweep


def run(folder, *words):
    """Run Python in a folder."""
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def records(folder):
    paths = sorted(folder.glob("training/*/run.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def test_no_list_stands_for_another_or_is_skipped(app, sweep):
    app.edit("model.name == 'mlp'", "model.name == 'cnn'")  # a rule that is true for all
    first = sweep("seed=1,1,2")
    again = sweep("seed=1,2")

    assert [job.return_value for job in [*first, *again]] == [1, 1, 2, 1, 2]
    assert [job.overrides[-1] for job in again] == ["seed=1", "seed=2"]
    names = ["cnn_1", "cnn_1-2", "cnn_2", "cnn_1-3", "cnn_2-2"]
    assert app.names() == names
    runs = records(app.experiment)
    assert sorted(runs) == sorted(names)
    assert {(run["state"], run["attempt"]) for run in runs.values()} == {("completed", 1)}
    for name in names:
        assert (app.experiment / "training" / name / ".hydra" / "config.yaml").is_file()


def test_an_unfinished_run_of_an_earlier_sweep_goes_on_in_its_folder(app, sweep):
    def fail(cfg):
        raise ValueError(f"{cfg.seed} is too much")

    app.task = fail
    with pytest.raises(RuntimeError, match="ValueError: 1 is too much") as raised:
        sweep("seed=1")
    app.task = lambda cfg: cfg.seed
    sweep("seed=1,1")

    assert isinstance(raised.value.__cause__, ValueError)
    states = {name: run["state"] for name, run in records(app.experiment).items()}
    assert states == {"cnn_1": "completed", "cnn_1-2": "completed"}


def test_what_a_function_returns_comes_back_as_run_json_has_it(app, sweep):
    values = {1: (1, float("nan"), numpy.float32(0.5)), 2: {"a": [None]}, 3: None}
    app.task = lambda cfg: values[cfg.seed]
    pair, mapping, nothing = sweep("seed=1,2,3")

    assert repr(pair.return_value) == "(1, nan, 0.5)"
    assert [type(value) for value in pair.return_value] == [int, float, float]
    assert mapping.return_value == {"a": [None]}
    assert nothing.return_value is None

    app.task = lambda cfg: threading.Lock()
    with pytest.raises(RuntimeError, match=r"It is a _thread.lock: .* Return a number"):
        sweep("seed=4")
    assert records(app.experiment)["cnn_4"]["state"] == "failed"


def test_batches_share_a_sweep_and_status_shows_them_in_order(app, sweep, capsys):
    numbers = []
    app.task = lambda cfg: numbers.append(HydraConfig.get().job.num)
    sweep("seed=3,1,2", "hydra.sweeper.max_batch_size=2")
    grids = [Grid.load(path) for path in (app.experiment / "grids").iterdir()]

    assert numbers == [0, 1, 2]
    assert sorted(len(grid.runs) for grid in grids) == [1, 2]
    assert len({grid.sweep_id for grid in grids}) == 1
    assert [run for grid in grids for run in grid.pending] == []
    capsys.readouterr()
    commands.status([str(app.experiment), "--json"])
    rows = json.loads(capsys.readouterr().out)["runs"]
    assert [row["run_name"] for row in rows] == ["cnn_3", "cnn_1", "cnn_2"]


def test_a_later_grid_of_ours_finds_the_runs_done(app, sweep):
    sweep("seed=1,2")
    app.seen.clear()
    app.sweep("model=cnn", "optimizer=sgd", "optimizer.lr=0.1", "seed=1,2,3")

    assert [cfg.seed for cfg in app.seen] == [3]


def test_without_the_kits_keys_the_records_lie_beside_the_runs(app):
    app.write("conf/config.yaml", "seed: 1\nhydra: {job: {name: train}}\n")
    app.task = lambda cfg: OmegaConf.to_container(cfg)
    jobs = app.sweep("hydra/launcher=expkit", "seed=1,2", "hydra.sweep.dir=out/${now:%f}")[0]

    assert [job.return_value for job in jobs] == [{"seed": 1}, {"seed": 2}]
    (folder,) = (app.folder / "out").iterdir()
    assert {path.name for path in folder.iterdir()} == {"0", "1", ".expkit", "multirun.yaml"}
    assert {path.name for path in (folder / "0").iterdir()} == {".hydra", "train.log"}
    runs = records(folder / ".expkit")
    assert {name: run["swept"] for name, run in runs.items()} == {
        "0": {"seed": 1},
        "1": {"seed": 2},
    }
    assert not list((folder / ".expkit").glob("results.csv"))
    assert len(Grid.load(folder).runs) == 2


def test_objects_that_no_file_holds_are_given_to_runs_in_process_alone(tmp_path):
    (tmp_path / "train.py").write_text(OBJECTS)
    words = ["train.py", "--config-name", "objects", "-m", "hydra/launcher=expkit", "x=1,2"]
    done = run(tmp_path, *words)
    refused = run(tmp_path, *words, "hydra.launcher.n_jobs=2")

    assert "1: Thing, dict\n" in done.stdout
    assert "2: Thing, dict\n" in done.stdout
    assert "run with hydra.launcher.n_jobs=1" in refused.stderr
    assert "Traceback" not in refused.stderr
