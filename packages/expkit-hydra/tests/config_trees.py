# ruff: noqa: RUF005 - long lists in short lines
"""Folders of configuration files, written by hand and generated, with overrides for them."""

import copy
import random
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from same_config import (
    assert_same_config,
    assert_same_refusal,
    hydra_reads,
    paths,
    resolved,
    scramble,
)

from expkit_hydra._composing.composer import Composer

Overrides = tuple[str, ...]


@dataclass(frozen=True)
class Tree:
    """Configuration files by their path, and what belongs to them.

    `arguments` are the command line of the sweep: what is not Hydra's own must not reach a run.
    `cases` are override lists worth asking for, `groups` names of groups with their options.
    """

    files: dict[str, str]
    config_name: str | None = "config"
    arguments: Overrides = ()
    cases: tuple[Overrides, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))


class Comparison:
    """Asks the kit and Hydra for the same configurations of one tree.

    Hydra is asked once for each override list. The kit is asked each time, by one composer as
    long as no new one is made: what it keeps from one list must not show in another.
    """

    def __init__(self, tree: Tree, folder: Path) -> None:
        tree.write(folder)
        where = None if tree.config_name is None else f"file://{folder}"
        self._hydra, self._loader = (
            ConfigLoaderImpl(create_config_search_path(where)) for _ in range(2)
        )
        self.master = self._hydra.load_configuration(
            tree.config_name, list(tree.arguments), RunMode.MULTIRUN
        )
        with hydra_reads(self.master):  # as Hydra does, whose jobs take over what `now` gave
            for path in ("hydra.run.dir", "hydra.sweep.dir", "stamp"):
                OmegaConf.select(self.master, path)
        self._answers: dict[Overrides, tuple[DictConfig | Exception, dict[str, str]]] = {}
        self.renew()

    def renew(self) -> None:
        """Begin with an empty composer."""
        self._master = copy.deepcopy(self.master)
        self._composer = Composer(self._loader, self._master)

    def ask(self, overrides: Overrides) -> DictConfig | Exception:
        """Hydra's configuration or its refusal, and the assertion that the kit's is the same."""
        expected, values = self._answer(overrides)
        try:
            composed = self._composer.compose(7, overrides)
        except Exception as error:
            if not isinstance(expected, Exception):
                raise AssertionError(f"{overrides}: the kit refuses what Hydra composes") from error
            assert_same_refusal(error, expected)
            return expected
        assert not isinstance(expected, Exception), f"{overrides}: Hydra refuses with {expected!r}"
        try:
            assert_same_config(composed, expected, values=values)
        except AssertionError as error:
            raise AssertionError(f"{overrides}: {error}") from None
        scramble(composed)  # the next answer must not know
        return expected

    def check_sources(self) -> None:
        """Nothing has changed the sweep's own configuration."""
        assert_same_config(self._master, self.master)

    def _answer(self, overrides: Overrides) -> tuple[DictConfig | Exception, dict[str, str]]:
        if overrides not in self._answers:
            try:
                config = self._hydra.load_sweep_config(self.master, list(overrides))
                self._answers[overrides] = config, resolved(config)
            except Exception as error:
                self._answers[overrides] = error, {}
        return self._answers[overrides]


def each_alone(*overrides: str) -> tuple[Overrides, ...]:
    return tuple((override,) for override in overrides)


def shuffled(cases: Sequence[Overrides], seed: int) -> list[Overrides]:
    """In random order, a third of them twice."""
    asked = [*cases, *cases[::3]]
    random.Random(seed).shuffle(asked)
    return asked


_SHARED = {
    "model/mlp.yaml": "{name: mlp, layers: [64, 32], dropout: 0.1, act: relu, sub: {a: 1, b: x}}",
    "model/cnn.yaml": """
        defaults: [backbone: small, _self_, override /optimizer@_global_.optimizer: sgd]
        name: cnn
        kernel: 3
        layers: [8]
        depth: ${.backbone.depth}
        """,
    "model/vit.yaml": """
        # @package _global_
        defaults: [backbone@model.part: large, /db@store: mlp_db, _self_]
        model: {name: vit, heads: 4, sub: {a: 2}}
        epochs: 7
        hydra: {job: {env_set: {THREADS: "4"}}}
        """,
    "model/backbone/small.yaml": "{depth: 18, widths: {stem: 8, head: 16}}",
    "model/backbone/large.yaml": "{depth: 101, widths: {stem: 64}, pretrained: null}",
    "optimizer/adam.yaml": """
        name: adam
        lr: 1e-3
        betas: [0.9, 0.999]
        schedule: {kind: cosine, warmup: "${epochs}", steps: [1, {at: 2}]}
        """,
    "optimizer/sgd.yaml": "{name: sgd, lr: 0.1, momentum: 0.9, nesterov: false, schedule: null}",
    "optimizer/typed.yaml": """
        defaults: [/schemas@_here_: layer, _self_]
        width: 3
        """,
    "db/mlp_db.yaml": "{host: a, port: 1}",
    "db/cnn_db.yaml": "{host: b, port: '${seed}'}",
    "db/vit_db.yaml": "{host: c, user: {name: x}}",
    "data/augment/none.yaml": "{}",
    "data/augment/flip.yaml": "{p: 0.5, ops: [{kind: h}, {kind: v}]}",
    "callback/early.yaml": """
        # @package callbacks.early
        patience: 5
        """,
    "callback/here.yaml": """
        # @package _group_.deep
        patience: 6
        """,
}

# What a value can be written like; for keys of every kind.
VALUES = (
    ["0", "1", "-3", "+4", "1_000", "007", "1.0", "1.", ".5", "-.5e2", "1e-3", "1E5", "0.0001"]
    + ["nan", "NaN", "inf", "-inf", "true", "False", "TRUE", "null", "NULL", "Null", "yes", "on"]
    + ["", "''", '""', "abc", "a-b", "a.b", "a/b", "/abs/path", "./rel", "a:b", "a b"]
    + ["  padded "]
    + ["'a b'", "'  padded  '", "'1'", "'1.5'", "'true'", "'null'", "'a,b=c'"]
    + ['"it\'s"', "'it\\'s'"]
    + [r"a\,b", r"a\=b", r"a\ b", r"\[x\]", r"'back\slash'", r"'ends\\'", r"C:\\dir"]
    + ["$x", "%d*@?|"]
    + ["${seed}", "'${seed}'", "x_${seed}_y", "'${seed} of ${epochs}'", "${.name}", "${..seed}"]
    + ["${oc.env:EXPKIT_TREE_HOME}", "'${oc.env:EXPKIT_NOT_SET,7}'", "${hydra:job.name}"]
    + ["${missing.key}", "${hydra.job.name}", "'${oc.select:seed}'", "???", "'???'", r"'\${seed}'"]
    + ["[]", "[1]", "[1,2]", "['1',2.5]", "[a,'b c',null,[1]]", "[{a:1},{b:[2]}]", "[${seed}]"]
    + ["{}", "{a:1}", "{b:null}", "{a:{b:2}}", "{name:x}", "{lr:0.5}", "{width:3}", "{1:2}"]
    + ["{new:1}", "{a:'${seed}'}", "{steps:[3]}", "{sub:{a:5}}", "{color:RED}", "{width:wide}"]
    + ["int('3')", "int(2.7)", "str(3)", "float(1)", "bool(1)", "sort(3,1)"]
    + ["sort([3,1])", "nope(1)"]
    + ["RED", "green", "red", "1,2", "choice(1,2)", "range(1,3)", "interval(0,1)", "glob(*)"]
    + ["[1", "{a", "'open", "a=b", "a==b", "ünï", "${", "${seed", "a,", "\t"]
)  # fmt: skip

_HYDRA = (
    ["hydra.job.name=other", "hydra.run.dir=runs/${seed}", "hydra.sweep.subdir=${model.name}_x"]
    + ["hydra.sweep.dir=multi/${hydra.job.name}", "hydra.sweep.subdir=${hydra.job.num}"]
    + ["hydra/launcher=basic", "hydra/launcher=expkit", "hydra/job_logging=none"]
    + ["hydra.launcher.n_jobs=2", "hydra.launcher.nope=2", "hydra/launcher=nope"]
    + ["hydra.job.chdir=true", "hydra.verbose=true", "hydra.verbose=[a,b]", "hydra.mode=MULTIRUN"]
    + ["hydra.output_subdir=null", "hydra.job.env_set.A=b", "+hydra.job.env_set.A=b"]
    + ["hydra.job.env_copy=[EXPKIT_TREE_HOME]", "hydra.job.env_copy=[EXPKIT_NOT_SET]"]
    + ["hydra.job.config.override_dirname.exclude_keys=[seed,optimizer]"]
    + ["hydra.job.config.override_dirname.kv_sep=_", "hydra.job.override_dirname=mine"]
    + ["hydra.job.config_name=mine", "hydra.runtime.cwd=/mine", "hydra.runtime.version=0"]
    + ["hydra.runtime.choices.model=mine", "+hydra.runtime.choices.model=mine"]
    + ["hydra.overrides.task=[x=1]", "hydra.overrides.hydra=[]", "hydra.searchpath=[pkg://nope]"]
    + ["hydra.nope=1", "+hydra.nope=1", "++hydra.nope=1", "~hydra.sweeper", "hydra.job=null"]
    + ["hydra={job:{name:all}}", "hydra=null", "hydra.job={name:d,chdir:null}", "hydra.job.num=3"]
    + ["hydra.job_logging={root:{level:DEBUG}}", "hydra.callbacks=null", "hydra.job.id=x"]
)  # fmt: skip

RICH = Tree(
    files=_SHARED
    | {
        "config.yaml": """
        defaults:
          - expkit
          - schemas@kinds: kinds
          - schemas@flags: flagged
          - optimizer: adam
          - optimizer@second: sgd
          - model: mlp  # after what its files override
          - data/augment: none
          - db: ${model}_db
          - optional extra: nothing
          - callback: null
          - _self_
          - override /hydra/job_logging: expkit
        experiment_id: digits
        run_name: ${model.name}_${seed}
        seed: 1
        epochs: 2
        name: ${oc.env:EXPKIT_TREE_HOME}
        stamp: ${now:%f}
        lr: ${optimizer.lr}
        link: ${optimizer}
        nothing: null
        needed: ???
        text: "1"
        flag: true
        ratio: 1.0
        empty: {}
        list: [1, a, null, [2, 3], {x: 1}]
        plain: {a: 1, b: {c: null, d: [1, 2]}, e: x}
        numbers: {1: one, 2.5: two, true: three}
        kinds: {text: from yaml, first: {width: 5}}
        """
    },
    arguments=("seed=9,10", "model=cnn", "+lost=1", "hydra.job.chdir=false", "hydra.verbose=false"),
    groups={
        "model": ("mlp", "cnn", "vit", "typed", "nope"),
        "model/backbone": ("small", "large"),
        "optimizer": ("adam", "sgd", "typed"),
        "optimizer@second": ("adam", "sgd"),
        "db": ("mlp_db", "vit_db", "${model}_db"),
        "data/augment": ("none", "flip"),
        "callback": ("early", "here", "null"),
        "extra": ("nothing",),
        "schemas@kinds": ("kinds", "layer", "wide"),
        "schemas@flags": ("flagged", "readonly", "readonly_root"),
        "hydra/launcher": ("basic", "expkit"),
    },
    cases=(
        (),
        # values of keys without a type
        *(
            (f"{key}={value}",)
            for key, values in {
                "seed": VALUES,
                "plain": ("{a:2}", "{b:{c:1}}", "{new:1}", "{b:null}", "null", "3", "[1]", "{}"),
                "plain.b": ("{c:5,d:[]}", "{d:{x:1}}", "x", "${plain}", "'${list}'", "???"),
                "list": ("[1,2]", "[]", "null", "{a:1}", "3", "${plain.b.d}", "???"),
                "nothing": ("1", "{a:1}", "[1]", "null"),
                "needed": ("1", "{a:{b:1}}"),
                "name": ("'${seed}'", "${nope}", "a", "null"),
                "link": ("1", "{lr:5}", "null", "${plain}", "{new:1}"),
                "empty": ("{}", "{a:1}", "1"),
                "model.sub": ("{a:5}", "{c:1}", "null", "[1]"),
                "optimizer": (
                    "{lr:5}",
                    "{new:1}",
                    "[adam]",
                    "[adam,sgd]",
                    "null",
                    "3",
                    "true",
                    "''",
                ),
                "model": ("{name:x}", "[mlp]", "[]", "'mlp'", "${db}", "???"),
            }.items()
            for value in values
        ),
        # values of keys with a type, right ones and wrong ones
        *(
            (f"kinds.{key}={value}",)
            for key, values in {
                "count": ("3", "'3'", "3.0", "3.5", "1e3", "x", "null", "true", "${seed}", "{a:1}"),
                "ratio": ("3", "'3.5'", "nan", "-inf", "x", "1e-5", "null", "true"),
                "switch": ("true", "1", "0", "yes", "off", "2", "x", "null", "'false'", "1.0"),
                "text": ("abc", "1", "1.50", "true", "null", "[1]", "nan", "'1'", "RED"),
                "blob": ("abc", "null", "1"),
                "path": ("a/b", "1", "null", "'x y'", "${.text}"),
                "color": ("RED", "green", "GREEN", "1", "Color.RED", "2", "null", "blue"),
                "anything": ("1", "{a:1}", "[1,{b:2}]", "RED"),
                "needed": ("1", "x"),
                "maybe_count": ("1", "null", "x"),
                "maybe_color": ("GREEN", "null", "x"),
                "maybe_path": ("a/b", "null"),
                "numbers": ("[3]", "['4',5]", "[x]", "[]", "null", "{a:1}", "3", "[null]", "[1.5]"),
                "numbers.0": ("5", "'6'", "x", "null", "${count}"),
                "numbers.1": ("5",),
                "numbers.2": ("5",),
                "numbers.-1": ("5",),
                "numbers.x": ("5",),
                "maybe_numbers": ("[3]", "null", "[x]"),
                "weights": ("{a:5}", "{c:1}", "{a:x}", "{}", "null", "3", "${weights}"),
                "weights.a": ("5", "x", "null"),
                "weights.c": ("5",),
                "by_color": ("{RED:4}", "{GREEN:4}", "{blue:1}"),
                "by_color.RED": ("9", "x"),
                "by_number.1": ("uno",),
                "by_number": ("{1:uno}", "{2:dos}", "{x:1}"),
                "pair": ("[3,4]", "[3]", "[x,1]"),
                "pair.0": ("9", "x"),
                "scale": ("3", "1.5", "'3'", "x", "null", "true", "${count}"),
                "maybe_scale": ("true", "abc", "null", "3", "[1]"),
                "first": ("{width:9}", "{nope:1}", "{width:x}", "null", "3", "{color:GREEN}"),
                "first.width": ("7", "'7'", "x", "null"),
                "first.dropout": ("0.5", "1", "null", "x"),
                "first.nope": ("1",),
                "second": ("{width:9}", "null", "{}", "{nope:1}", "3"),
                "second.width": ("9",),
                "layers": ("[{width:1}]", "[]", "[{nope:1}]", "[1]", "null"),
                "layers.0": ("{width:1}", "null", "{nope:1}"),
                "layers.0.width": ("1", "x"),
                "layers.1.color": ("GREEN",),
                "table": ("{x:{width:1}}", "{y:{width:1}}", "{x:null}"),
                "table.x": ("{dropout:0.1}",),
                "table.x.dropout": ("0.1",),
                "nested.one": ("[5]", "[x]"),
                "nested.one.0": ("5", "x"),
                "untyped.k": ("{deep:[5]}", "5", "{new:1}"),
                "untyped.k.deep.1": ("{er:5}", "5"),
                "untyped.k.deep.1.er": ("5",),
                "reference": ("5", "x", "${.needed}"),
                "home": ("x", "${seed}"),
                "nope": ("1",),
            }.items()
            for value in values
        ),
        ("kinds={count:4,first:{width:4},numbers:[4]}",),
        ("kinds={count:x}",),
        # flags
        *each_alone(
            "flags.fixed.a=2", "flags.fixed={a:2}", "flags.fixed.inner.b=[3]", "flags.number=4"
        )
        + each_alone("flags.fixed.inner.b.0=3", "flags.fixed.new=1", "++flags.fixed.a=2")
        + each_alone("flags.open.a=2", "flags.open.new=2", "flags.open.inner.new.newer=2")
        + each_alone("flags.open={new:1}", "flags.open.a.b=1", "flags.open.inner={c:1}")
        + each_alone("flags.closed.new=1", "flags.closed.list.1.x=2", "flags.closed.list.1.y=2")
        + each_alone("schemas@flags=readonly", "schemas@flags=readonly_root", "schemas@flags=nope"),
        ("schemas@flags=readonly", "flags.seed=1"),
        ("schemas@flags=readonly_root", "seed=1"),
        ("schemas@flags=readonly_root", "hydra.job.name=x"),
        ("schemas@flags=readonly_root", "frozen.a=2"),
        # keys through lists, through references, through what has no keys
        *each_alone(
            "list.0=5", "list.3.1=5", "list.4.x=5", "list.4={x:5}", "list.4.y=5", "list.9=5"
        )
        + each_alone("list.x=5", "list.-1=5", "list.2={a:1}", "list.0={a:1}", "list.3=[7]")
        + each_alone("link.lr=5", "link.betas.0=5", "link.nope=5", "lr.x=5", "seed.x=5", "name.x=5")
        + each_alone(
            "nothing.x=5", "needed.x=5", "text.x=5", "kinds.count.x=5", "kinds.second.x.y=1"
        )
        + each_alone("numbers.1=uno", "numbers.2.5=x", "numbers.true=x", "numbers={1:uno}")
        + each_alone("optimizer.schedule.warmup=3", "optimizer.schedule.steps.1.at=3")
        + each_alone("optimizer.betas.0=0.5", "optimizer.betas=[0.5]", "optimizer.schedule=null"),
        # what does not exist, or is no override
        *each_alone(
            "nope=1", "plain.nope=1", "optimizer/nope=1", "nope@pkg=1", "plain@pkg=1", "seed"
        )
        + each_alone("=1", "plain..a=1", ".seed=1", "seed.=1", "a b=1", "seed =3", "SEED=1", "1=2")
        + each_alone("_self_=1", "defaults=[]", "+defaults=[a]", "model.defaults=1", "-seed=1"),
        # adding and deleting
        *each_alone("+new=1", "+new.a.b=1", "+plain.new=1", "+seed=2", "+plain={z:1}", "+list=[5]")
        + each_alone("++seed=2", "++new=1", "++plain.b.new=1", "++plain={z:1}", "+nothing=1")
        + each_alone("+needed=1", "+kinds.nope=1", "++kinds.count=x", "+kinds.weights.c=1")
        + each_alone("+kinds.weights.c=x", "++kinds.first.nope=1", "+list.5=1", "+name=3")
        + each_alone("~seed", "~seed=1", "~seed=2", "~plain.b", "~nope", "~plain.nope", "~list.0")
        + each_alone("~model", "~model=mlp", "~model=cnn", "~optimizer@second", "~callback", "~db")
        + each_alone("~kinds.count", "~kinds.weights.a", "~data/augment", "~nothing", "~plain.b=1")
        + each_alone("+model=cnn", "++model=cnn", "+model@m2=cnn", "+optimizer@third=typed")
        + each_alone("+callback=early", "+data/augment@x.y=flip", "+model/backbone=small"),
        # choices of groups
        *each_alone("model=cnn", "model=vit", "model=typed", "model=nope", "optimizer=sgd")
        + each_alone("optimizer@second=adam", "optimizer@nope=adam", "optimizer@second:third=adam")
        + each_alone("data/augment=flip", "db=vit_db", "db=${model}_db", "callback=early")
        + each_alone("callback=here", "callback=null", "model/backbone=large", "optimizer=typed")
        + each_alone("schemas@kinds=layer", "schemas@kinds=wide", "extra=nothing", "model=x,y"),
        ("model=cnn", "model/backbone=large"),
        ("model/backbone=large", "model=cnn"),
        ("model=cnn", "model.backbone.depth=50", "optimizer=adam"),
        ("model=cnn", "optimizer.momentum=0.5"),
        ("optimizer=adam", "model=cnn"),
        ("optimizer=sgd", "optimizer.momentum=0.5", "optimizer@second=adam", "second.lr=7"),
        ("model=vit", "epochs=3", "store.host=z", "model.part.depth=1"),
        ("model=vit", "model/backbone@model.part=small"),
        ("model=typed", "db=mlp_db"),
        ("model=typed", "db=mlp_db", "model.width=x"),
        ("model=typed", "db=mlp_db", "model.width='12'", "model.extra=5"),
        ("callback=here", "callback.deep.patience=3"),
        ("callback=early", "callbacks.early.patience=3"),
        ("callback=early", "callback=here"),
        ("schemas@kinds=layer", "kinds.width=3"),
        ("data/augment=flip", "data.augment.ops.1.kind=x", "data.augment.p=1"),
        # several keys: order, repetition, one within another
        ("seed=2", "epochs=3"),
        ("epochs=3", "seed=2"),
        ("seed=2", "seed=3"),
        ("seed=x", "seed=3", "seed=x"),
        ("kinds.count=x", "kinds.count=3"),
        ("model=cnn", "model=mlp"),
        ("model=nope", "model=mlp"),
        ("plain={a:5}", "plain.a=6"),
        ("plain.a=6", "plain={a:5}"),
        ("plain.b.c=6", "plain.b=null"),
        ("plain.b=null", "plain.b.c=6"),
        ("plain=3", "plain.a=4"),
        ("list=[1,2,3]", "list.2=5"),
        ("list.2=5", "list=[1]"),
        ("list=[1]", "list.2=5"),
        ("nothing={a:1}", "nothing.a=2"),
        ("nothing.a=2", "nothing={a:1}"),
        ("kinds.second={}", "kinds.second.width=3"),
        ("kinds.anything={a:1}", "kinds.anything.a=x"),
        ("kinds.weights={a:3}", "kinds.weights.b=x"),
        ("link.lr=5", "optimizer.lr=6"),
        ("optimizer.lr=6", "link.lr=5"),
        ("link={a:1}", "optimizer.lr=6"),
        ("link=${plain}", "link.a=7"),
        ("+new={a:1}", "new.a=2"),
        ("new.a=2", "+new={a:1}"),
        ("+new=1", "+new=2"),
        ("~plain", "+plain=1"),
        ("~plain", "plain.a=1"),
        ("~seed", "seed=1"),
        ("+seed=1", "seed=1"),
        ("seed=${epochs}", "epochs=5", "name=${seed}", "text='${name}!'"),
        ("name='a=b'", "text='x,y'", "seed=1"),
        ("seed=1", "hydra.job.config.override_dirname.exclude_keys=[seed]", "name=x"),
        ("optimizer@second=adam", "hydra.job.config.override_dirname.exclude_keys=[optimizer]"),
        ("hydra.job.name=a", "seed=2", "hydra.job.name=b"),
        ("hydra/launcher=basic", "seed=2", "model=cnn"),
        # Hydra's own
        *each_alone(*_HYDRA),
    ),
)

# A Hydra app without expkit: another job logging, directories with the time, required choices.
PLAIN = Tree(
    files=_SHARED
    | {
        "main.yaml": """
        # @package _global_
        defaults:
          - _self_
          - optimizer@opt: adam
          - optimizer: adam
          - model: ???
          - features@feats: [a, b]
          - model@other: cnn
          - schemas@_global_: layer
          - override hydra/job_logging: none
        seed: 1
        epochs: 2
        opt: {lr: 5, extra: 1}
        width: 9
        hydra:
          job: {name: mine, env_copy: [EXPKIT_TREE_HOME]}
          sweep: {dir: out, subdir: "${hydra.job.override_dirname}"}
        """,
        "features/a.yaml": "{one: 1, both: a}",
        "features/b.yaml": "{two: '${.one}', both: b}",
        "features/c.yaml": "{three: 3}",
    },
    config_name="main",
    arguments=("opt.lr=1,2", "hydra.job.name=given", "hydra.sweep.dir=${seed}/x"),
    groups={
        "model": ("mlp", "cnn", "vit"),
        "model@other": ("mlp", "cnn"),
        "optimizer@opt": ("adam", "sgd", "typed"),
        "features@feats": ("a", "[a,c]", "[c,b]", "[]"),
        "model/backbone@other.backbone": ("small", "large"),
        "schemas@_global_": ("layer", "wide"),
    },
    cases=(
        (),
        ("seed=2",),
        *(
            ("model=mlp", *more)
            for more in (
                (),
                ("opt.lr=7",),
                ("lr=7",),
                ("opt.schedule.kind=x", "seed=3"),
                ("optimizer@opt=sgd", "opt.momentum=1"),
                ("optimizer=sgd",),
                ("features@feats=[a,c]", "feats.three=4"),
                ("features@feats=[c,b]",),
                ("features@feats=c", "feats.one=1"),
                ("features@feats=[]",),
                ("features@feats=[nope]",),
                ("features=[c]",),
                ("width=3", "color=GREEN"),
                ("color=2",),
                ("schemas@_global_=wide", "extra=1"),
                ("model@other=mlp", "other.sub.a=5"),
                ("model/backbone@other.backbone=large",),
                ("opt={lr:1}", "opt.extra=x"),
                ("hydra.job.name=x",),
                ("hydra.sweep.subdir=y",),
                ("hydra.job.env_copy=[]",),
            )
        ),
        ("model=cnn",),
        ("model=vit",),
        ("seed=4", "model=mlp"),
    ),
)

# No file at all: the primary configuration is a data class.
PROGRAM = Tree(
    files={},
    config_name="program",
    arguments=("hydra/launcher=expkit", "seed=5"),
    groups={"schemas@kinds": ("kinds", "layer"), "schemas@layer": ("layer", "wide", "kinds")},
    cases=(
        (),
        *each_alone("seed=2", "seed=x", "seed='3'", "name=x", "kinds.count=3", "kinds.count=x")
        + each_alone("layer.width=3", "layer={width:4}", "layer.nope=3", "+layer.nope=3", "+new=1")
        + each_alone("schemas@layer=wide", "schemas@layer=kinds", "schemas@kinds=layer", "nope=1")
        + each_alone("layer.color=GREEN", "kinds=null", "layer=null", "hydra/launcher=basic"),
        ("schemas@layer=wide", "layer.extra=5", "seed=7"),
        ("kinds.first={width:3}", "kinds.first.width=4", "layer.dropout=0.25"),
    ),
)

# No configuration at all: everything is added.
NOTHING = Tree(
    files={},
    config_name=None,
    groups={"schemas": ("layer", "kinds")},
    cases=(
        (),
        *each_alone("+seed=1", "seed=1", "+schemas=layer", "schemas=layer", "hydra.job.name=x"),
        ("+seed=1", "seed=2"),
        ("+schemas=layer", "schemas.width=5"),
        ("+schemas=layer", "schemas.width=x"),
        ("+schemas@a.b=kinds", "a.b.numbers=[7]", "+c=${a.b.count}"),
    ),
)

TREES = {"rich": RICH, "plain": PLAIN, "program": PROGRAM, "nothing": NOTHING}


def override_lists(tree: Tree, master: DictConfig) -> st.SearchStrategy[Overrides]:
    """Overrides of keys that are there, seldom of others, and choices of the tree's groups."""
    existing = paths(master)
    own = [path for path in existing if not path.startswith("hydra")]
    hydras = [path for path in existing if path.startswith("hydra.") and "help" not in path]
    keys = st.one_of(
        st.sampled_from(own or ["nope"]),
        st.sampled_from(own or ["nope"]),
        st.sampled_from(hydras),
        st.tuples(st.sampled_from(own or ["nope"]), st.sampled_from(["x", "0", "new.er"])).map(
            ".".join
        ),
    )
    values = st.one_of(
        st.sampled_from(VALUES),
        st.integers(-(10**20), 10**20).map(str),
        st.floats().map(repr),
        st.text(max_size=6).map(_quoted),
        st.text("ab0. -_/:$%*\\", max_size=6),
    )
    marks = st.sampled_from([""] * 12 + ["+", "++", "~"])
    assignments = st.builds(lambda mark, key, value: f"{mark}{key}={value}", marks, keys, values)
    choices = [f"{group}={option}" for group, options in tree.groups.items() for option in options]
    common = [assignments, assignments, assignments]
    if choices:
        common += [st.sampled_from(choices)] * 2
    if tree.cases:
        common.append(st.sampled_from([line for case in tree.cases for line in case]))
    else:
        common.append(st.sampled_from(_HYDRA))
    return st.lists(st.one_of(common), min_size=1, max_size=4).map(tuple)


def _quoted(text: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text=text, quote=Quote.double).with_quotes()


# The type of a name is the same everywhere, so that most trees compose.
_LEAVES = {
    "lr": st.sampled_from([0.1, 1e-3, 1.0, float("inf"), float("nan")]),
    "name": st.sampled_from(["a", "b c", "1", "true", "", "a,b=c", "${seed}", "x_${seed}"]),
    "size": st.sampled_from([1, -2, 10**12, "${seed}", "???"]),
    "flag": st.booleans(),
    "none": st.none(),
    "items": st.sampled_from([[], [1, 2], ["a", None, [1.5]], [{"a": 1}, {"b": "${seed}"}]]),
    "sub": st.sampled_from([{}, {"a": 1}, {"a": 2, "b": {"c": [1]}}, {"d": "${..seed}"}]),
    "ref": st.sampled_from(["${seed}", "${.name}", "${..seed}", "${hydra:job.name}", "${nope}"]),
    "env": st.sampled_from(["${oc.env:EXPKIT_TREE_HOME}", "${oc.env:EXPKIT_NOT_SET,null}"]),
}
_GROUPS = ["model", "db", "data/set", "opt"]


@st.composite
def _bodies(draw: st.DrawFn) -> dict[str, object]:
    names = draw(st.lists(st.sampled_from(sorted(_LEAVES)), max_size=4, unique=True))
    body = {name: draw(_LEAVES[name]) for name in names}
    if draw(st.booleans()):
        body["inner"] = {"size": 1, "deep": {"name": draw(_LEAVES["name"])}}
    return body


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Groups with nested groups, packages, `override` entries and references among choices."""
    files: dict[str, str] = {}
    groups = draw(st.lists(st.sampled_from(_GROUPS), min_size=1, max_size=3, unique=True))
    options_by_group: dict[str, tuple[str, ...]] = {}
    entries: list[object] = []
    lasts: list[object] = []
    for group in groups:
        options = ("a", "b", "c")[: draw(st.integers(2, 3))]
        for option in options:
            defaults = draw(_defaults_within(group, groups, option))
            header = draw(st.sampled_from([None, None, None, "_global_", "_group_.x", "far.away"]))
            files[f"{group}/{option}.yaml"] = _file(draw(_bodies()), defaults, header)
        if draw(st.booleans()):
            for option in ("p", "q"):
                files[f"{group}/part/{option}.yaml"] = _file(draw(_bodies()), [], None)
        package = draw(st.sampled_from(["", "", "", f"@p.{group[0]}", "@_global_", "@_here_.y"]))
        first = draw(st.sampled_from([*options, None]))
        entries.append({f"{draw(st.sampled_from(['', '', 'optional ']))}{group}{package}": first})
        options_by_group[f"{group}{package}"] = options
        if draw(st.integers(0, 3)) == 0:
            entries.append({f"{group}@again.{group[0]}": options[0]})
            options_by_group[f"{group}@again.{group[0]}"] = options
    followed = groups[0]
    if draw(st.booleans()) and f"{followed}" in options_by_group:
        for option in options_by_group[followed]:
            files[f"after/{option}_x.yaml"] = _file(draw(_bodies()), [], None)
        entries.append({"after": "${" + followed.replace("/", ".") + "}_x"})
    if draw(st.booleans()):
        schema = draw(st.sampled_from(["kinds", "layer", "flagged", "readonly"]))
        entries.append({"schemas@typed": schema})
        options_by_group["schemas@typed"] = ("kinds", "layer", "wide")
    if draw(st.booleans()):
        entries.append({"optional gone": "nothing"})
    if draw(st.booleans()):
        entries.insert(0, "expkit")
    if draw(st.integers(0, 4)) > 0:
        entries.insert(draw(st.integers(0, len(entries))), "_self_")
    if draw(st.booleans()):
        lasts.append({"override hydra/job_logging": draw(st.sampled_from(["none", "disabled"]))})
    body = {"seed": 1, "epochs": 2} | draw(_bodies()) | {"sub": {"a": 0}}
    files["config.yaml"] = _file(body, [*entries, *lasts], None)
    arguments = draw(
        st.sampled_from([(), ("seed=3",), ("hydra.job.name=x", "hydra.sweep.subdir=s")])
    )
    return Tree(files, groups=options_by_group, arguments=arguments)


@st.composite
def _defaults_within(
    draw: st.DrawFn, group: str, groups: Sequence[str], option: str
) -> list[object]:
    """Usually none."""
    entries: list[object] = []
    if draw(st.integers(0, 2)) == 0:
        kind = draw(st.sampled_from(["part", "part@_here_", "part@in.side", "optional part"]))
        entries.append({kind: "p"})
    if draw(st.integers(0, 4)) == 0:
        entries.append({"/schemas@typed_here": "layer"})
    if option != "a" and draw(st.integers(0, 3)) == 0:
        entries.append("a")  # a file of the same group
    if draw(st.booleans()) and entries:
        entries.insert(draw(st.integers(0, len(entries))), "_self_")
    before = groups[: groups.index(group)]
    after = [other for other in groups if other not in (*before, group)]
    if after and draw(st.integers(0, 4)) == 0:
        entries.append({f"override /{draw(st.sampled_from(after))}": "b"})
    return entries


def _file(body: dict[str, object], defaults: list[object], header: str | None) -> str:
    content = ({"defaults": defaults} if defaults else {}) | body
    text = yaml.safe_dump(content, sort_keys=False)
    return f"# @package {header}\n{text}" if header is not None else text
