"""Which keys make a run another run, and what a run may be called: one rule in all packages."""

from importlib.resources import files

import pytest
import yaml

from expkit_bookkeeping import Bookkeeping, read_run
from expkit_bookkeeping.launching import (
    IGNORED_BY_DEFAULT,
    NO_PART_OF_IDENTITY,
    claim_run,
    yaml_text,
)
from expkit_filter import RunFilter
from expkit_mlflow import MLFlowLogger
from expkit_mlflow._journal.configuration import IGNORED
from expkit_plotting import PlotMetrics


def test_mlflow_has_no_parameters_for_the_keys_that_are_no_part_of_a_run():
    assert IGNORED == NO_PART_OF_IDENTITY


def test_hydras_configuration_ignores_what_a_filter_alone_ignores():
    conf = files("expkit_hydra").joinpath("conf/expkit.yaml").read_text(encoding="utf-8")

    assert yaml.safe_load(conf)["expkit"]["ignore"] == [*IGNORED_BY_DEFAULT]


def test_a_filter_alone_names_no_key_that_is_no_part_of_a_run(tmp_path):
    folder = tmp_path / "e" / "training" / "r"
    claim_run(folder, run_name="r", config_hash="one").finish("completed")
    kit = sorted(NO_PART_OF_IDENTITY | {*IGNORED_BY_DEFAULT})
    (folder / "config.yaml").write_text(yaml_text({"lr": 0.1, **dict.fromkeys(kit, 1)}))

    run_filter = RunFilter(runs=[read_run(folder)], on_change="keep")
    decision = run_filter.decide(
        {"lr": 0.2, **dict.fromkeys(kit, 2)}, folder=folder, config_hash="another"
    )

    assert "lr=0.1 → 0.2" in decision.reason
    assert not [key for key in kit if key in decision.reason]


@pytest.mark.parametrize("name", ["cnn/1", "a\\b", ".hidden", ".."])
def test_a_run_name_is_one_visible_folder_for_whoever_makes_it(name, tmp_path):
    config = {"experiment_id": "e", "run_name": name, "results_dir": str(tmp_path)}

    with pytest.raises(ValueError, match="run_name"):
        Bookkeeping.from_config(config, console=False)
    with pytest.raises(ValueError, match="name"):
        MLFlowLogger(run_name=name)
    assert list(tmp_path.iterdir()) == []


def test_plotting_looks_for_runs_where_bookkeeping_makes_them(tmp_path):
    for name in ("a", "b"):
        config = {"experiment_id": "e", "run_name": name, "results_dir": str(tmp_path)}
        with Bookkeeping.from_config(config, console=False) as run:
            run.log_metrics({"loss": 1.0}, step=0)
    deeper = tmp_path / "e" / "training" / "a" / "copy"
    deeper.mkdir()
    (deeper / "metrics.jsonl").write_bytes((run.folder / "metrics.jsonl").read_bytes())

    assert list(PlotMetrics(tmp_path / "e").runs) == ["a", "b"]
