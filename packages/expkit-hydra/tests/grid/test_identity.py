"""The hash is the same on every machine, and changes with what a run is."""

import functools
import textwrap

import pytest
from omegaconf import OmegaConf

from expkit_hydra._grid.identity import identify


@pytest.fixture
def base(app):
    app.add(
        """
        device: cpu
        data: ${oc.env:DATA,/data}/digits
        same: ${data}
        stamp: ${now:%Y}
        twice: ${seed}
        name: ${hydra:job.name}
        nested: {num_workers: 1}
        """
    )
    return app


def hash_of(app, *overrides):
    return identify(app.compose(*overrides)).config_hash


def test_environment_time_and_hydra_do_not_change_the_hash(base, monkeypatch):
    from omegaconf.basecontainer import BaseContainer

    monkeypatch.setenv("DATA", "/a")
    first = hash_of(base)
    monkeypatch.setenv("DATA", "/b")
    config = base.compose("hydra.job.name=other")
    resolvers = dict(BaseContainer._resolvers)

    assert identify(config).config_hash == first
    assert dict(BaseContainer._resolvers) == resolvers


def test_rules_see_what_the_environment_says(base, monkeypatch):
    monkeypatch.setenv("DATA", "/a")

    assert identify(base.compose()).data["same"] == "/a/digits"
    assert identify(base.compose()).data["name"] == "train"


@pytest.mark.parametrize(
    "override",
    [
        "device=cuda",
        "results_dir=elsewhere",
        "experiment_id=other",
        "run_name=other",
        "expkit.metric=loss",
        "mlflow.mode=offline",
        "_filters=[]",
        "hydra.job.chdir=true",
    ],
)
def test_what_is_no_part_of_a_run_does_not_change_the_hash(base, override):
    assert hash_of(base, override) == hash_of(base)


@pytest.mark.parametrize(
    "override", ["seed=2", "seed=1.0", "model=cnn", "+new=1", "~epochs", "nested.num_workers=2"]
)
def test_what_a_run_is_changes_the_hash(base, override):
    assert hash_of(base, override) != hash_of(base)


def test_the_choice_of_a_group_is_part_of_what_a_run_is(base):
    base.add("arch: ${hydra:runtime.choices.model}\n")
    base.write("conf/model/other.yaml", "name: mlp\n")

    assert hash_of(base, "model=other") != hash_of(base)


def test_what_a_cached_resolver_makes_of_the_environment_stays_text(base, monkeypatch):
    OmegaConf.register_new_resolver("test.upper", str.upper, replace=True, use_cache=True)
    base.add("place: ${test.upper:${oc.env:DATA}}\n")
    try:
        monkeypatch.setenv("DATA", "/a")
        first = hash_of(base)
        monkeypatch.setenv("DATA", "/b")

        assert hash_of(base) == first
    finally:
        OmegaConf.clear_resolver("test.upper")


@pytest.mark.parametrize("made", [textwrap.dedent, functools.partial(textwrap.dedent), object()])
def test_what_a_resolver_makes_has_no_address_in_the_hash(base, made):
    OmegaConf.register_new_resolver("test.made", lambda: made, replace=True)
    base.add("function: ${test.made:}\n")
    try:
        assert " at 0x" not in str(identify(base.compose()).data["function"])
    finally:
        OmegaConf.clear_resolver("test.made")


def test_a_dotted_key_can_be_ignored(base):
    ignore = "expkit.ignore=[nested.num_workers]"

    assert hash_of(base, ignore, "nested.num_workers=2") == hash_of(base, ignore)
    assert hash_of(base, ignore, "device=cuda") != hash_of(base, ignore)


def test_a_reference_and_its_value_are_the_same(base):
    assert hash_of(base, "twice=1") == hash_of(base)


def test_missing_values_and_broken_references_stay_text(app):
    app.add(
        """
        later: ???
        of_later: ${later}
        of_nothing: ${no.such.key}
        number: ${hydra:job.num}
        """
    )
    data = identify(app.compose()).data

    assert data["later"] == "???"
    assert data["of_later"] == "${later}"
    assert data["of_nothing"] == "${no.such.key}"
    assert data["number"] is None  # as Hydra's resolver has it before a job has a number


def test_the_configuration_is_not_changed(base):
    config = base.compose()
    before = OmegaConf.to_yaml(config)
    identify(config)

    assert OmegaConf.to_yaml(config) == before
