"""What a sweep does, from the configuration to the runs."""

import gc
import json
import os

import pytest
import yaml
from hydra.core.utils import JobStatus
from omegaconf import DictConfig, OmegaConf

from expkit_hydra import Grid, GridError

# Composing a run takes Hydra 40 ms, so tests that need no more take this part of the grid.
ONE = ("model=cnn", "optimizer.lr=0.1", "seed=1")


def test_dry_run_counts_by_rule_and_writes_nothing(app):
    returns = app.sweep("expkit.dry_run=true")

    assert returns == []
    assert "8 in the grid, 2 skipped by rule 1, 6 to run" in app.log
    assert any(line.startswith("rule 1 skips 2: model.name == 'mlp'") for line in app.log)
    assert any(line.startswith("first run: mlp_sgd_0.001_1 ") for line in app.log)
    assert any(line.startswith("last run: cnn_sgd_0.001_2 ") for line in app.log)
    assert not app.experiment.exists()


def test_a_rule_that_never_fires_is_told_once_and_why_the_command_line_may_be_the_reason(app):
    app.sweep("expkit.dry_run=true", "model=mlp", "optimizer.lr=0.001")

    lines = [text for text in app.log if "rule 1" in text]
    assert lines == [
        "rule 1 (model.name == 'mlp' and optimizer.lr > 0.01) never fires in this grid. This "
        "command line narrows model to 1 of 2 values, optimizer.lr to 1 of 2 values: perhaps "
        "that is why."
    ]


def test_a_rule_that_never_fires_in_the_whole_grid_is_not_put_down_to_the_command_line(app):
    app.sweep("expkit.dry_run=true", "_filters=['optimizer.lr > 1']", "model=mlp", "seed=1")

    (line,) = [text for text in app.log if "rule 1" in text]
    assert line == "rule 1 (optimizer.lr > 1) never fires in this grid."


def test_a_grid_runs_each_run_once_and_the_same_command_runs_nothing(app):
    app.sweep()
    first = [cfg.run_name for cfg in app.seen]
    app.sweep()

    assert len(first) == 6
    assert [cfg.run_name for cfg in app.seen] == first
    assert any("6 completed, nothing to do" in line for line in app.log)


def test_a_deleted_run_is_the_only_one_that_runs_again(app):
    import shutil

    app.sweep()
    shutil.rmtree(app.experiment / "training" / "cnn_sgd_0.1_2")
    app.seen.clear()
    app.sweep()

    assert [cfg.run_name for cfg in app.seen] == ["cnn_sgd_0.1_2"]


def test_a_new_axis_value_trains_only_what_is_new(app):
    app.sweep("seed=1", "model=cnn")
    app.seen.clear()
    app.sweep("model=cnn")

    assert [cfg.seed for cfg in app.seen] == [2, 2]


def test_a_new_axis_does_not_retrain_what_its_default_value_was(app):
    app.write("conf/config.yaml", (app.folder / "conf/config.yaml").read_text() + "dropout: 0.0\n")
    app.sweep("model=cnn", "optimizer=sgd", "seed=1")
    app.seen.clear()

    app.sweep("model=cnn", "optimizer=sgd", "seed=1", "dropout=0.0,0.5")

    assert [cfg.run_name for cfg in app.seen] == ["cnn_sgd_0.1_1_0.5", "cnn_sgd_0.001_1_0.5"]


def test_one_failing_run_does_not_stop_the_others_and_the_sweep_fails(app):
    def fail_once(cfg: DictConfig) -> None:
        if cfg.run_name == "cnn_sgd_0.1_1":
            raise RuntimeError("no convergence")

    app.task = fail_once
    with pytest.raises(
        GridError, match=r"1 of 6 runs failed(.|\n)*cnn_sgd_0.1_1: RuntimeError: no conv"
    ):
        app.sweep()

    assert len(app.seen) == 6


def test_a_run_that_failed_three_times_is_given_up_until_asked_for(app):
    def fail(cfg: DictConfig) -> None:
        raise RuntimeError("no convergence")

    app.task = fail
    with pytest.raises(GridError):
        app.sweep(*ONE)
    record = app.experiment / "training/cnn_sgd_0.1_1/run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"attempt": 3}))

    with pytest.raises(GridError, match=r"1 of 1 run failed too often.*expkit\.rerun=failed"):
        app.sweep(*ONE)

    assert len(app.seen) == 1
    assert any("1 given up, 0 to run" in line for line in app.log)
    with pytest.raises(GridError):
        app.sweep(*ONE, "expkit.rerun=failed")
    assert len(app.seen) == 2


def test_rerun_all_trains_again_and_puts_the_old_runs_in_the_trash(app):
    app.sweep("seed=1", "model=cnn")
    app.sweep("seed=1", "model=cnn", "expkit.rerun=all")

    assert len(app.seen) == 4
    assert len([p for p in (app.experiment / ".trash").iterdir() if p.is_dir()]) == 2


def test_a_changed_configuration_stops_the_sweep_with_the_keys_that_differ(app):
    part = ("seed=1", "model=cnn")
    app.sweep(*part)
    app.seen.clear()
    app.edit("epochs: 2", "epochs: 3")

    with pytest.raises(GridError, match=r"epochs.*\(2 runs\)(.|\n)*on_change=keep") as raised:
        app.sweep(*part)
    assert "seed" not in str(raised.value)
    assert app.seen == []
    app.sweep(*part, "expkit.on_change=keep")
    assert app.seen == []
    app.sweep(*part, "expkit.on_change=rerun")
    assert [cfg.epochs for cfg in app.seen] == [3, 3]


def test_names_agree_between_configuration_folder_and_grid(app):
    app.sweep()

    grid = app.grid()
    for cfg, run in zip(app.seen, [r for r in grid.runs if r.skipped_by is None], strict=True):
        hydra = OmegaConf.load(run.folder / ".hydra" / "hydra.yaml").hydra
        assert cfg.run_name == run.run_name == run.folder.name
        assert list(hydra.overrides.task) == list(run.overrides)
        assert grid.config(run.index).run_name == run.run_name
        assert (run.folder / "run.json").is_file()


@pytest.mark.parametrize("sweeper", ["expkit", "basic"])
def test_a_name_that_the_projects_own_file_leaves_empty_is_made_of_the_swept_keys(app, sweeper):
    app.edit("experiment_id: digits", "experiment_id: digits\nrun_name: null")
    words = ("model=cnn", "optimizer=sgd", "optimizer.lr=0.1")
    app.sweep(f"hydra/sweeper={sweeper}", *words, "seed=1,2")
    app.run(*words, "seed=3")

    names = [f"cnn_sgd_0.1_{seed}" for seed in (1, 2, 3)]
    assert [cfg.run_name for cfg in app.seen] == names
    folders = (app.experiment / "training").glob("*/run.json")
    assert sorted(path.parent.name for path in folders) == names


def test_a_single_run_has_the_name_that_the_grid_gives_it(app):
    app.run("model=cnn", "optimizer=sgd", "optimizer.lr=0.001")
    app.sweep("model=cnn", "seed=1")

    assert app.names() == ["cnn_sgd_0.001_1", "cnn_sgd_0.1_1"]


@pytest.mark.parametrize("launcher", ["basic", "expkit"])
def test_single_run_grid_and_foreign_launcher_agree_on_hash_and_folder(app, launcher):
    app.sweep(f"hydra/launcher={launcher}", "seed=1,3", "model=cnn")

    records = {
        path.parent.name: json.loads(path.read_text())
        for path in (app.experiment / "training").glob("*/run.json")
    }
    runs = [run for run in app.grid().runs if run.skipped_by is None]
    assert {run.run_name: run.config_hash for run in runs} == {
        name: record["config_hash"] for name, record in records.items()
    }
    assert {record["state"] for record in records.values()} == {"completed"}
    app.seen.clear()
    app.sweep("seed=1,3", "model=cnn")
    assert app.seen == []


def test_rules_see_the_resolved_configuration(app):
    app.write(
        "conf/config.yaml",
        """
        defaults: [expkit, model: mlp, optimizer: adam, _self_]
        experiment_id: digits
        width: 8
        hidden: ${width}
        chosen: ${hydra:runtime.choices.model}
        missing: ???
        expkit: {after: []}
        _filters: ["hidden > 10", "chosen == 'cnn'"]
        """,
    )
    app.sweep("width=8,16", "model=mlp,cnn")

    assert [cfg.run_name for cfg in app.seen] == ["8_mlp"]


def test_the_grid_is_described_before_the_first_run_starts(app):
    described = []
    app.task = lambda cfg: described.append((app.experiment / "grid_search.yaml").is_file())

    app.sweep("seed=1", "model=cnn")

    assert described == [True, True]


def test_grid_search_yaml_says_what_the_grid_was(app):
    app.sweep()

    text = (app.experiment / "grid_search.yaml").read_text()
    said = yaml.safe_load(text)
    assert said["swept"] == {
        "model": ["mlp", "cnn"],
        "optimizer": ["sgd"],
        "optimizer.lr": [0.1, 0.001],
        "seed": [1, 2],
    }
    assert said["counts"] == {"product": 8, "duplicates": 0, "skipped by rule": 2, "to run": 6}
    assert said["filters"][0]["hits"] == 2
    assert said["filters"][0]["example"] == "mlp_sgd_0.1_1"
    assert said["config"]["run_name"] == "${expkit.name:}"
    assert said["experiment_id"] == "digits"
    assert str(app.folder) not in text


def test_the_same_grid_has_the_same_folder_which_is_never_rewritten(app):
    app.sweep("seed=1", "model=cnn")
    (folder,) = (app.experiment / "grids").iterdir()
    before = {path.name: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir()}
    app.sweep("seed=1", "model=cnn")

    assert list((app.experiment / "grids").iterdir()) == [folder]
    assert before == {p.name: (p.stat().st_ino, p.read_bytes()) for p in folder.iterdir()}
    app.sweep("seed=2", "model=cnn")
    assert len(list((app.experiment / "grids").iterdir())) == 2
    assert app.grid().path != folder


def test_a_grid_can_be_loaded_after_its_experiment_moved(app):
    app.sweep("seed=1", "model=cnn")
    app.experiment.rename(app.folder / "moved")

    grid = Grid.load(app.folder / "moved")

    assert grid.pending == []
    assert {run.folder.parent.parent for run in grid.runs} == {app.folder / "moved"}
    assert grid.config(1).model.name == "cnn"


@pytest.mark.parametrize(
    ("params", "arguments"),
    [
        ('s: ["${optimizer.lr}", 7]', ["s=${optimizer.lr},7"]),
        ('s: "${optimizer.lr},7"', ["s=${optimizer.lr},7"]),
        ('s: "${optimizer.lr}"', ["s=${optimizer.lr}"]),
        ('s: [[1, "${optimizer.lr}"], "a ${x}, b"]', ["s=[1,'${optimizer.lr}'],'a ${x}, b'"]),
        ('s: "${some}"', ["s=3,4"]),
        ('s: "range(1,${epochs})"', ["s=range(1,2)"]),
        ('s: "${as_text}"', ["s=3,4"]),
    ],
)
def test_params_and_the_command_line_sweep_the_same_values(app, params, arguments):
    app.write(
        "conf/config.yaml",
        f"""
        defaults: [expkit, optimizer: adam, _self_]
        experiment_id: digits
        s: 0
        x: ${{optimizer.lr}}
        epochs: 2
        some: [3, 4]
        as_text: 3,4
        expkit: {{after: []}}
        hydra: {{sweeper: {{params: {{optimizer.lr: [0.1, 0.001], {params}}}}}}}
        """,
    )
    app.sweep()
    declared = [(cfg.optimizer.lr, cfg.s, cfg.run_name) for cfg in app.seen]
    app.seen.clear()
    app.edit(f"params: {{optimizer.lr: [0.1, 0.001], {params}}}", "params: {}")

    app.sweep("optimizer.lr=0.1,0.001", *arguments, "results_dir=other")

    assert declared == [(cfg.optimizer.lr, cfg.s, cfg.run_name) for cfg in app.seen]


def test_params_may_be_a_reference_to_a_mapping(app):
    app.add("mine: {seed: [1, 2], optimizer.lr: [0.01]}")
    swept = "{model: [mlp, cnn], optimizer: [sgd], optimizer.lr: [0.1, 0.001], seed: [1, 2]}"
    app.edit(f"params: {swept}", "params: ${mine}")

    app.sweep()

    assert app.names() == ["1_0.01", "2_0.01"]


@pytest.mark.parametrize("start", [[], ["expkit.dry_run=true"]])
def test_a_key_that_nobody_gives_a_value_is_named_before_anything_starts(app, start):
    app.add("data: {root: '???', size: '???', name: '${data.size}'}")
    app.write("conf/model/cnn.yaml", "name: cnn\nwidth: ???\nhidden: 8\n")
    logged = []
    app.task = lambda cfg: logged.append(list(app.log))

    app.sweep("seed=1", "data.root=/data", *start)

    warnings = [line for line in (app.log if start else logged[0]) if "???" in line]
    assert warnings == [
        "data.size is ??? in every run (mlp_sgd_0.001_1, cnn_sgd_0.1_1, cnn_sgd_0.001_1): what "
        "reads it fails. Give it a value: data.size=…",
        "model.width is ??? in 2 runs (cnn_sgd_0.1_1, cnn_sgd_0.001_1): what reads it fails. Give "
        "it a value: model.width=…",
    ]


def test_a_missing_value_that_is_swept_or_of_no_run_to_start_is_not_named(app):
    app.add("a: ???")
    app.sweep("a=1,2", "seed=1")
    app.sweep("a=1,2", "seed=1")

    assert not any("???" in line for line in app.log)


def test_duplicates_collapse_and_blocks_are_united(app):
    app.write(
        "conf/config.yaml",
        """
        defaults: [expkit, model: mlp, optimizer: adam, _self_]
        experiment_id: digits
        seed: 1
        momentum: 0.0
        expkit: {after: []}
        hydra:
          sweeper:
            params:
              - {optimizer: [sgd], optimizer.lr: [0.1, 0.01], momentum: [0.0, 0.9]}
              - {optimizer: [adam, sgd], optimizer.lr: [0.1]}
        """,
    )
    app.sweep()

    assert [cfg.run_name for cfg in app.seen] == [
        "sgd_0.1_0.0",
        "sgd_0.1_0.9",
        "sgd_0.01_0.0",
        "sgd_0.01_0.9",
        "adam_0.1_0.0",
    ]
    assert "block 1: 4 runs, 0 of them repeated" in app.log
    assert "block 2: 2 runs, 1 of them repeated" in app.log
    assert app.grid().description["counts"] == {
        "product": 6,
        "duplicates": 1,
        "skipped by rule": 0,
        "to run": 5,
        "blocks": [{"product": 4, "duplicates": 0}, {"product": 2, "duplicates": 1}],
    }


def test_max_batch_size_hands_over_the_grid_in_parts(app):
    returns = app.sweep("hydra.sweeper.max_batch_size=3", "model=cnn")

    assert [len(batch) for batch in returns] == [3, 1]
    assert len(app.seen) == 4


def test_command_line_sweeps_win_over_params_and_keep_their_place_in_names(app):
    app.sweep("seed=7", "optimizer=sgd", "model=cnn")

    assert [cfg.run_name for cfg in app.seen] == ["cnn_sgd_0.1_7", "cnn_sgd_0.001_7"]


def test_returned_values_come_back(app):
    app.task = lambda cfg: cfg.seed * 10

    ((*returns,),) = app.sweep("model=cnn", "optimizer=sgd", "optimizer.lr=0.1")

    assert [result.return_value for result in returns] == [10, 20]
    assert {result.status for result in returns} == {JobStatus.COMPLETED}


def test_a_run_that_returns_nothing_has_its_best_metric_for_objective(app):
    from expkit_bookkeeping import Bookkeeping

    def train(cfg: DictConfig) -> None:
        with Bookkeeping.from_config(cfg) as run:
            for step, value in enumerate([0.1, 0.8, 0.5]):
                run.log_metrics({"accuracy": value}, step=step)

    app.task = train
    ((result,),) = app.sweep(*ONE, "expkit.metric=accuracy")

    assert result.return_value == 0.8


def test_the_objective_reaches_other_sweepers_too(app):
    from expkit_bookkeeping import Bookkeeping

    def train(cfg: DictConfig) -> None:
        with Bookkeeping.from_config(cfg) as run:
            run.log_metrics({"loss": 0.3}, step=0)

    app.task = train
    app.write(
        "conf/config.yaml",
        """
        defaults: [expkit, _self_]
        experiment_id: digits
        seed: 1
        expkit: {after: [], metric: loss, direction: minimize}
        """,
    )
    ((one, two),) = app.sweep("hydra/sweeper=basic", "seed=1,2")

    assert (one.return_value, two.return_value) == (0.3, 0.3)
    assert sorted(path.parent.name for path in app.experiment.glob("training/*/run.json")) == [
        "1",
        "2",
    ]


def test_a_run_that_a_rule_skips_may_share_its_name_with_one_that_is_run(app):
    app.sweep("run_name=x", "optimizer.lr=0.1", "seed=1")  # the rule skips mlp

    assert app.names() == ["x"]


def test_a_template_names_the_runs(app):
    app.sweep("run_name=${model.name}-lr${optimizer.lr}-${seed}", "seed=1", "model=cnn")

    assert app.names() == ["cnn-lr0.1-1", "cnn-lr0.001-1"]


def test_two_runs_with_one_name_are_refused_before_the_first_starts(app):
    with pytest.raises(
        GridError, match=r"named 'cnn_1'.*optimizer.lr.*run_name: \$\{model.name\}_\$\{seed\}"
    ):
        app.sweep("run_name=${model.name}_${seed}")

    assert app.seen == []
    assert not app.experiment.exists()


def test_an_experiment_without_an_id_is_called_as_the_script(app):
    config = app.folder / "conf/config.yaml"
    config.write_text(
        config.read_text()
        .replace("    experiment_id: digits\n", "")
        .replace("experiment_id: digits\n", "")
    )
    app.sweep("model=cnn", "optimizer=sgd", "seed=1")

    assert (app.folder / "results/train/training/cnn_sgd_0.1_1/run.json").is_file()


def test_a_swept_key_counts_even_where_the_ignore_list_has_it(app):
    config = app.folder / "conf/config.yaml"
    config.write_text(config.read_text() + "device: cpu\n")

    app.sweep("device=cpu,cuda", *ONE)

    assert [cfg.run_name for cfg in app.seen] == ["cnn_sgd_0.1_1_cpu", "cnn_sgd_0.1_1_cuda"]


@pytest.mark.parametrize(
    ("own", "argument"),
    [
        ("num_workers: {train: 1, val: 1}", "num_workers.train=0,4"),
        ("device: {a: 1}", "device.a=1,2"),
    ],
)
def test_a_key_below_an_ignored_one_counts_where_it_is_swept(app, own, argument):
    app.add(f"{own}\n")
    app.sweep("model=cnn", "optimizer.lr=0.1", "seed=1", argument)

    assert len(app.seen) == 2


def test_runs_that_a_swept_group_makes_differ_in_ignored_keys_alone_are_not_dropped(app):
    app.edit("model: mlp,", "model: mlp, hardware: cpu,")
    for name in ("cpu", "gpu"):
        app.write(f"conf/hardware/{name}.yaml", f"# @package _global_\ndevice: {name}\n")
    given = ["model=cnn", "optimizer.lr=0.1", "seed=1", "hardware=cpu,gpu"]

    with pytest.raises(GridError, match=r"only in device \(cpu and gpu\).*ignore=\[num_workers\]"):
        app.sweep(*given)
    assert app.seen == []
    app.sweep(*given, "expkit.ignore=[num_workers]")
    assert [cfg.device for cfg in app.seen] == ["cpu", "gpu"]


def test_the_environment_in_an_override_leaves_a_run_the_same_run(app, monkeypatch):
    given = ["model=cnn", "optimizer.lr=0.1", "seed=1,2", "data='${oc.env:DATA_PLACE}'"]
    app.add("data: here\n")
    monkeypatch.setenv("DATA_PLACE", "/a")
    app.sweep(*given)
    monkeypatch.setenv("DATA_PLACE", "/b")
    app.sweep(*given)

    assert len(app.seen) == 2


def test_what_hydra_copies_from_the_environment_is_that_of_the_run(app, monkeypatch):
    monkeypatch.setenv("FIRST_PLACE", "/a")
    monkeypatch.setenv("SECOND_PLACE", "/b")
    app.edit("hydra:\n", "hydra:\n  job: {env_copy: ['${place}']}\n")
    app.add("place: FIRST_PLACE\n")
    app.sweep("model=cnn", "optimizer.lr=0.1", "seed=1", "place=FIRST_PLACE,SECOND_PLACE")

    copied = [dict(app.grid().config(index).hydra.job.env_set) for index in range(2)]
    assert copied == [{"FIRST_PLACE": "/a"}, {"SECOND_PLACE": "/b"}]


def test_a_swept_reference_to_nothing_is_for_the_run_to_say(app):
    app.add("need: ???\n")
    app.task = lambda cfg: cfg.seed
    with pytest.raises(GridError, match="1 of 2 runs failed"):
        app.sweep("model=cnn", "optimizer.lr=0.1", "seed='${need}',2")

    assert len(app.seen) == 2


def test_ignored_keys_do_not_retrain(app):
    config = app.folder / "conf/config.yaml"
    config.write_text(config.read_text() + "device: cpu\nloader: {num_workers: 1, prefetch: 2}\n")
    ignore = "expkit.ignore=[device,loader.num_workers]"
    app.sweep(*ONE, ignore)
    app.seen.clear()

    app.sweep(*ONE, ignore, "device=cuda", "loader.num_workers=8")

    assert app.seen == []


@pytest.mark.parametrize("mode", ["grid", "single run"])
@pytest.mark.parametrize(
    "defaults",
    [
        ["_self_", "model: mlp", "optimizer: adam", "expkit"],
        ["_self_", "expkit", "model: mlp", "optimizer: adam"],
        ["_self_", "model: mlp", "optimizer: adam", "experiment: null", "expkit"],
        ["model: mlp", "_self_", "optimizer: adam", "experiment: null", "expkit"],
    ],
)
def test_the_advice_about_self_changes_nothing_of_the_users_own(app, defaults, mode):
    def start():
        app.log.clear()
        if mode == "single run":
            app.run(*overrides)
        else:
            app.sweep("optimizer.lr=0.5", "seed=12345", *overrides)
        config = OmegaConf.to_container(app.seen[-1])
        own = {key: config[key] for key in ("model", "optimizer", "seed", "epochs")}
        return own, config["experiment_id"], [line for line in app.log if "_self_" in line]

    app.add("model: {name: mine}\noptimizer: {name: mine}\n")
    app.write("conf/experiment/long.yaml", "# @package _global_\nseed: 12345\nepochs: 9\n")
    overrides = ["+experiment=long" if "experiment: null" not in defaults else "experiment=long"]
    usual = "expkit, model: mlp, optimizer: adam, _self_"
    app.edit(usual, ", ".join(defaults))
    own, experiment_id, (warning,) = start()

    assert "Put expkit before _self_, and leave the rest as it is" in warning
    rest = [entry for entry in defaults if entry != "expkit"]
    rest.insert(rest.index("_self_"), "expkit")
    app.edit(", ".join(defaults), ", ".join(rest))

    assert experiment_id == "train"
    assert start() == (own, "digits", [])


def test_runs_of_older_code_are_told_apart_and_not_retrained(app):
    app.sweep("model=cnn", "seed=1")
    record = app.experiment / "training/cnn_sgd_0.1_1/run.json"
    data = json.loads(record.read_text())
    data["code"] = {"sources": {"models.py": "0" * 64}}
    record.write_text(json.dumps(data))
    app.seen.clear()

    app.sweep("model=cnn", "seed=1")

    assert app.seen == []
    assert (
        "2 completed, skipped: 1 with this code, 1 with older code (models.py changed)" in app.log
    )
    app.sweep("model=cnn", "seed=1", "expkit.rerun=changed")
    assert app.names() == ["cnn_sgd_0.1_1"]


def test_the_usual_order_is_not_warned_about(app):
    app.sweep("expkit.dry_run=true", *ONE)

    assert not any("_self_" in line for line in app.log)


def test_what_comes_after_a_grid_comes_once_however_many_batches_there_are(app, monkeypatch):
    from expkit_hydra import _launcher

    ends = []
    monkeypatch.setattr(_launcher, "finish_grid", lambda *_, **__: ends.append(len(app.seen)))

    app.sweep("hydra.sweeper.max_batch_size=1", "model=cnn", "optimizer.lr=0.1")

    assert ends == [2]


def test_a_run_that_another_sweep_completes_under_another_name_is_not_trained_again(app):
    """The other grid sweeps an axis more, so its names are longer."""
    from expkit_bookkeeping import find_runs
    from expkit_bookkeeping.launching import claim_run

    def train(cfg: DictConfig) -> None:
        if cfg.seed == 1:  # meanwhile, elsewhere
            run = next(run for run in app.grid().runs if run.values["seed"] == 2)
            folder = app.experiment / "training" / "cnn_sgd_0.1_2_0.0"
            claim_run(folder, config_hash=run.config_hash).finish("completed")

    app.task = train
    app.sweep("model=cnn", "optimizer.lr=0.1")

    assert app.names() == ["cnn_sgd_0.1_1"]
    assert {record.run_name for record in find_runs(app.experiment)} == {
        "cnn_sgd_0.1_1",
        "cnn_sgd_0.1_2_0.0",
    }


def test_a_run_does_not_read_what_was_done_before_its_grid_was_made(app, monkeypatch):
    import expkit_bookkeeping

    read, read_run = [], expkit_bookkeeping.read_run

    def record_read(folder):
        read.append(folder.name)
        return read_run(folder)

    app.sweep("model=mlp", "optimizer.lr=0.001")
    monkeypatch.setattr(expkit_bookkeeping, "read_run", record_read)
    again = ("model=cnn", "optimizer.lr=0.1", "expkit.rerun=all")
    app.sweep(*again)
    assert "mlp_sgd_0.001_1" in read  # it might have been completed while the sweep looked

    read.clear()
    description = app.grid().path / "grid_search.yaml"
    hours_later = description.stat().st_mtime + 2 * 3600
    os.utime(description, (hours_later, hours_later))
    app.sweep(*again)
    assert set(read) == {"cnn_sgd_0.1_1", "cnn_sgd_0.1_2"}


def test_a_folder_that_another_configuration_takes_meanwhile_is_left_alone(app):
    from expkit_bookkeeping import read_run
    from expkit_bookkeeping.launching import claim_run

    folder = app.experiment / "training" / "cnn_sgd_0.1_2"

    def train(cfg: DictConfig) -> None:
        if cfg.seed == 1:  # meanwhile, elsewhere
            claim_run(folder, config_hash="0" * 64).finish("failed")

    app.task = train
    app.sweep("model=cnn", "optimizer.lr=0.1")

    assert app.names() == ["cnn_sgd_0.1_1"]
    assert read_run(folder).config_hash == "0" * 64


def test_two_sweeps_that_train_all_again_divide_the_runs(app):
    """In batches, too: what the sweep knew when it decided counts, not when its batch starts."""
    from expkit_bookkeeping import read_run
    from expkit_bookkeeping.launching import claim_run, move_to_trash

    app.sweep("model=cnn", "optimizer.lr=0.1")
    folder = app.experiment / "training" / "cnn_sgd_0.1_2"
    app.seen.clear()

    def train(cfg: DictConfig) -> None:
        if cfg.seed == 1:  # meanwhile, elsewhere
            config_hash = read_run(folder).config_hash
            move_to_trash(folder, reason="rerun")
            claim_run(folder, config_hash=config_hash).finish("completed")

    app.task = train
    app.sweep("model=cnn", "optimizer.lr=0.1", "expkit.rerun=all", "hydra.sweeper.max_batch_size=1")

    assert app.names() == ["cnn_sgd_0.1_1"]
    assert len(list((app.experiment / ".trash").glob("cnn_sgd_0.1_2.*"))) == 1


def test_the_collector_of_cycles_works_in_the_users_function_whose_choice_stands(app):
    working = []

    def train(cfg: DictConfig) -> None:
        working.append(gc.isenabled())
        gc.disable()

    app.task = train
    try:
        app.sweep("model=cnn", "optimizer.lr=0.1")
        assert working == [True, False]
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_error_behind_bookkeepings_block_fails_the_run_so_that_it_is_tried_again(app):
    from expkit_bookkeeping import Bookkeeping, read_run

    def train(cfg: DictConfig) -> None:
        with Bookkeeping.from_config(cfg):
            pass
        raise ValueError("no room for the figure")

    app.task = train
    with pytest.raises(GridError, match="no room for the figure"):
        app.sweep(*ONE)

    assert read_run(app.experiment / "training" / "cnn_sgd_0.1_1").state == "failed"
    app.task = lambda cfg: None
    app.sweep(*ONE)
    assert len(app.seen) == 2


@pytest.mark.parametrize(
    "rules",
    [
        "[{exists: results/done.txt}]",
        "[{completed: true}]",
        "[{exists: results/done.txt}, 'seed == 2']",
    ],
)
def test_a_grid_stays_the_same_while_rules_about_what_is_done_begin_to_hold(app, rules):
    app.edit("[\"model.name == 'mlp' and optimizer.lr > 0.01\"]", rules)

    def train(cfg: DictConfig) -> None:
        results = app.experiment / "training" / cfg.run_name / "results"
        results.mkdir()
        (results / "done.txt").touch()

    app.task = train
    app.sweep("model=cnn", "optimizer.lr=0.1")
    first, trained = app.grid(), len(app.seen)
    app.sweep("model=cnn", "optimizer.lr=0.1")

    assert len(app.seen) == trained
    assert [path.name for path in (app.experiment / "grids").iterdir()] == [first.grid_id]
    # A folder that a rule of both kinds holds for is ruled out as before.
    (app.experiment / "training" / "cnn_sgd_0.1_2" / "results").mkdir(parents=True, exist_ok=True)
    (app.experiment / "training" / "cnn_sgd_0.1_2" / "results" / "done.txt").touch()
    app.sweep("model=cnn", "optimizer.lr=0.1")
    assert app.grid().grid_id == first.grid_id


@pytest.mark.parametrize("launcher", ["basic", "expkit"])
def test_an_unknown_command_after_the_grid_is_refused_before_it(app, launcher):
    with pytest.raises(GridError, match=r"expkit.after='snyc' is not known. Did you mean 'sync'"):
        app.sweep(f"hydra/launcher={launcher}", "expkit.after=[snyc]", *ONE)

    assert app.seen == []
    assert not app.experiment.exists()


def test_ctrl_c_while_the_grid_is_composed_is_one_sentence(app):
    def interrupt() -> None:
        raise KeyboardInterrupt

    OmegaConf.register_new_resolver("interrupt", interrupt, replace=True)
    app.add("slow: ${interrupt:}")
    with pytest.raises(SystemExit) as stop:
        app.sweep()

    assert stop.value.code == 130
    OmegaConf.clear_resolver("interrupt")
    assert "Interrupted while the grid was made. Nothing has been started." in app.log
    assert not app.experiment.exists()


def test_a_grid_says_that_fresh_is_not_for_it(app):
    app.sweep("expkit.fresh=true", "expkit.dry_run=true", *ONE)

    assert any("expkit.rerun=all" in line for line in app.log)


def test_a_folder_above_the_working_directory_is_one_folder_for_hydra_and_for_us(app):
    from expkit_bookkeeping import find_runs

    app.sweep("results_dir=../elsewhere", *ONE)

    (record,) = find_runs(app.folder.parent / "elsewhere" / "digits")
    assert (record.state, record.attempt) == ("completed", 1)


def test_rules_under_a_misspelt_key_do_not_pass_in_silence(app):
    app.edit("_filters:", "_filter:")

    app.sweep(*ONE)

    assert any("No run is skipped by rule: _filters is empty" in line for line in app.log)


def test_a_key_of_the_users_own_is_not_taken_for_rules(app):
    app.edit("_filters:", "filters: [32, 64]\nother:")

    app.sweep(*ONE)

    assert not any("skipped by rule: _filters" in line for line in app.log)


@pytest.mark.parametrize("bad", ["..", ".hidden", "a/b", "null"])
def test_an_experiment_that_is_no_folder_of_results_is_refused(app, bad):
    with pytest.raises(GridError, match="experiment_id is the name of one folder"):
        app.sweep(*ONE, f"experiment_id={bad}")

    assert app.seen == []


def test_after_the_last_attempt_nobody_is_sent_to_the_same_command(app):
    def fail(cfg: DictConfig) -> None:
        raise RuntimeError("no convergence")

    app.task = fail

    with pytest.raises(GridError, match="1 of 1 run failed; the same command tries again"):
        app.sweep(*ONE)
    with pytest.raises(GridError, match=r"attempts is reached, expkit\.rerun=failed tries"):
        app.sweep("model=mlp", "seed=1", "optimizer.lr=0.001", "expkit.attempts=1")


def test_hydra_composes_once_for_each_choice_of_groups_and_says_so(app, caplog):
    with caplog.at_level("DEBUG", logger="expkit_hydra"):
        app.sweep("_filters=[]", "seed=range(20)", "expkit.dry_run=true")

    # mlp and cnn with sgd; 80 runs.
    assert "Hydra composed 2 configurations for the 80 runs, 0 of them for one run alone" in (
        caplog.text
    )


def test_overrides_whose_order_matters_are_left_to_hydra(app, caplog):
    with caplog.at_level("DEBUG", logger="expkit_hydra"):
        app.sweep(
            "_filters=[]", "model=cnn", "seed=1", "optimizer={lr:0.5}", "optimizer.lr=0.1,0.2"
        )

    assert "2 of them for one run alone" in caplog.text
    assert [cfg.optimizer.lr for cfg in app.seen] == [0.1, 0.2]


def test_a_rule_reads_what_overrides_make_of_each_other(app):
    app.edit("optimizer: [sgd], ", "")  # so that the last one below comes last
    app.sweep(
        "_filters=['optimizer.lr == 0.5']",
        *("model=cnn", "seed=1,2", "optimizer.lr=0.5", "+optimizer={lr:0.1}"),
    )

    assert [cfg.optimizer.lr for cfg in app.seen] == [0.1, 0.1]


def test_a_grid_that_is_loaded_knows_the_earlier_runs_of_what_it_has_to_do(app):
    def fail(cfg):
        if cfg.seed == 1:
            raise ValueError

    app.task = fail
    with pytest.raises(GridError, match="1 of 2 runs failed"):
        app.sweep("seed=1,2", "model=cnn", "optimizer=sgd", "optimizer.lr=0.1")
    grid = app.grid()

    (run,) = grid.pending
    ((_, attempt, state),) = grid.known[run.index]
    assert (attempt, state) == (1, "failed")


def test_with_versions_that_were_not_tested_hydra_composes_every_run_and_the_grid_is_the_same(
    app, monkeypatch
):
    app.sweep()
    grid = app.grid()
    monkeypatch.setattr("expkit_hydra._composing.internals._TESTED", frozenset())

    app.sweep("expkit.rerun=all")

    assert _hashes(app.grid()) == _hashes(grid)
    assert len(app.seen) == 2 * 6
    for first, again in zip(app.seen[:6], app.seen[6:], strict=True):
        del first.expkit, again.expkit  # expkit.rerun
        assert OmegaConf.to_container(first) == OmegaConf.to_container(again)


def _hashes(grid):
    return {run.run_name: run.config_hash for run in grid.runs if run.skipped_by is None}
