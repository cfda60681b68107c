"""Structured configurations of the trees; a module that can be imported, as a user's can."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import II, MISSING, OmegaConf


class Color(Enum):
    """Values of both kinds: OmegaConf knows names and numbers."""

    RED = 1
    GREEN = "green"


@dataclass
class Layer:
    width: int = 64
    color: Color = Color.RED
    dropout: float | None = None


@dataclass
class Wide(Layer):
    width: int = 4096
    extra: str = "wide"


@dataclass
class Kinds:
    """One field of each kind that OmegaConf knows."""

    count: int = 1
    ratio: float = 0.5
    switch: bool = False
    text: str = "text"
    blob: bytes = b"\x00\xff"
    path: Path = Path("data/set")
    color: Color = Color.GREEN
    anything: Any = None
    needed: int = MISSING
    maybe_count: int | None = None
    maybe_color: Color | None = Color.RED
    maybe_path: Path | None = None
    numbers: list[int] = field(default_factory=lambda: [1, 2])
    maybe_numbers: list[int] | None = None
    weights: dict[str, float] = field(default_factory=lambda: {"a": 1.0, "b": 2.5})
    by_color: dict[Color, int] = field(default_factory=lambda: {Color.RED: 3})
    by_number: dict[int, str] = field(default_factory=lambda: {1: "one"})
    pair: tuple[int, int] = (1, 8)
    scale: int | float = 2
    maybe_scale: bool | str | None = None
    first: Layer = field(default_factory=Layer)
    second: Layer | None = None
    layers: list[Layer] = field(default_factory=lambda: [Layer(width=8), Layer()])
    table: dict[str, Layer] = field(default_factory=lambda: {"x": Layer(dropout=0.5)})
    nested: dict[str, list[int]] = field(default_factory=lambda: {"one": [1]})
    untyped: dict[str, Any] = field(default_factory=lambda: {"k": {"deep": [1, {"er": 2}]}})
    reference: int = II(".count")
    home: str = "${oc.env:EXPKIT_TREE_HOME}/data"
    alias: str | None = "${nothing}"


@dataclass
class Program:
    """A primary configuration without a file."""

    defaults: list[Any] = field(
        default_factory=lambda: ["_self_", {"schemas@kinds": "kinds"}, {"schemas@layer": "layer"}]
    )
    seed: int = 1
    name: str = "${hydra:job.name}_${seed}"
    kinds: Any = MISSING
    layer: Layer = MISSING


def store() -> None:
    """Fill the ConfigStore; `schemas` is a group that any tree may use."""
    store = ConfigStore.instance()
    store.store(group="schemas", name="kinds", node=Kinds)
    store.store(group="schemas", name="layer", node=Layer)
    store.store(group="schemas", name="wide", node=Wide)
    flagged = OmegaConf.create(
        {
            "fixed": {"a": 1, "inner": {"b": [1, 2]}},
            "open": {"a": 1, "inner": {"b": 2}},
            "closed": {"a": 1, "list": [1, {"x": 1}]},
            "number": 3,
        }
    )
    OmegaConf.set_readonly(flagged.fixed, True)
    OmegaConf.set_struct(flagged.open, False)
    OmegaConf.set_struct(flagged.closed, True)
    store.store(group="schemas", name="flagged", node=flagged)
    readonly = OmegaConf.create({"seed": 5, "frozen": {"a": 1}})
    OmegaConf.set_readonly(readonly, True)
    store.store(group="schemas", name="readonly", node=readonly)
    store.store(group="schemas", name="readonly_root", node=readonly, package="_global_")
    store.store(name="program", node=Program)
    store.store(group="model", name="typed", node=Wide)
