"""A grid that grows step by step: table, results.csv, figures and status say what the runs were."""

import contextlib
import csv
import io
import json
import math
import shutil
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from expkit_bookkeeping import Bookkeeping, result_rows, results, write_results_csv
from expkit_bookkeeping.launching import NO_PART_OF_IDENTITY
from expkit_hydra.commands import status
from expkit_plotting import PlotMetrics

ADDED = {"note": "x", "data": "digits", "width": 8, "drop": None}  # keys and their defaults
VALUES = {
    "seed": [1, 2, 3],
    "note": ["x", "y"],
    "data": ["digits", "tones"],
    "width": [8, 16],
    "drop": [None, 0.5],
    "model": ["mlp", "cnn"],  # a config group
}
BASE = """
defaults: [expkit, {model}_self_]
experiment_id: {experiment}
seed: 1
expkit: {{metric: acc, after: [], ignore: {ignored}}}
hydra: {{sweeper: {{params: {params}}}}}
"""


def score(config):
    """A metric that tells one configuration from any other."""
    counted = {key: config[key] for key in sorted(config) if key not in NO_PART_OF_IDENTITY}
    return zlib.crc32(json.dumps(counted).encode()) % 9973 / 9973


def runs_of(experiment):
    """For each run its configuration, with the options of groups instead of what they set."""
    configs, swept = {}, {}
    for folder in sorted((experiment / "training").iterdir()):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        hydra_node = yaml.safe_load((folder / ".hydra/hydra.yaml").read_text())["hydra"]
        config["acc"] = score(config)
        if "model" in hydra_node["runtime"]["choices"]:
            config["model"] = hydra_node["runtime"]["choices"]["model"]
        configs[folder.name] = config
        swept.update(json.loads((folder / "run.json").read_text())["swept"])
    return configs, list(swept)


def groups_of(configs, keys):
    """The configurations with equal values of the keys, by these."""
    groups = {}
    for config in configs.values():
        group = tuple(str(config[key]) if key in config else "–" for key in keys)
        groups.setdefault(group, []).append(config)
    return groups


def counted(config, swept):
    left_out = {*NO_PART_OF_IDENTITY, *swept, *config["expkit"]["ignore"], "acc"}
    return {key: value for key, value in config.items() if key not in left_out}


class GrowingGrid(RuleBasedStateMachine):
    """Each step changes the configuration or the folders, and sweeps."""

    @initialize()
    def start(self):
        self.folder = Path(tempfile.mkdtemp())
        self.outside = contextlib.chdir(self.folder)
        self.outside.__enter__()
        for model in VALUES["model"]:
            path = self.folder / f"conf/model/{model}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"name: {model}\n")
        self.experiment_id = "first"
        self.keys = {}
        self.axes = {"seed": [1, 2]}
        self.ignored = ["device"]
        self.others = 0
        self.sweep()

    @property
    def experiment(self):
        return self.folder / "results" / self.experiment_id

    def sweep(self, *overrides):
        """Sweep in this process; returns the configurations that were trained."""
        text = BASE.format(
            model="model: mlp, " if "model" in self.keys else "",
            experiment=self.experiment_id,
            ignored=json.dumps(self.ignored),
            params=json.dumps(self.axes),
        )
        plain = {key: value for key, value in self.keys.items() if key != "model"}
        text += yaml.safe_dump(plain) if plain else ""
        (self.folder / "conf/config.yaml").write_text(text)
        trained = []

        @hydra.main(version_base="1.3", config_path=str(self.folder / "conf"), config_name="config")
        def main(cfg):
            with Bookkeeping.from_config(cfg, console=False) as run:
                run.log_metrics({"acc": score(run.config)}, step=0)
            trained.append(run.config)

        argv, sys.argv = sys.argv, ["train.py", "-m", *overrides]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                main()
        finally:
            sys.argv = argv
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
        return trained

    @rule(key=st.sampled_from([*ADDED, "model"]), keep=st.booleans())
    def add_or_drop_a_key(self, key, keep):
        if key in self.keys:
            del self.keys[key]
            self.axes.pop(key, None)
        else:
            self.keys[key] = ADDED.get(key)
        self.sweep(f"expkit.on_change={'keep' if keep else 'rerun'}")

    @rule(key=st.sampled_from(sorted(VALUES)), number=st.integers(1, 3))
    def add_or_drop_an_axis_or_a_value(self, key, number):
        if key not in self.keys and key != "seed":
            self.keys[key] = ADDED.get(key)
        if key in self.axes and number == 1 and key != "seed":
            del self.axes[key]
        else:
            self.axes[key] = VALUES[key][:number]
        self.sweep("expkit.on_change=rerun")

    @precondition(lambda self: "note" in self.keys)
    @rule()
    def ignore_a_key_or_count_it_again(self):
        self.sweep("expkit.on_change=keep")
        if "note" in self.ignored:
            self.ignored.remove("note")
            self.sweep("expkit.on_change=keep")
        else:
            self.ignored.append("note")
            assert self.sweep("expkit.on_change=keep") == []

    @rule()
    def rename_the_experiment(self):
        before = self.experiment
        self.experiment_id += "_"
        before.rename(self.experiment)
        assert self.sweep("expkit.on_change=keep") == []

    @rule(key=st.sampled_from(sorted(ADDED)))
    def merge_runs_of_another_experiment(self, key):
        kept = self.experiment_id, self.axes, self.keys
        self.others += 1
        self.experiment_id = f"other{self.others}"
        self.axes, self.keys = {key: VALUES[key]}, {**self.keys, key: ADDED[key]}
        self.sweep()
        moved = list((self.experiment / "training").iterdir())
        self.experiment_id, self.axes, self.keys = kept
        for run in moved:
            target = self.experiment / "training" / f"{run.name}_moved{self.others}"
            run.rename(target)
            facts = json.loads((target / "run.json").read_text())
            (target / "run.json").write_text(json.dumps({**facts, "run_name": target.name}))

    @invariant()
    def all_readers_agree(self):
        if not hasattr(self, "folder"):
            return
        configs, swept = runs_of(self.experiment)
        self.check_rows(configs, swept)
        self.check_table(configs, swept)
        self.check_figures(configs, swept)
        self.check_status(configs)

    def check_rows(self, configs, swept):
        expected = {
            name: {key: config[key] for key in [*swept, "acc"] if key in config}
            for name, config in configs.items()
        }
        rows = {row["run_name"]: row for row in result_rows(self.experiment)}
        frame = results(self.experiment).set_index("run_name")
        with write_results_csv(self.experiment).open(newline="") as file:
            cells = {row["run_name"]: row for row in csv.DictReader(file)}
        assert rows.keys() == cells.keys() == expected.keys()
        for name, values in expected.items():
            for key in [*swept, "acc"]:
                assert rows[name][key] == values.get(key)
                assert cells[name][key] == str(values.get(key, ""))
                cell = frame.loc[name, key]
                is_missing = isinstance(cell, float) and math.isnan(cell)
                assert is_missing if key not in values else cell == values[key]

    def check_table(self, configs, swept):
        keys = [key for key in swept if key != "seed"]
        groups = groups_of(configs, keys)
        is_mixed = any(
            counted(config, swept) != counted(group[0], swept)
            for group in groups.values()
            for config in group
        )
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            table = results(self.experiment).table(group_by=keys, metrics="acc")
        assert [len(warned) > 0] == [is_mixed]
        labels = [label if isinstance(label, tuple) else (label,) for label in table.index]
        means = table["acc"].to_dict("records")
        shown = {tuple(map(str, label)): row for label, row in zip(labels, means, strict=True)}
        assert shown.keys() == groups.keys() if keys else len(shown) == 1
        for label, group in groups.items():
            row = shown[label if keys else ("all",)]
            assert row["mean"] == pytest.approx(sum(run["acc"] for run in group) / len(group))
            assert row["n"] == len(group)

    def check_figures(self, configs, swept):
        recipe, runs = PlotMetrics(self.experiment).metric_recipe("acc")
        assert set(recipe.group_by) == set(swept) - {"seed"}
        for run in runs:
            config = configs[run.name]
            assert run.settings == {key: config[key] for key in swept if key in config}
            assert run.metrics["acc"].values.tolist() == [config["acc"]]
        assert {run.name for run in runs} == configs.keys()

    def check_status(self, configs):
        with contextlib.redirect_stdout(io.StringIO()) as output:
            assert status([str(self.experiment), "--json"]) == 0
        rows = json.loads(output.getvalue())["runs"]
        assert {row["run_name"] for row in rows} == configs.keys()
        assert all(row["state"] == "completed" for row in rows)
        assert all(row["best"] == configs[row["run_name"]]["acc"] for row in rows)

    def teardown(self):
        if hasattr(self, "folder"):
            self.outside.__exit__(None, None, None)
            shutil.rmtree(self.folder)


GrowingGrid.TestCase.settings = settings(
    max_examples=4,
    stateful_step_count=7,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # each step sweeps: shrinking would take minutes
    suppress_health_check=list(HealthCheck),
)
TestGrowingGrid = GrowingGrid.TestCase
