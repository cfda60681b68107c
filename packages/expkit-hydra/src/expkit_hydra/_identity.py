"""What a configuration is: plain data for rules, and a hash that is the same on every machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from ._hydra_state import answers_of_one_run, current_config
from ._internals import content_of, is_reference, raw_value, referent, resolvers
from ._overrides import overlap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig
    from omegaconf.base import Node

# They say where results go and how the kit behaves; a run is the same run whatever they are.
NO_PART_OF_IDENTITY = frozenset(
    [
        "hydra",
        "_filters",
        "plotting",
        "results_dir",
        "experiment_id",
        "run_name",
        "expkit",
        "mlflow",
    ]
)
_DATA = frozenset([str, int, float, bool, type(None)])
# Their values depend on the machine or the time, except the choices of groups in Hydra's.
VOLATILE_RESOLVERS = ("oc.env", "now", "hydra")
_CHOICES = "runtime.choices"


@dataclass(frozen=True)
class Identity:
    """A configuration as data."""

    data: Mapping[str, object]  # resolved, without Hydra's node
    config_hash: str


def identify(config: DictConfig, *, swept: Sequence[str] = ()) -> Identity:
    """Resolve a composed configuration and hash it.

    Args:
        config: As Hydra composed it; it is not changed.
        swept: Keys that the grid sweeps: they count even where `expkit.ignore` names them.
    """
    with current_config(config):
        data = plain_mapping(config)
        stable = data
        if mentions_volatile(config):
            with answers_of_one_run(config), resolvers_as_text():
                stable = plain_mapping(config)
    return Identity(data=data, config_hash=hash_of(stable, data, swept=swept))


def hash_of(
    stable: Mapping[str, object], data: Mapping[str, object], *, swept: Sequence[str]
) -> str:
    """The hash of a configuration.

    Args:
        stable: Its data, where what depends on the machine or the time is left as text.
        data: Its data as it is.
        swept: Keys that the grid sweeps.
    """
    from expkit_bookkeeping import config_hash

    kept = {key: value for key, value in stable.items() if key not in NO_PART_OF_IDENTITY}
    for key in ignored_keys(data, swept):
        _drop(kept, key.split("."))
    return config_hash(kept)


def ignored_keys(data: Mapping[str, object], swept: Sequence[str]) -> Sequence[str]:
    """Keys that do not make a run another run: those in `expkit.ignore`, unless they are swept.

    Args:
        data: A configuration.
        swept: Keys that the grid sweeps. A key below or above one of them counts as swept.
    """
    expkit = data.get("expkit")
    ignored = expkit.get("ignore") if isinstance(expkit, Mapping) else None
    if not isinstance(ignored, Iterable) or isinstance(ignored, str):
        return ()
    return _without_swept(tuple(map(str, ignored)), tuple(swept))


@lru_cache
def _without_swept(ignored: tuple[str, ...], swept: tuple[str, ...]) -> tuple[str, ...]:
    paths = [key.partition("@")[0] for key in swept]
    return tuple(key for key in ignored if not any(overlap([key, path]) for path in paths))


def write_config(config: DictConfig, folder: Path) -> None:
    """Write the run's `config.yaml`: the configuration resolved, without Hydra's node.

    `Bookkeeping` writes the same; this serves scripts that do not use it, so that a later grid
    can say key by key what has changed.
    """
    import yaml

    from expkit_bookkeeping import write_file

    with current_config(config):
        data = plain_mapping(config)
    folder.mkdir(parents=True, exist_ok=True)
    dumper = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper
    text = yaml.dump(data, sort_keys=False, allow_unicode=True, Dumper=dumper)
    # Without waiting for the disk: the grid's files hold the same.
    write_file(folder / "config.yaml", text, durable=False, sync_parent=False)


def read_config(folder: Path) -> dict[str, object] | None:
    """The configuration that a run folder holds; None if it holds none that can be read."""
    import yaml

    for name in ("config.yaml", ".hydra/config.yaml"):
        try:
            loaded = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if isinstance(loaded, dict):
            return loaded
    return None


def plain_value(value: object) -> object:
    """A node or value of a configuration as plain data, references resolved.

    What cannot be resolved stays as written: a key that is missing while sweeping
    (`hydra.job.num`), or one that only some runs have, is no reason to stop.
    """
    if type(value) in _DATA:
        return value

    from omegaconf import Container
    from omegaconf.base import Node
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(value, Node):
        if is_reference(value):
            try:
                resolved = referent(value)
            except OmegaConfBaseException:
                return str(raw_value(value))
            return plain_value(resolved) if resolved is not value else str(raw_value(value))
        if isinstance(value, Container):
            content = content_of(value)
            if isinstance(content, dict):
                return {plain_key(key): plain_value(node) for key, node in content.items()}
            if isinstance(content, list):
                return [plain_value(node) for node in content]
            plain: object = content
            return plain
        return plain_value(raw_value(value))
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {plain_key(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return _text_of_object(value)


def _text_of_object(value: object) -> str:
    """Text for an object that a resolver returned, such as a function: alike in every process."""
    name = getattr(value, "__qualname__", None)
    if isinstance(name, str):
        return f"{getattr(value, '__module__', None)}.{name}"
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))


def plain_text(config: DictConfig) -> dict[str, object]:
    """A configuration as plain data, with its references as they are written."""
    from omegaconf import OmegaConf

    written = plain_value(OmegaConf.to_container(config, resolve=False))
    assert isinstance(written, dict)
    return written


def plain_mapping(config: DictConfig) -> dict[str, object]:
    nodes = content_of(config).items()
    return {plain_key(key): plain_value(node) for key, node in nodes if key != "hydra"}


def plain_key(key: object) -> str:
    return key.name if isinstance(key, Enum) else str(key)


def _drop(data: dict[str, object], path: list[str]) -> None:
    """Remove a dotted key; the mappings on the way are copied, since the rules still read them."""
    key, *rest = path
    if key not in data:
        return
    if not rest:
        del data[key]
        return
    inner = data[key]
    if isinstance(inner, Mapping):
        copied = dict(inner)
        _drop(copied, rest)
        data[key] = copied


def mentions_volatile(config: DictConfig) -> bool:
    """Whether anything outside Hydra's node depends on the machine, the time or Hydra."""
    return is_volatile(node for key, node in content_of(config).items() if key != "hydra")


def is_volatile(nodes: Iterable[Node]) -> bool:
    """Whether anything in these nodes does."""
    from omegaconf import Container

    stack = list(nodes)
    while stack:
        node = stack.pop()
        if is_reference(node):
            text = str(raw_value(node))
            if any(f"{name}:" in text for name in VOLATILE_RESOLVERS):
                return True
        elif isinstance(node, Container):
            content = content_of(node)
            if isinstance(content, dict):
                stack.extend(content.values())
            elif isinstance(content, list):
                stack.extend(content)
    return False


@contextmanager
def resolvers_as_text() -> Iterator[None]:
    """Let volatile resolvers return the text of their call, for the length of a block."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    def text(name: str, *args: object) -> object:
        if name == "hydra" and str(args[0]).startswith(f"{_CHOICES}."):
            current: Any = HydraConfig.instance().cfg
            choice = current and OmegaConf.select(current, f"hydra.{args[0]}")
            if choice is not None:
                return choice
        # Without `${`, which OmegaConf would take for another reference.
        return f"$({name}:{','.join(map(str, args))})"

    table = resolvers()
    before = dict(table)
    for name in VOLATILE_RESOLVERS:
        OmegaConf.register_new_resolver(
            name, lambda *args, _name=name: text(_name, *args), replace=True, use_cache=False
        )
    try:
        yield
    finally:
        table.clear()
        table.update(before)
