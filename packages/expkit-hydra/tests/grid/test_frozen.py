"""A frozen configuration is the one that Hydra composed, types included."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import omegaconf
import pytest
from hydra.core.config_store import ConfigStore
from hydra.types import RunMode
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import Container, OmegaConf, UnionNode, open_dict, read_write
from omegaconf.base import Node

from expkit_bookkeeping.launching import SECRET_KEYS
from expkit_hydra import Grid
from expkit_hydra._grid.node_records import NodeDecoder, NodeEncoder
from expkit_hydra._grid.secrets import secret_nodes

HAS_NEWER_TYPES = hasattr(omegaconf, "TupleConfig")


def assert_same(left: Node, right: Node) -> None:
    """Equal in classes, types, flags, keys and raw values, all the way down."""
    assert type(left) is type(right)
    for name in ("ref_type", "object_type", "optional", "key", "flags_root"):
        assert getattr(left._metadata, name) == getattr(right._metadata, name), name
    # A flag that is not set and one that is set to None mean the same.
    assert _set_flags(left) == _set_flags(right)
    if isinstance(left, Container | UnionNode):
        a, b = left.__dict__["_content"], right.__dict__["_content"]
        if isinstance(left, Container):
            assert left._metadata.key_type == right._metadata.key_type
            assert left._metadata.element_type == right._metadata.element_type
        assert type(a) is type(b)
        if isinstance(a, dict):
            assert list(a) == list(b)
            for key in a:
                assert a[key]._get_parent() is left
                assert_same(a[key], b[key])
        elif isinstance(a, list):
            assert len(a) == len(b)
            for one, other in zip(a, b, strict=True):
                assert_same(one, other)
        elif isinstance(a, Node):
            assert_same(a, b)
        else:
            assert a == b
    else:
        assert type(left._value()) is type(right._value())
        assert repr(left._value()) == repr(right._value())  # NaN is not equal to itself
        assert left.__dict__.get("enum_type") is right.__dict__.get("enum_type")
        assert left.__dict__.get("ref_type") == right.__dict__.get("ref_type")


def _set_flags(node: Node) -> dict[str, bool]:
    return {key: flag for key, flag in (node._metadata.flags or {}).items() if flag is not None}


class Records:
    """Records of nodes by number, as a grid's file holds them."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.types: dict[str, object] = {}

    def store(self, config: Any) -> int:
        return NodeEncoder(self._keep, self.types).store(config)

    def load(self, number: int, types: dict[str, object] | None = None) -> Any:
        return NodeDecoder(lambda number: json.loads(self.texts[number]), types or {}).load(
            number, None
        )

    def _keep(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)


def thaw(config: Any) -> Any:
    records = Records()
    return records.load(records.store(config))


# The test's module has no name that an import finds (pytest's importlib mode), so these live
# where a user's do: in a module beside the script.
SCHEMA = """
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Optional, Tuple, Union

from omegaconf import MISSING


class Activation(Enum):
    RELU = 1
    GELU = "gelu"


@dataclass
class Layer:
    width: int = 64
    activation: Activation = Activation.RELU
    dropout: Optional[float] = None


@dataclass
class Schema:
    seed: int = 1
    model: Any = None
    optimizer: Any = None
    name: str = MISSING
    path: Path = Path("data")
    other: Optional[Path] = None
    first: Layer = field(default_factory=Layer)
    second: Optional[Layer] = None
    layers: list[Layer] = field(default_factory=lambda: [Layer(width=8)])
    table: dict[str, Layer] = field(default_factory=lambda: {"a": Layer(dropout=0.5)})
    by_activation: dict[Activation, int] = field(default_factory=lambda: {Activation.GELU: 3})
    by_number: dict[float, str] = field(default_factory=lambda: {0.5: "half", 2.0: "two"})
    by_index: dict[int, Layer] = field(default_factory=lambda: {3: Layer()})
    by_answer: dict[bool, Path] = field(default_factory=lambda: {True: Path("yes")})
    shape: tuple[int, int] = (1, 8)
    betas: Tuple[float, int] = (0.9, 3)
    blob: bytes = b"\\x00\\xff"
    scale: Union[int, float] = 2
    limit: float = float("inf")
    anything: Any = None
    reference: int = "${seed}"
    home: str = "${oc.env:HOME}/data"
"""


NEWER_TYPES = """

from typing import Literal


@dataclass
class NewerTypes:
    mode: Literal["min", "max", 3, True, Activation.RELU] = "max"
    either: Union[dict[str, int], list[Path]] = field(default_factory=lambda: [Path("x")])
    layer: Union[Layer, int] = field(default_factory=Layer)
    widths: tuple[Layer, ...] = field(default_factory=lambda: (Layer(1), Layer(2)))
    nested: Optional[tuple[Activation, tuple[str, Optional[int]]]] = (Activation.GELU, ("a", None))
    missing: tuple[int, int] = MISSING
    reference: tuple[int, ...] = "${other}"
    other: tuple[int, ...] = ()
    no_tuple: Optional[tuple[int, ...]] = None
    question: str = r"\\???"
    union: Union[str, int] = "${mode}"
"""


@pytest.fixture
def schema(tmp_path, monkeypatch):
    import importlib
    import sys

    (tmp_path / "schema_of_test.py").write_text(SCHEMA + NEWER_TYPES * HAS_NEWER_TYPES)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    module = importlib.import_module("schema_of_test")
    yield module
    del sys.modules["schema_of_test"]


def test_every_type_of_a_structured_configuration_is_kept(schema):
    config = OmegaConf.structured(schema.Schema)
    OmegaConf.set_struct(config, True)
    OmegaConf.set_readonly(config.first, True)
    config.second = schema.Layer(activation=schema.Activation.GELU)
    config.anything = {"nested": [1, None, "${seed}", Path("x"), float("nan")], 3: True}

    assert_same(thaw(config), config)


@pytest.mark.skipif(not HAS_NEWER_TYPES, reason="OmegaConf has these types since 2.4")
def test_types_of_newer_versions_are_kept(schema):
    config = OmegaConf.structured(schema.NewerTypes)
    config.merge_with({"either": {"a": 1}})
    frozen = thaw(config)

    assert_same(frozen, config)
    assert frozen.question == "???"
    assert OmegaConf.to_object(config.widths) == OmegaConf.to_object(frozen.widths)
    with pytest.raises(Exception, match="expected one of"):
        frozen.mode = "mean"


@pytest.mark.parametrize(
    "path", ["seed", "first.activation", "layers", "table.a", "by_activation", "scale"]
)
def test_a_thawed_configuration_still_checks_types(schema, path):
    config = thaw(OmegaConf.structured(schema.Schema))

    with pytest.raises(Exception, match=r"(?i)convert|incompatible|invalid|assign|type"):
        OmegaConf.update(config, path, "no such value")


def test_a_thawed_configuration_converts_to_the_same_objects(schema):
    config = OmegaConf.structured(schema.Schema(name="x"))

    assert OmegaConf.to_object(thaw(config)) == OmegaConf.to_object(config)


def test_interpolations_are_resolved_where_the_run_is(schema, monkeypatch):
    config = thaw(OmegaConf.structured(schema.Schema))
    monkeypatch.setenv("HOME", "/node7")

    assert config.home == "/node7/data"


def test_equal_parts_are_stored_once(app):
    app.sweep("seed=range(50)", "_filters=[]")
    grid = app.grid()
    sizes = [len(line) for line in (grid.path / "configs.jsonl").read_text().splitlines()]

    # 200 lines for runs, and the records of four bases, most of which are Hydra's and shared.
    assert len(sizes) < 200 + 150
    assert max(sizes[-100:]) < 500
    assert [grid.config(index).seed for index in (0, 50, 99)] == [0, 0, 49]


def test_a_run_is_read_without_the_others(app):
    app.sweep("_filters=[]")
    grid = app.grid()
    expected = grid.config(7)
    lines = (grid.path / "configs.jsonl").read_text().splitlines(keepends=True)
    damaged = [
        "x" * (len(line) - 1) + "\n"
        if line.startswith('{"run":') and '"run":7,' not in line
        else line
        for line in lines
    ]
    assert damaged != lines
    (grid.path / "configs.jsonl").write_text("".join(damaged))

    assert_same(app.grid().config(7), expected)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text().filter(lambda s: "$" not in s),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(min_size=1, max_size=5), plain, max_size=5))
def test_any_data_comes_back_as_it_was(data):
    config = OmegaConf.create(data)

    assert_same(thaw(config), config)


def test_objects_are_refused_with_what_to_do_instead():
    config = OmegaConf.create({"thing": None}, flags={"allow_objects": True})
    config.thing = object()

    with pytest.raises(TypeError, match="A object in the configuration cannot be written"):
        thaw(config)


@dataclass
class Local:
    x: int = 1


def test_a_class_that_cannot_be_imported_is_named(schema):
    @dataclass
    class Inner:
        x: int = 1

    records = Records()
    number = records.store(OmegaConf.structured(Inner))

    assert records.load(number, records.types).x == 1  # in this process the class is known
    with pytest.raises(LookupError, match=r"Inner.*cannot be imported here(.|\n)*top level"):
        records.load(number)


@pytest.mark.parametrize("name", ["os:system", "subprocess:Popen", "builtins:eval"])
def test_a_file_cannot_name_anything_but_data_classes(name):
    records = Records()
    records.texts.append(json.dumps({"kind": "dict", "object": name, "content": []}))

    with pytest.raises(LookupError, match=r"is no (data )?class"):
        records.load(0)


def test_a_grid_freezes_what_hydra_composes(app, schema):
    ConfigStore.instance().store(name="schema", node=schema.Schema)
    app.write(
        "conf/config.yaml",
        """
        defaults: [expkit, schema, model: mlp, optimizer: adam, _self_]
        experiment_id: exp_${hydra:job.name}
        name: n
        first: {width: 3}
        expkit: {after: []}
        """,
    )
    seen = []
    app.task = lambda cfg: seen.append(type(cfg.path)) or None

    app.sweep("model=mlp,cnn", "first.activation=RELU,GELU", "scale=1.5", "~optimizer")

    grid = Grid.load(app.folder / "results" / "exp_train")
    assert [run.run_name for run in grid.runs] == ["mlp_RELU", "mlp_GELU", "cnn_RELU", "cnn_GELU"]
    with app.running() as hydra:
        master = hydra.compose_config(
            "config",
            ["model=mlp,cnn", "first.activation=RELU,GELU", "scale=1.5", "~optimizer"],
            _multirun(),
        )
        for run in grid.runs:
            composed = hydra.config_loader.load_sweep_config(master, list(run.overrides))
            with read_write(composed), open_dict(composed):
                composed.experiment_id, composed.run_name = "exp_train", run.run_name
            assert_same(grid.config(run.index), composed)
            assert OmegaConf.get_type(grid.config(run.index), "first") is schema.Layer
    assert len(seen) == 4


def _multirun() -> Any:

    return RunMode.MULTIRUN


def test_editing_the_configuration_changes_nothing_that_is_frozen(app):
    app.sweep("seed=1", "model=cnn", "optimizer.lr=0.1")
    grid = app.grid()
    app.write("conf/model/cnn.yaml", "name: other\n")

    assert grid.config(0).model.name == "cnn"


def test_a_run_that_a_rule_skips_has_no_configuration(app):
    app.sweep("seed=1")

    skipped = next(run for run in app.grid().runs if run.skipped_by)
    with pytest.raises(KeyError, match=f"no configuration for run {skipped.index}"):
        app.grid().config(skipped.index)


@dataclass
class Server:
    password: str | int = "hunter2"


def test_a_secret_in_a_union_is_concealed():
    config = copy.deepcopy(OmegaConf.structured(Server))  # what the union holds has no key then
    concealed = []

    NodeEncoder(lambda text: 0, {}, lambda key, text: concealed.append((key, text))).store(config)

    assert concealed == [("password", "hunter2")]
    assert [node.text for node in secret_nodes(config, SECRET_KEYS)] == ["hunter2"]
