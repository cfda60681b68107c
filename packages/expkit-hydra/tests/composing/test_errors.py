"""What Hydra, OmegaConf or a file refuses while a grid is made: one sentence with the key."""

import re
from collections.abc import Iterator
from dataclasses import make_dataclass

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from expkit_hydra import GridError

RUNS = ("model=cnn", "optimizer.lr=0.1", "seed=1,2")


@pytest.fixture(autouse=True)
def raising_resolver() -> Iterator[None]:
    def raise_error(text: str) -> object:
        raise KeyError(f"no {text} here")

    OmegaConf.register_new_resolver("raising", raise_error, replace=True)
    yield
    OmegaConf.clear_resolver("raising")


def refusal(app, *overrides: str) -> str:
    """The one line with which a sweep is refused, of which nothing has been written."""
    with pytest.raises((GridError, SystemExit)) as caught:
        app.sweep(*overrides)
    assert not isinstance(caught.value.__cause__, OmegaConfBaseException)  # Hydra would print it
    text = str(caught.value)
    assert "\n" not in text
    assert app.seen == []
    assert not (app.folder / "results").exists()
    return text


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("results_dir: ${nowhere}", "results_dir: Interpolation key 'nowhere' not found"),
        ("results_dir: ${oc.env:NO_SUCH_ENV}", "results_dir: .*'NO_SUCH_ENV' not found"),
        ("results_dir: ${no_such:1}", "results_dir: Unsupported interpolation type no_such"),
        ("results_dir: ${raising:disk}", "results_dir: KeyError .*'no disk here'"),
        ("results_dir: ${b}\nb: ${results_dir}", "results_dir: Recursive interpolation"),
        ("run_name: ${modle.name}", r"run_name .*\(model=cnn .*'modle.name' not found"),
        ("run_name: ${raising:name}_${seed}", "run_name .*'no name here'"),
        ("run_name: ${b}\nb: ${run_name}", "run_name .*Recursive interpolation"),
        ("_filters: ${nowhere}", "_filters: Interpolation key 'nowhere' not found"),
    ],
)
def test_what_cannot_be_resolved_is_named_by_its_key(app, lines, text):
    app.edit("_filters: [\"model.name == 'mlp' and optimizer.lr > 0.01\"]\n", "")
    app.add(f"{lines}\n")

    assert re.search(text, refusal(app, *RUNS))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ("expkit: {metric: '${nowhere}'}", "expkit.metric: .*'nowhere' not found"),
        ("expkit: {repeat: '${nowhere}'}", "expkit.repeat: .*'nowhere' not found"),
        ("expkit: {attempts: many}", "expkit.attempts is a whole number from 1, got 'many'"),
        ("expkit:", "expkit is a mapping of settings, got None"),
    ],
)
def test_settings_that_cannot_be_read_are_named_by_their_key(app, settings, text):
    app.edit("expkit: {after: []}", settings)

    assert re.search(text, refusal(app, *RUNS))


@pytest.mark.parametrize(
    ("node", "text"),
    [
        ("launcher: {n_jobs: '${nowhere}'}", "hydra.launcher.n_jobs: .*'nowhere' not found"),
        ("launcher: {n_jobs: '${raising:it}'}", "hydra.launcher.n_jobs: .*'no it here'"),
        ("launcher: {_target_: no.Such}", "hydra.launcher cannot be made: .*no.Such"),
        ("sweeper: {params: '${nowhere}'}", "hydra.sweeper.params: .*'nowhere' not found"),
        ("sweeper: {params: {seed: '${a.b}'}}", "hydra.sweeper.params.seed: .*'a.b' not found"),
        ("sweeper: {params: {seed: '1,[2'}}", r"seed=1,\[2: mismatched input"),
        ("job: {name: '${nowhere}'}", "hydra.job.name: .*'nowhere' not found"),
    ],
)
def test_what_is_wrong_in_the_node_of_hydra_is_named_by_its_key(app, node, text):
    config = app.folder / "conf/config.yaml"
    config.write_text(config.read_text().partition("hydra:")[0] + f"hydra:\n  {node}\n")

    assert re.search(text, refusal(app))


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("no_such=1,2", r"Run 0 .*'no_such'\. To append to your config use \+no_such=1$"),
        ("seed.below=1,2", r"Run 0 .*'seed.below'"),
        ("model=cnnn,mlp", "Run 0 .*'model/cnnn'. Available options in 'model': cnn, mlp$"),
        ("model@other=mlp,cnn", "Run 0 .*'model@other'. Did you mean to override model"),
        ("optimizer=1,2", "Run 0 .*optimizer=1.* must be a string or a list"),
        ("+model=mlp,cnn", "Run 0 .*model appears more than once"),
        ("+experiment=broken,good", r"Run 0 .*experiment/broken.yaml, line 2: expected"),
        ("+experiment=lost,good", "Run 0 .*experiment=lost.*'experiment/nothing'"),
        (
            "+experiment=good,typed",
            r"Run 1 .*=typed.*'abc' .*Integer \(typed.seed\)$",
        ),
        ("seed=${nowhere},2", r"seed: Interpolation key 'nowhere' not found \(.*seed="),
        ("seed=${no_such:1},2", "seed: Unsupported interpolation type no_such"),
        ("seed=${raising:seed},2", "seed: KeyError .*'no seed here'"),
    ],
)
def test_what_a_run_asks_for_in_vain_is_named_with_the_run(app, override, text):
    ConfigStore.instance().store("typed", {"typed": make_dataclass("Typed", [("seed", int, 1)])})
    app.write("conf/experiment/good.yaml", "# @package _global_\nepochs: 3\n")
    app.write("conf/experiment/broken.yaml", "epochs: [1, 2\nseed: }\n")
    app.write("conf/experiment/lost.yaml", "defaults: [nothing]\n")
    app.write(
        "conf/experiment/typed.yaml",
        "# @package _global_\ndefaults: [/typed, _self_]\ntyped: {seed: abc}\n",
    )

    assert re.search(text, refusal(app, "optimizer.lr=0.1", override))
