"""Reading and writing a grid's files."""

import json
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from expkit_hydra import Grid, GridRun
from expkit_hydra._composing.base_config import BaseConfig
from expkit_hydra._composing.composer import Composition
from expkit_hydra._composing.run_location import RunLocation
from expkit_hydra._grid.frozen_configs import FrozenConfigs
from expkit_hydra._grid.writing import write_grid


def test_what_is_pending_is_read_from_the_runs(app):
    app.sweep("model=cnn", "seed=1")
    assert app.grid().pending == []

    record = app.experiment / "training/cnn_sgd_0.1_1/run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"state": "failed"}))

    assert [run.run_name for run in app.grid().pending] == ["cnn_sgd_0.1_1"]


def test_a_grid_is_found_by_its_folder_and_by_its_experiments(app):
    app.sweep("model=cnn", "seed=1")
    app.sweep("model=cnn", "seed=2")
    latest = app.grid()

    assert latest.description["swept"]["seed"] == [2]
    (other,) = [path for path in latest.path.parent.iterdir() if path != latest.path]
    assert Grid.load(str(other)).description["swept"]["seed"] == [1]


@pytest.mark.parametrize("where", ["", "results", "nowhere"])
def test_a_folder_without_a_grid_is_refused_with_what_to_give(tmp_path, where):
    with pytest.raises(FileNotFoundError, match=r"No grid in .*Give the folder of an experiment"):
        Grid.load(tmp_path / where)


def test_a_damaged_description_is_named(app):
    app.sweep("model=cnn", "seed=1")
    (app.experiment / "grid_search.yaml").write_text("- 1\n")

    with pytest.raises(ValueError, match=r"grid_search.yaml is not the description of a grid"):
        app.grid()


def test_the_runs_and_the_settings_of_a_grid_can_be_read_without_hydra(app):
    skip_mlp = "_filters=[\"model.name == 'mlp'\"]"
    watched = ("expkit.metric=loss", "expkit.direction=minimize")
    app.sweep("model=cnn,mlp", "optimizer.lr=0.1", "seed=1", skip_mlp, *watched)
    code = """if True:
        import sys
        from expkit_hydra.reading import grid_runs, grid_settings
        runs, settings = grid_runs(sys.argv[1]), grid_settings(sys.argv[1])
        print([(run.index, run.run_name, run.values["seed"], run.skipped_by) for run in runs])
        print(settings.metric, settings.direction, settings.swept["model"], [*settings.swept])
        print([name for name in ("hydra", "omegaconf") if name in sys.modules])
    """

    done = subprocess.run(
        [sys.executable, "-c", code, app.experiment], capture_output=True, text=True, check=True
    )

    runs, settings, heavy = done.stdout.splitlines()
    assert runs == "[(0, 'cnn_sgd_0.1_1', 1, None), (1, 'mlp_sgd_0.1_1', 1, 'rule 1')]"
    assert settings == (
        "loss minimize ['cnn', 'mlp'] ['model', 'optimizer', 'optimizer.lr', 'seed']"
    )
    assert heavy == "[]"


def test_an_experiment_without_a_grid_has_no_settings(tmp_path):
    from expkit_hydra.reading import grid_runs, grid_settings

    assert grid_settings(tmp_path) is None
    with pytest.raises(FileNotFoundError, match="No grid in"):
        grid_runs(tmp_path)


HYDRA = {
    "overrides": {"task": []},
    "job": {
        "override_dirname": "",
        "config": {"override_dirname": {"kv_sep": "=", "item_sep": ",", "exclude_keys": []}},
    },
}


def test_processes_that_make_one_grid_at_once_share_its_folder(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    def make(_: int) -> Grid:
        config = OmegaConf.create({"seed": 1, "run_name": "?", "hydra": HYDRA})
        frozen = FrozenConfigs()
        frozen.add(
            0, Composition(BaseConfig(config, ("seed=1",)), (), ("seed=1",)), RunLocation("1")
        )
        run = GridRun(0, "1", ("seed=1",), {"seed": 1}, "0" * 64, None, tmp_path / "training/1")
        return write_grid(tmp_path, [run], frozen, {"experiment_id": "x"}, pending=[run])

    with ThreadPoolExecutor(8) as pool:
        grids = list(pool.map(make, range(8)))

    assert len({grid.path for grid in grids}) == 1
    assert list((tmp_path / "grids").iterdir()) == [grids[0].path]
    assert Grid.load(tmp_path).config(0).seed == 1


def test_lines_are_strict_json(tmp_path):
    run = GridRun(
        0, "nan", ("lr=nan",), {"lr": float("nan"), "x": [float("-inf")]}, "0", None, tmp_path
    )

    assert json.loads(run.to_line())["values"] == {"lr": "NaN", "x": ["-Infinity"]}
