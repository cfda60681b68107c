"""Configurations as OmegaConf writes them to YAML, faster.

Not bookkeeping's writer: these are Hydra's own files, with paths and references as Hydra has them.
"""

from __future__ import annotations

from enum import Enum
from functools import cache, partial
from typing import Any

from expkit_bookkeeping.launching import (
    MASK,
    override_secrets,
    public_config,
    public_override,
    secret_values,
)

from .._composing.internals import content_of, is_node, raw_value, yaml_dumper
from .._grid.secrets import patterns_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig


def to_yaml(config: Any) -> str:
    """The text that `OmegaConf.to_yaml` makes."""
    return _dump(as_written(config))


def hydra_yaml(hidden: DictConfig) -> str:
    """The text of Hydra's node, which is the same for all runs except for a few keys."""
    text = "hydra:\n"
    for key, value in as_written(hidden)["hydra"].items():
        part = (key, repr(value))
        if part not in _parts:
            if len(_parts) > MOST_PARTS:
                _parts.clear()
            # With its parents, so that lines are broken in the same places.
            _parts[part] = _dump({"hydra": {key: value}}).removeprefix("hydra:\n")
        text += _parts[part]
    return text


MOST_PARTS = 500
_parts: dict[tuple[str, str], str] = {}


def _dump(data: object) -> str:
    import yaml

    dump = partial(yaml.dump, default_flow_style=False, allow_unicode=True, sort_keys=False)
    try:
        return str(dump(data, Dumper=_dumper()))
    except UnicodeEncodeError:  # half of a character, as in a path that is not UTF-8
        return str(dump(data, Dumper=yaml_dumper()))


@cache
def _dumper() -> Any:
    """OmegaConf's dumper, with libyaml if it is installed."""
    import yaml

    dumper = yaml_dumper()
    if not yaml.__with_libyaml__:
        return dumper
    fast: Any = type("Dumper", (yaml.CDumper,), {})
    fast.yaml_representers = dumper.yaml_representers
    return fast


def without_hydra(config: Any) -> dict[str, Any]:
    """A configuration as it is written, without Hydra's node."""
    return {key: value for key, value in as_written(config).items() if key != "hydra"}


def public_yaml(config: Any) -> str:
    """The text that `OmegaConf.to_yaml` makes, without secrets."""
    return _dump(public_tree(config))


def public_files(config: Any) -> dict[str, str]:
    """What Hydra writes into a run's `.hydra`, without secrets: texts by the files' names."""
    tree = public_tree(config)
    hydra = tree.pop("hydra")
    return {
        "config.yaml": _dump(tree),
        "hydra.yaml": _dump({"hydra": hydra}),
        "overrides.yaml": _dump(hydra["overrides"]["task"]),
    }


def public_tree(config: Any) -> dict[str, Any]:
    """A configuration as it is written, Hydra's node included, without secrets."""
    patterns = patterns_of(config)
    written = as_written(config)
    hydra = written.get("hydra") or {}
    lists = hydra.get("overrides") or {}
    texts = [str(text) for part in lists.values() for text in part or ()]
    values = secret_values(written, patterns)
    for text in texts:
        values |= override_secrets(text, patterns)

    def public(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: public(part) for key, part in value.items()}
        if isinstance(value, list):
            return [public(part) for part in value]
        if isinstance(value, str):
            value = public_override(value, patterns)
            for secret in sorted(values, key=len, reverse=True):
                value = value.replace(secret, MASK)
        return value

    tree = public_config({key: part for key, part in written.items() if key != "hydra"}, patterns)
    if hydra:
        tree["hydra"] = public(public_config(hydra, patterns))
    return tree


def as_written(node: Any) -> Any:
    """`OmegaConf.to_container(node, enum_to_str=True)` without asking each node for its flags."""
    content = content_of(node)
    if isinstance(content, dict):
        return {_name(key): as_written(child) for key, child in content.items()}
    if isinstance(content, list):
        return [as_written(child) for child in content]
    value = raw_value(node)
    # A union holds a node of one of its types.
    return as_written(value) if is_node(value) else _name(value)


def _name(value: object) -> object:
    return value.name if isinstance(value, Enum) else value
