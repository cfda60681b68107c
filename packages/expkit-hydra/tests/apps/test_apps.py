"""Hydra apps of other shapes: where configuration lives, and what else may be selected."""

import sys
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from expkit_bookkeeping import Bookkeeping
from expkit_hydra import GridError


def test_expkit_brings_keys_sweeper_launcher_and_folders(app):
    config = app.compose()

    assert config.hydra.runtime.choices["hydra/sweeper"] == "expkit"
    assert config.hydra.runtime.choices["hydra/launcher"] == "expkit"
    assert config.results_dir == "results"
    assert config.expkit.attempts == 3
    assert config.mlflow.mode == "auto"
    assert "plotting" not in config.hydra.runtime.choices


def test_the_user_may_choose_another_launcher_in_the_primary_configuration(app):
    app.edit(
        "defaults: [expkit, model: mlp, optimizer: adam, _self_]",
        "defaults: [expkit, model: mlp, optimizer: adam, _self_, override hydra/launcher: basic]",
    )

    assert app.compose().hydra.runtime.choices["hydra/launcher"] == "basic"


def test_an_app_with_its_configuration_beside_the_script(app):
    app.config_path = "."
    app.write("config.yaml", "defaults: [expkit, _self_]\nexperiment_id: digits\nseed: 1\n")

    app.sweep("seed=1,2")

    assert app.names() == ["1", "2"]


def test_an_app_without_a_configuration_directory(app):
    app.config_path = None
    app.config_dir = app.folder / "conf"

    app.sweep("seed=1", "model=cnn")

    assert len(app.seen) == 2


@pytest.mark.parametrize("place", ["main", "--config-dir"])
def test_a_users_own_expkit_yaml_wins(app, place):
    text = (
        "# @package _global_\n"
        "results_dir: mine\nexperiment_id: own\nrun_name: ${expkit.name:}\n_filters: []\n"
        "expkit: {dry_run: true}\n"
    )
    if place == "main":
        app.write("conf/expkit.yaml", text)
    else:
        app.write("elsewhere/expkit.yaml", text)
        app.config_dir = app.folder / "elsewhere"

    assert app.compose().results_dir == "mine"


def test_keys_of_the_user_win_over_expkits(app):
    app.edit("expkit: {after: []}", "expkit: {after: [], metric: accuracy, attempts: 5}")

    assert app.compose().expkit.metric == "accuracy"
    assert app.compose().expkit.attempts == 5
    assert app.compose().expkit.direction == "maximize"


@pytest.mark.parametrize("logging", ["disabled", "none", "stdout", "default", "expkit"])
def test_any_job_logging_works(app, logging):
    app.sweep(f"hydra/job_logging={logging}", "model=cnn", "optimizer.lr=0.1", "seed=1")

    assert len(app.seen) == 1


def test_jobs_log_to_training_log(app):
    import logging

    app.task = lambda cfg: logging.getLogger("user").warning("hello from %s", cfg.run_name)
    app.sweep("model=cnn", "optimizer.lr=0.1", "seed=1")

    text = (app.experiment / "training/cnn_sgd_0.1_1/training.log").read_text()
    assert "hello from cnn_sgd_0.1_1" in text


@pytest.mark.parametrize("launcher", ["basic", "expkit"])
def test_without_expkit_in_the_defaults_list_it_sweeps_as_hydra_does(app, launcher):
    app.write("conf/config.yaml", "defaults: [model: mlp, optimizer: adam, _self_]\nseed: 1\n")
    app.task = lambda cfg: cfg.seed

    returns = app.sweep(
        "hydra/sweeper=expkit",
        f"hydra/launcher={launcher}",
        "hydra.sweep.dir=out",
        "seed=1,1",
        "model=mlp,cnn",
    )

    assert [cfg.model.name for cfg in app.seen] == ["mlp", "cnn", "mlp", "cnn"]
    assert [result.return_value for result in returns[0]] == [1, 1, 1, 1]
    assert (app.folder / "out" / "multirun.yaml").is_file()
    assert (app.folder / "out" / "3" / ".hydra" / "config.yaml").is_file()
    assert "run_name" not in app.seen[0]


def test_without_expkit_params_are_swept_too(app):
    app.write(
        "conf/config.yaml",
        """
        defaults: [_self_, override hydra/sweeper: expkit]
        base: 3
        width: 1
        hydra: {sweep: {dir: out}, sweeper: {params: {width: ["${base}", 4], base: 3}}}
        """,
    )
    app.sweep()

    assert [cfg.width for cfg in app.seen] == [3, 4]


@pytest.mark.parametrize("where", ["grid", "basic", "single run"])
def test_numbers_and_overrides_of_jobs_are_as_without_expkit(app, where):
    def facts(config):
        hydra = HydraConfig.get()
        folder = Path(hydra.runtime.output_dir, ".hydra")
        return [
            *([hydra.job.num, hydra.job.id] if where != "single run" else []),
            hydra.job.override_dirname,
            hydra.job.name,
            list(hydra.overrides.task),
            [text for text in hydra.overrides.hydra if "launcher" not in text],
            OmegaConf.load(folder / "overrides.yaml"),
            OmegaConf.load(folder / "hydra.yaml").hydra.overrides.task,
        ]

    def jobs(*overrides):
        if where == "single run":
            return [app.run("model=cnn", "run_name=mine", "+note=a b", *overrides).return_value]
        (batch,) = app.sweep("seed=1,2", "model=cnn", "run_name='a_${seed}'", *overrides)
        return [result.return_value for result in batch]

    app.task = facts
    app.edit("params: {", "params: {+extra: 1, ")
    app.edit(
        "hydra:\n",
        "hydra:\n  job: {config: {override_dirname: {exclude_keys: [model]}}}\n"
        "  sweep: {subdir: '${hydra.job.num}'}\n",
    )
    app.edit("model: [mlp, cnn], optimizer: [sgd], optimizer.lr: [0.1, 0.001], seed: [1, 2]", "")
    app.edit("experiment_id: digits", "experiment_id: ${hydra:job.name}")  # decided by the sweep
    ours = jobs("hydra/launcher=basic") if where == "basic" else jobs()
    app.edit("defaults: [expkit, ", "run_name: mine\ndefaults: [override hydra/sweeper: basic, ")
    app.edit(
        "defaults: [override hydra/sweeper: basic, model: mlp, optimizer: adam, _self_]",
        "defaults: [model: mlp, optimizer: adam, _self_, override hydra/sweeper: basic]",
    )

    assert ours == jobs()


@pytest.mark.parametrize("composed_with_hydra", [True, False])
def test_a_configuration_that_a_notebook_composes_resolves_and_starts_a_run(
    app, monkeypatch, composed_with_hydra
):
    from hydra import compose, initialize_config_dir

    app.edit("experiment_id: digits\n", "")
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", str(app.folder / "look at.py"), raising=False)
    with initialize_config_dir(str(app.folder / "conf"), version_base="1.3", job_name="look-at"):
        one, other, again = [
            compose("config", overrides=[text], return_hydra_config=composed_with_hydra)
            for text in ("seed=2", "seed=3", "seed=2")
        ]

    for config in (one, other, again):
        HydraConfig.instance().cfg = None
        for key in set(config) - {"hydra"}:  # whose references have no values outside a job
            OmegaConf.select(config, key)
        assert config.experiment_id == "look-at"
    with Bookkeeping.from_config(one, console=False) as run:
        run.log_metrics({"loss": 1.0}, step=0)
    assert run.folder == app.folder / "results/look-at/training" / one.run_name
    assert one.run_name == again.run_name != other.run_name


def test_a_name_that_is_given_in_a_notebook_stays(app):
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(app.folder / "conf"), version_base="1.3"):
        assert compose("config", overrides=["run_name=test"]).run_name == "test"


def test_without_expkit_rules_still_skip(app):
    app.write(
        "conf/config.yaml", "defaults: [model: mlp, _self_]\nseed: 1\n_filters: ['seed == 2']\n"
    )

    app.sweep("hydra/sweeper=expkit", "hydra.sweep.dir=out", "seed=1,2,3")

    assert [cfg.seed for cfg in app.seen] == [1, 3]


def test_without_expkit_a_failing_job_raises_its_own_error(app):
    app.write("conf/config.yaml", "defaults: [model: mlp, _self_]\nseed: 1\n")

    def fail(cfg):
        raise ZeroDivisionError(cfg.seed)

    app.task = fail
    with pytest.raises(ZeroDivisionError):
        app.sweep("hydra/sweeper=expkit", "hydra.sweep.dir=out", "seed=1,2")
    assert len(app.seen) == 2


def test_glob_sweeps_the_options_of_a_group(app):
    app.sweep("model=glob(*)", "optimizer=glob(*,exclude=ad*)", "optimizer.lr=0.001", "seed=1")

    assert app.names() == ["cnn_sgd_0.001_1", "mlp_sgd_0.001_1"]


def test_an_experiment_named_by_the_hour_is_one_folder_for_all_its_runs(app):
    app.edit("experiment_id: digits", "experiment_id: digits_${now:%f}")
    app.sweep("model=cnn", "seed=1")

    (folder,) = (app.folder / "results").iterdir()
    assert {cfg.experiment_id for cfg in app.seen} == {folder.name}


def test_a_working_directory_of_its_own_does_not_move_the_run(app):
    from expkit_bookkeeping import Bookkeeping

    def train(cfg):
        with Bookkeeping.from_config(cfg) as run:
            run.save_results({"x": 1}, "x.yaml")

    app.task = train
    app.sweep("hydra.job.chdir=true", "model=cnn", "optimizer=sgd", "optimizer.lr=0.1", "seed=1")

    assert (app.experiment / "training/cnn_sgd_0.1_1/results/x.yaml").is_file()


def test_null_and_lists_as_values_reach_the_runs(app):
    app.add("dropout: 0.5\nlayers: [1]\n")
    app.sweep("model=cnn", "optimizer=sgd", "seed=1", "optimizer.lr=0.1", "dropout=null,0.1",
              "layers=[64,32],[]")  # fmt: skip

    assert app.names() == [
        "cnn_sgd_0.1_1_None_64-32",
        "cnn_sgd_0.1_1_None_",
        "cnn_sgd_0.1_1_0.1_64-32",
        "cnn_sgd_0.1_1_0.1_",
    ]
    assert OmegaConf.to_container(app.seen[0].layers) == [64, 32]
    assert app.seen[0].dropout is None


def test_a_key_that_only_some_runs_have_is_left_out_in_the_others(app):
    app.write("conf/optimizer/adam.yaml", "name: adam\nlr: 0.1\nbeta: 0.9\n")
    app.write(
        "conf/config.yaml",
        """
        defaults: [expkit, optimizer: adam, _self_]
        experiment_id: digits
        expkit: {after: []}
        hydra:
          sweeper:
            params:
              - {optimizer: [sgd]}
              - {optimizer: [adam], optimizer.beta: [0.8, 0.9]}
        """,
    )
    app.sweep()

    assert app.names() == ["sgd_None", "adam_0.8", "adam_0.9"]
    assert app.grid().runs[0].values == {"optimizer": "sgd"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["experiment_id=a,b"], "experiment_id cannot be swept"),
        (["results_dir=a,b"], "results_dir cannot be swept"),
        (["run_name=a,b"], "run_name cannot be swept"),
        (["expkit.metric=a,b"], "expkit.metric cannot be swept"),
        (["experiment_id='a/b'"], "experiment_id is the name of one folder"),
        (["experiment_id=..", "seed=1"], "experiment_id is the name of one folder"),
        (["results_dir=null"], "results_dir is the folder of all experiments, got 'None'"),
        (["hydra.sweep.dir=out"], "hydra.sweep.dir=out: .* Leave this out; results_dir="),
        (
            ["hydra.sweep.subdir='${hydra.job.num}'", "hydra.sweep.dir=y"],
            r"hydra.sweep.subdir='\$\{hydra.job.num\}' and hydra.sweep.dir=y: the runs of a",
        ),
        (
            ["results_dir=/proc/none"],
            r"cannot be written into /proc/none/digits(.|\n)*results_dir=",
        ),
        (
            ["run_name=x", "model=mlp,cnn", "seed=1", "_filters=[]"],
            r"e.g. run_name: x_\$\{hydra:runtime.choices.model\}",
        ),
        (["experiment_id=x_${seed}"], r"several experiment folders \(results/x_1, results/x_2\)"),
        (["run_name=${hydra:job.num}"], "run_name: .* uses the job's number"),
        (["run_name=${modle.name}"], "run_name cannot be made(.|\n)*modle"),
        (["hydra.sweeper.max_batch_size=0"], "max_batch_size is a number of runs from 1, got 0"),
        (["expkit.rerun=al"], "(?i)rerun.*'al'(.|\n)*all"),
        (["expkit.attempts=0"], "attempts is a whole number from 1"),
        (["expkit.on_change=overwrite"], "on_change"),
        (["expkit.ignore=device"], "expkit.ignore is a list of keys, got 'device'"),
        (["_filters='seed == 1'"], "_filters is a list of rules"),
        (["_filters=['sead == 1']"], "'sead'(.|\n)*seed"),
        (["_filters=['True']"], "0 of 2 runs are left"),
        (["model=mlp,resnet"], "Run 0 of the grid|Could not find 'model/resnet'"),
        (
            ["no_such_key=1,2"],
            r"Run 0 of the grid \(model=cnn .*no_such_key=1\) cannot be composed",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(app, overrides, message):
    from hydra.errors import CompactHydraException

    is_given = any(override.startswith("model=") for override in overrides)
    one_model = [] if is_given else ["model=cnn"]

    with pytest.raises(CompactHydraException, match=message):
        app.sweep(*one_model, "optimizer.lr=0.1", *overrides)

    assert app.seen == []
    assert not (app.folder / "results").exists()


def test_params_that_are_no_grid_are_refused(app):
    app.edit("seed: [1, 2]}", "seed: []}")

    with pytest.raises(GridError, match=r"hydra.sweeper.params.seed is an empty list"):
        app.sweep()
