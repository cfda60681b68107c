"""Finding nodes in a configuration, references as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .internals import content_of, is_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig


def holds_reference(node: Any) -> bool:
    """Whether a node is a reference, or has one anywhere below it."""
    content = content_of(node)
    if isinstance(content, dict | list):
        return any(map(holds_reference, content.values() if isinstance(content, dict) else content))
    return is_reference(node)


def container(config: DictConfig, path: Iterable[str]) -> DictConfig | None:
    """The mapping under a path of keys, none of which is a reference or missing."""
    from omegaconf import DictConfig

    node: Any = config
    for key in (None, *path):
        if key is not None:
            node = content_of(node).get(key)
        if not isinstance(node, DictConfig) or not is_real(node):
            return None
    mapping: DictConfig = node
    return mapping


def is_real(node: Any) -> bool:
    """Whether a container holds nodes: it is neither a reference nor None nor missing."""
    return isinstance(content_of(node), dict | list)


def node_at(config: DictConfig, key: str) -> Any:
    """The node under a dotted key, its references as they are; None where there is none."""
    *_, last = nodes_to(config, key)
    return last


def crosses_reference(config: DictConfig, key: str) -> bool:
    """Whether a dotted key leads through a reference."""
    return any(node is not None and is_reference(node) for node in nodes_to(config, key)[:-1])


def nodes_to(config: DictConfig, key: str) -> list[Any]:
    """The nodes on the way to a dotted key, the key's own last; None for each that is missing."""
    nodes: list[Any] = [config]
    for part in key.split("."):
        content = None if nodes[-1] is None else content_of(nodes[-1])
        if isinstance(content, dict):
            nodes.append(content.get(part))
        elif isinstance(content, list) and part.isdecimal() and int(part) < len(content):
            nodes.append(content[int(part)])
        else:
            nodes.append(None)
    return nodes


def merges_into_reference(node: Any, value: object) -> bool:
    """Whether a mapping would be merged into the target of a reference, at a node or below it."""
    if node is None or not isinstance(value, dict):
        return False
    if is_reference(node):
        return True
    content = content_of(node)
    return isinstance(content, dict) and any(
        merges_into_reference(content.get(key), part) for key, part in value.items()
    )
