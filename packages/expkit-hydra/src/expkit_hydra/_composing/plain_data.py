"""Configurations as plain data.

Not bookkeeping's walk: it reads OmegaConf's nodes without their checks, several times as fast,
keeps what cannot be resolved as it is written, and makes text of what resolvers return.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath

from .internals import content_of, is_reference, raw_value, referent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig
    from omegaconf.base import Node

_DATA = frozenset([str, int, float, bool, type(None)])


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


def plain_written(node: Node) -> object:
    """A node as plain data, with its references as they are written."""
    from omegaconf import OmegaConf

    if isinstance(content_of(node), dict | list):
        return plain_value(OmegaConf.to_container(node, resolve=False))
    return plain_value(raw_value(node))


def plain_text(config: DictConfig) -> dict[str, object]:
    """A configuration as plain data, with its references as they are written."""
    written = plain_written(config)
    assert isinstance(written, dict)
    return written


def plain_mapping(config: DictConfig) -> dict[str, object]:
    """A configuration as plain data, resolved, without Hydra's node."""
    nodes = content_of(config).items()
    return {plain_key(key): plain_value(node) for key, node in nodes if key != "hydra"}


def plain_key(key: object) -> str:
    """A key as plain data has it."""
    return key.name if isinstance(key, Enum) else str(key)
