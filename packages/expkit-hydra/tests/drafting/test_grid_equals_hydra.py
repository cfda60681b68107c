"""A grid's files say what Hydra composes for each run: name, hash, values, rules, configuration.

A sweep need not make a configuration to know all this; here each is composed by Hydra and asked.
"""

import copy
import itertools
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tree_schemas
import yaml
from config_trees import RICH
from hydra.types import RunMode
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException
from same_config import assert_same_config, hydra_reads

from expkit_bookkeeping.launching import json_data
from expkit_filter import Candidate, FilterError, RunFilter
from expkit_hydra import Grid
from expkit_hydra._composing.plain_data import plain_value
from expkit_hydra._grid.identity import identify
from expkit_hydra._grid.names import clean, name_of
from expkit_hydra.launching import read_grid

LONG = os.environ.get("EXPKIT_HYPOTHESIS") == "long"

# References of each kind; what they refer to is swept.
REFERENCES = """
refs:
  a: ${seed}
  b: "s${seed}_${optimizer.lr}"
  c: ${.b}
  d: ${..name}x
  e: ${kinds.ratio}
  f: ${optimizer}
  g: ${list}
  h: ["${list.0}", "${list[0]}", "${list.3.1}", "${refs.h.0}!"]
  i: ${oc.env:EXPKIT_TREE_HOME}/${seed}
  j: ${hydra:runtime.choices.model}
  k: ${hydra.job.name}_${seed}
  l: ${oc.select:nope,${seed}}
  m: ${oc.dict.keys:optimizer}
  n: \\${seed}
  o: ${oc.decode:${text}}
  p: ${test.twice:${seed}}
  q: ${optimizer.${choose}}
  r: ${kinds.count}${kinds.switch}
  s: {deep: {er: "${....seed}", up: "${...a}"}}
  t: ["c_${kinds.color}", "${kinds.color}"]
  u: ["n_${nothing}", "${nothing}"]
  v: ${flag}-${ratio}-${text}
  w: ["p/${kinds.path}", "${kinds.path}"]
  x: ${kinds.blob}
  y: ${model.name}
  z: ${refs.f.lr}
  over: ${oc.env:EXPKIT_TREE_HOME}
  gone: ${nope.nope}
  env: ${oc.env:EXPKIT_NOT_SET}
  sub: ${plain.b}
  whole: ${model}
  typed: ${kinds.first.width}
  inter: ${refs.${which}}
  output: ${hydra:runtime.output_dir}
  subdir: ${hydra:sweep.subdir}
  named: ${run_name}
  overridden: ${hydra:job.override_dirname}
  kept: ${test.kept:${seed}}
  holder: {opt: "${optimizer}", other: 1}
  third: {opt: "${plain}"}
choose: lr
which: a
"""

VALUES: dict[str, list[str]] = {
    "model": ["mlp", "cnn", "vit"],
    "optimizer": ["adam", "sgd"],
    "optimizer@second": ["adam", "sgd"],
    "data/augment": ["none", "flip"],
    "seed": ["1", "2", "3", "-1", "0", "'1'", "'${epochs}'", "1.0", "null", "10000000000000000000"],
    "optimizer.lr": ["0.1", "1e-05", "1", "inf", "nan", "0.30000000000000004", "1e+22", "'0.1'"],
    "epochs": ["1", "2", "x", "???"],
    "name": ["a", "'a b'", "'${seed}'", "''", "'x,y=z'", "True", "null", "'1e3'", "'${which}'"],
    "text": ["abc", "12", "'[1,2]'", "'{a: 1}'", "'null'", r"'back\slash'", "'äöü'", "' pad '"],
    "flag": ["True", "False", "null", "1"],
    "ratio": ["1.0", "1", "0.5", "1e+300"],
    "nothing": ["1", "null", "[1]", "{a:1}", "a"],
    "choose": ["lr", "name"],
    "which": ["a", "b", "p", "seed"],
    "list": ["[1,2,3,[4,5]]", "[]", "[a,{x:1}]", "null", "['${seed}',2]"],
    "list.0": ["5", "x"],
    "plain": ["{a:2}", "{a:2,b:{c:5}}", "{b:null}"],
    "plain.a": ["1", "2", "{x:1}"],
    "plain.b.c": ["1", "null", "'${seed}'"],
    "kinds.count": ["1", "2", "'3'", "'${seed}'"],
    "kinds.ratio": ["1", "0.5", "nan", "inf"],
    "kinds.switch": ["True", "False", "yes"],
    "kinds.color": ["RED", "GREEN", "1", "green"],
    "kinds.path": ["a/b", "'c d'", "1"],
    "kinds.scale": ["1", "1.5"],
    "kinds.maybe_count": ["1", "null"],
    "kinds.numbers": ["[1]", "['2',3]", "[]"],
    "kinds.first": ["{width:3}", "{width:'4',color:GREEN}"],
    "kinds.first.width": ["1", "'2'"],
    "kinds.second": ["{width:9}", "null"],
    "kinds.weights": ["{a:7}", "{b:'8'}"],
    "kinds.anything": ["1", "{a:[1]}", "RED", "null"],
    "flags.open.new": ["1", "2"],
    "refs.a": ["7", "'${epochs}'", "null"],
    "refs.over": ["x", "'${seed}'"],
    "refs.holder": ["{opt:{lr:7}}", "{other:2}", "{opt:{new:1}}"],
    "++refs.third": ["{opt:{a:9}}", "{opt:1}"],
    "++refs.f.lr": ["8"],
    "kinds.alias": ["'${name}'", "b"],
    "model.name": ["other", "mlp"],
    "model.sub": ["{a:5}", "null"],
    "link": ["'${plain}'", "null", "{lr:5}"],
    "device": ["cpu", "cuda"],
    "expkit.metric": ["a", "null"],
    "hydra.job.name": ["other"],
    "hydra/job_logging": ["none"],
    "+added": ["1", "{a:1}"],
    "++plain.added": ["1", "2"],
    "+optimizer@third": ["adam"],
}
FIXED_ONLY = ("hydra.job.name", "hydra/job_logging", "expkit.metric")
TEMPLATES = [
    None,
    None,
    "${model.name}_${seed}",
    "${refs.b}",
    "x_${refs.inter}_${refs.y}",
    "${optimizer.${choose}}/${name}",
    "${refs.p}-${kinds.color}-${flag}-${kinds.path}",
    "${oc.env:EXPKIT_TREE_HOME}${refs.v}",
    "${hydra:runtime.choices.model}_${hydra.job.name}_${refs.l}",
    "${text}",
]
RULES: list[object] = [
    "seed == 1",
    "seed in [1, 2] and model.name == 'mlp'",
    "optimizer.lr > 0.01",
    "refs.a == 2 or refs.p == 4",
    "startswith(refs.b, 's1')",
    "defined(model.kernel)",
    "defined(plain.added) and plain.added == 1",
    "kinds.count == 3 and not kinds.switch",
    "model.name == 'cnn' and defined(data.augment.p)",
    "name == '1'",
    "list[0] == 1",
    "optimizer.name == 'sgd' and kinds.color == 'RED'",
    {"model.name": "cnn", "optimizer.name": ["sgd", "x"]},
    {"seed": [1, 2, None]},
    {"kinds.first.width": 3},
    {"plain": {"a": 2}},
    "False",
    "refs.kept == 1",
    "kinds.alias == 'a'",
    "refs.holder.opt.lr == 0.1",
]


@dataclass(frozen=True)
class Sweep:
    """A grid: its axes as override texts, how it is named, and its rules."""

    axes: Mapping[str, tuple[str, ...]]
    template: str | None = None
    rules: tuple[object, ...] = ()

    @property
    def swept(self) -> list[str]:
        return [key.lstrip("+") for key, values in self.axes.items() if len(values) > 1]

    @property
    def arguments(self) -> list[str]:
        return [f"{key}={','.join(values)}" for key, values in self.axes.items()]

    def product(self) -> list[list[str]]:
        """The override lists; Hydra's own overrides belong to the sweep's configuration."""
        return [
            [
                f"{key}={value}"
                for key, value in zip(self.axes, values, strict=True)
                if not key.startswith("hydra")
            ]
            for values in itertools.product(*self.axes.values())
        ]


@st.composite
def sweeps(draw: st.DrawFn) -> Sweep:
    keys = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4, unique=True))
    axes = {}
    runs = 1
    for key in keys:
        most = 1 if key in FIXED_ONLY else (24 if LONG else 8) // runs
        values = draw(
            st.lists(
                st.sampled_from(VALUES[key]), min_size=1, max_size=min(3, max(most, 1)), unique=True
            )
        )
        runs *= len(values)
        axes[key] = tuple(values)
    rules = draw(st.lists(st.sampled_from(RULES), max_size=3))
    template = draw(st.sampled_from(TEMPLATES))
    if template is not None and draw(st.integers(0, 4)) > 0:  # else most have runs of one name
        for key, values in axes.items():
            if len(values) > 1:
                plain = key.lstrip("+")
                group = plain.partition("@")[0] in RICH.groups
                template += f"_${{hydra:runtime.choices.{plain}}}" if group else f"_${{{plain}}}"
    return Sweep(axes, template, tuple(rules))


class Grids:
    """Makes grids of one app, and asks Hydra what they should be."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._base = (app.folder / "conf/config.yaml").read_text()

    def make(self, sweep: Sweep) -> Grid | Exception:
        """The grid as its files have it, or why there is none."""
        shutil.rmtree(self._app.folder / "results", ignore_errors=True)
        own: dict[str, object] = {"_filters": list(sweep.rules)}
        if sweep.template is not None:
            own["run_name"] = sweep.template
        (self._app.folder / "conf/config.yaml").write_text(self._base + yaml.safe_dump(own))
        try:
            self._app.sweep(*sweep.arguments)
        except Exception as error:  # any: Hydra's may be none of its own classes
            return error
        return read_grid(self._app.folder / "results" / "digits")

    def compose(self, sweep: Sweep, runs: Iterable[Sequence[str]]) -> list[DictConfig]:
        """What Hydra composes for override lists."""
        with self._app.running() as hydra:
            loader = hydra.config_loader
            master = loader.load_configuration("config", sweep.arguments, RunMode.MULTIRUN)
            return [loader.load_sweep_config(master, list(run)) for run in runs]


@pytest.fixture
def grids(app, monkeypatch):
    """The rich tree with references to everything, and a launcher that runs nothing."""
    tree_schemas.store()
    RICH.write(app.folder / "conf")
    app.edit("run_name: ${model.name}_${seed}\n", "device: cpu\nexpkit: {after: []}\n")
    app.edit("stamp: ${now:%f}\n", "")
    app.add(REFERENCES)
    monkeypatch.setenv("EXPKIT_TREE_HOME", "/tree/home")
    monkeypatch.delenv("EXPKIT_NOT_SET", raising=False)
    monkeypatch.setattr("expkit_hydra._launcher.launch_grid", lambda grid, **others: [])
    OmegaConf.register_new_resolver("test.twice", lambda x: 2 * x if x else x, replace=True)
    OmegaConf.register_new_resolver("test.kept", lambda x: x, replace=True, use_cache=True)
    yield Grids(app)
    OmegaConf.clear_resolver("test.twice")
    OmegaConf.clear_resolver("test.kept")


def name_in(config: DictConfig, sweep: Sweep) -> str:
    """The name by the configuration alone."""
    with hydra_reads(config):
        if sweep.template is None:
            return name_of(values_in(config, sweep)).plain
        asked = copy.deepcopy(config)
        asked._set_flag(["readonly", "struct"], [False, False])
        asked.run_name = sweep.template
        with hydra_reads(asked):
            return clean(asked.run_name)


def values_in(config: DictConfig, sweep: Sweep) -> dict[str, object]:
    """What the configuration has for the swept keys."""
    choices = config.hydra.runtime.choices
    with hydra_reads(config):
        return {
            key: choices[key]
            if key in choices
            else plain_value(
                OmegaConf.select(config, key.partition("@")[0], throw_on_missing=False)
            )
            for key in sweep.swept
        }


def check_grid(grid: Grid, sweep: Sweep, grids: Grids) -> None:
    composed = grids.compose(sweep, [run.overrides for run in grid.runs])
    for run, config in zip(grid.runs, composed, strict=True):
        with read_write(config), open_dict(config):
            config.run_name = run.run_name
    hashes = []
    judge = RunFilter(list(sweep.rules))
    for run, config in zip(grid.runs, composed, strict=True):
        identity = identify(config, swept=sweep.swept)
        hashes.append(identity.config_hash)
        assert run.run_name == name_in(config, sweep), run.overrides
        assert dict(run.values) == json_data(values_in(config, sweep)), run.overrides
        # A run that a rule skips by its swept keys alone is never looked at as a whole.
        if run.config_hash is not None or run.skipped_by is None:
            assert run.config_hash == identity.config_hash, run.overrides
        with hydra_reads(config):
            assert run.folder == Path(config.hydra.sweep.dir, config.hydra.sweep.subdir).absolute()
        rule = judge.decide(identity.data, run_name=run.run_name).rule
        assert run.skipped_by == (None if rule is None else f"rule {rule}"), run.overrides
        if run.skipped_by is None:
            assert_same_config(grid.config(run.index), config, cache=False)
            frozen = identify(grid.config(run.index), swept=sweep.swept)
            assert frozen.config_hash == run.config_hash
    assert [run.index for run in grid.runs] == list(range(len(grid.runs)))

    # In the order of the product; what is missing has the configuration of an earlier run.
    product = [tuple(overrides) for overrides in sweep.product()]
    kept = [tuple(run.overrides) for run in grid.runs]
    assert kept == [overrides for overrides in product if overrides in set(kept)]
    missing = [overrides for overrides in product if overrides not in set(kept)]
    for overrides, config in zip(missing, grids.compose(sweep, missing), strict=True):
        settled = copy.deepcopy(config)
        name = name_in(config, sweep)
        settled.run_name = name
        config_hash = identify(settled, swept=sweep.swept).config_hash
        position = product.index(overrides)
        assert config_hash in hashes[: sum(product.index(other) < position for other in kept)]


def check_refusal(error: Exception, sweep: Sweep, grids: Grids) -> None:
    """There is a reason for it, which Hydra's configurations show, too."""
    try:
        composed = grids.compose(sweep, sweep.product())
    except Exception as theirs:
        ours = str(error)
        if ours != str(theirs) and not ours.endswith(f"cannot be composed: {theirs}"):
            raise AssertionError(f"{error!r}, but Hydra: {theirs!r}") from error
        return
    text = str(error)
    if "run_name cannot be made" in text:
        with pytest.raises(OmegaConfBaseException):
            [name_in(config, sweep) for config in composed]
        return
    for config in composed:
        config.run_name = name_in(config, sweep)
    identities = [identify(config, swept=sweep.swept) for config in composed]
    runs = [Candidate(identity.data, str(identity.data["run_name"])) for identity in identities]
    judge = RunFilter(list(sweep.rules))
    if f"0 of {len(runs)} runs are left" in text:
        assert all(judge.decide(run.config, run_name=run.run_name).rule for run in runs), text
    elif "would both be named" in text:
        names = {run.run_name for run in runs}
        assert len(names) < len({identity.config_hash for identity in identities})
    elif isinstance(error.__cause__, FilterError):
        with pytest.raises(FilterError, match=re.escape(text.partition(" such as ")[0][:40])):
            judge.select(runs)
    else:
        raise error


@settings(
    max_examples=100 if LONG else 4,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    phases={Phase.explicit, Phase.reuse, Phase.generate},  # shrinking takes minutes
)
@given(sweep=sweeps())
@example(
    sweep=Sweep(
        {"model": ("mlp", "cnn"), "optimizer.lr": ("0.1", "1e-05"), "seed": ("1", "2", "3")},
        rules=("seed == 1", "model.name == 'mlp' and optimizer.lr > 0.01"),
    )
)
@example(
    sweep=Sweep(
        {"kinds.color": ("RED", "GREEN"), "text": ("abc", "'[1,2]'"), "flag": ("True", "null")},
        template="${refs.v}_${kinds.color}",
    )
)
@example(  # references to what lies in mappings and lists that are swept
    sweep=Sweep(
        {"kinds.first": ("{width:3}", "{width:'4',color:GREEN}"), "list": ("[1,2,3,[4,5]]",)},
        rules=("refs.typed == 4", "refs.h[0] == 7"),
    )
)
@example(  # an element of a list
    sweep=Sweep({"list.0": ("5",), "seed": ("1", "2")}, rules=("list[0] == 1", "list[0] == 6"))
)
@example(  # a key that is set through a reference to its mapping
    sweep=Sweep(
        {"link.lr": ("5", "0.01"), "seed": ("1", "2")},
        rules=("optimizer.lr == 0.001", "refs.z == 5 and seed == 1"),
    )
)
@example(  # a resolver that keeps its answers
    sweep=Sweep(
        {"seed": ("1", "2"), "optimizer.lr": ("0.1", "1")},
        template="${refs.kept}_${seed}_${optimizer.lr}",
        rules=("refs.kept == 2",),
    )
)
@example(  # a mapping that is merged into what a reference leads to
    sweep=Sweep(
        {"optimizer.name": ("a", "b"), "refs.holder": ("{opt:{lr:7}}", "{other:2}")},
        rules=("refs.holder.opt.name == 'a'",),
    )
)
@example(
    sweep=Sweep({"plain.b.c": ("1", "5"), "++refs.third": ("{opt:{a:9}}",), "seed": ("1", "2")})
)
@example(sweep=Sweep({"optimizer.lr": ("0.1", "1"), "++refs.f.lr": ("8",), "seed": ("1", "2")}))
@example(  # a field of type text that refers to nothing
    sweep=Sweep({"nothing": ("null", "a", "1"), "seed": ("1",)}, rules=("kinds.alias == '1'",))
)
def test_files_of_a_grid_say_what_hydra_composes(sweep, grids):
    grid = grids.make(sweep)

    if isinstance(grid, Exception):
        check_refusal(grid, sweep, grids)
    else:
        check_grid(grid, sweep, grids)
