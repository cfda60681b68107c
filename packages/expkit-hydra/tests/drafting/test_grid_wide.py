"""Settings that hold for a whole grid, in a file that the grid sweeps."""

import re

import pytest

from expkit_hydra import GridError

RUNS = ("model=cnn", "optimizer.lr=0.1", "seed=1")


@pytest.fixture
def swept(app):
    """Sweep an experiment file with these lines, beside one with none of them."""
    app.write("conf/experiment/plain.yaml", "# @package _global_\nepochs: 3\n")

    def sweep(lines: str, *overrides: str) -> list[str]:
        app.write("conf/experiment/own.yaml", f"# @package _global_\n{lines}\n")
        app.log.clear()
        app.sweep(*RUNS, "+experiment=plain,own", *overrides)
        return [line for line in app.log if "but a grid reads that once" in line]

    return sweep


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("defaults: [{override /hydra/launcher: basic}]", "hydra/launcher to basic.* stays expkit"),
        ("defaults: [{override /hydra/sweeper: basic}]", "hydra/sweeper to basic.* stays expkit"),
        ("hydra: {sweeper: {params: {epochs: [1, 2]}}}", r"hydra.sweeper.params to .*epochs"),
        ("_filters: ['epochs == 3']", r"_filters to \['epochs == 3'\].* stays \["),
        ("expkit: {rerun: all}", "expkit.rerun to all.* stays missing"),
        ("expkit: {dry_run: true}", "expkit.dry_run to True.* stays False"),
    ],
)
def test_what_would_train_elsewhere_or_otherwise_than_asked_is_refused(app, swept, lines, text):
    with pytest.raises(GridError, match=rf"^\+experiment=own sets {text}") as caught:
        swept(lines)

    assert "before it sweeps experiment" in str(caught.value)
    assert app.seen == []
    assert not app.experiment.exists()


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("hydra: {launcher: {n_jobs: 4}}", "hydra.launcher.n_jobs to 4.* stays 1"),
        ("hydra: {callbacks: {own: {_target_: x.Y}}}", "hydra.callbacks to"),
        ("expkit: {metric: loss}", "expkit.metric to loss.* stays unset"),
    ],
)
def test_other_settings_without_effect_are_warned_of_once(app, swept, lines, text):
    (warning,) = swept(lines, "epochs=1,2", "expkit.dry_run=true")

    assert re.match(rf"\+experiment=own sets {text}", warning)


@pytest.mark.parametrize(
    "lines",
    [
        "hydra: {launcher: {mem: 32}}",  # of a launcher that reads it from each run's own node
        "expkit: {keep_best: 3}",
        "hydra: {job: {env_set: {OMP_NUM_THREADS: '1'}}}",
    ],
)
def test_what_each_run_has_for_itself_is_passed_over(app, swept, lines):
    assert swept(lines, "expkit.dry_run=true") == []


def test_each_way_out_that_a_refusal_names_does_what_the_file_asks_for(app, swept):
    app.edit("model: mlp", "model: cnn")
    app.edit("{model: [mlp, cnn], optimizer: [sgd], optimizer.lr: [0.1, 0.001], seed: [1, 2]}", "")
    with pytest.raises(GridError, match=r"own alone, or sweep these keys on the command line\.$"):
        swept("hydra: {sweeper: {params: {epochs: [4, 5]}}}")

    app.sweep("+experiment=own")  # alone
    assert [cfg.epochs for cfg in app.seen] == [4, 5]
    app.seen.clear()
    swept("", "epochs=4,5", "expkit.rerun=all")
    assert [cfg.epochs for cfg in app.seen] == [4, 5]


def test_a_rule_fixed_in_the_params_is_refused_as_well(app):
    app.edit("seed: [1, 2]}", "seed: [1, 2], expkit.rerun: all}")

    with pytest.raises(GridError, match=r"expkit\.rerun to all"):
        app.sweep()


def test_a_missing_value_is_told_before_any_run_starts(app):
    app.add("need: ???\nlist: [1, '???']\n")
    app.task = lambda cfg: app.log.append("a run starts")

    app.sweep("model=cnn", "optimizer.lr=0.1")

    lines = [line for line in app.log if "???" in line or line == "a run starts"]
    assert [line.partition(" ")[0] for line in lines] == ["need", "list.1", "a", "a"]
    assert "need is ??? in every run" in lines[0]
    app.log.clear()
    app.sweep("model=cnn", "optimizer.lr=0.1", "need=1", "list=[1,2]", "expkit.on_change=rerun")
    assert not [line for line in app.log if "???" in line]
