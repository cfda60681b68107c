"""Finding nodes in a configuration, references as they are, and classes of stored ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .internals import content_of, is_reference, metadata_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig


def holds_reference(node: Any) -> bool:
    """Whether a node is a reference, or has one anywhere below it."""
    content = content_of(node)
    if isinstance(content, dict | list):
        return any(map(holds_reference, content.values() if isinstance(content, dict) else content))
    return is_reference(node)


def references_below(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The references at a node and below it, each with its dotted key.

    Args:
        node: The node; None has none.
        path: Its own key.
    """
    if node is None:
        return
    content = content_of(node)
    if isinstance(content, dict | list):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        for key, child in pairs:
            yield from references_below(child, f"{path}.{key}" if path else str(key))
    elif is_reference(node):
        yield path, node


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


def stored_class_name(wanted: type) -> str | None:
    """Where Hydra's ConfigStore has a class, for classes that are made at run time.

    Those of hydra-zen's `make_config` and `builds` are in no module. A program stores them again
    wherever it runs.

    Returns:
        Such as `store:model/mlp.yaml:layers`; None if no stored node has the class.
    """
    return next((name for name, kind in _stored_classes() if kind is wanted), None)


def stored_class(name: str) -> type | None:
    """The class at the place that `stored_class_name` returned; None if there is none."""
    return next((kind for other, kind in _stored_classes() if other == name), None)


def _stored_classes() -> Iterator[tuple[str, type]]:
    from hydra.core.config_store import ConfigNode, ConfigStore

    waiting: list[tuple[str, Any]] = [("", ConfigStore.instance().repo)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{place}/{key}", entry) for key, entry in value.items()]
        elif isinstance(value, ConfigNode):
            yield from _classes_below(f"store:{place.lstrip('/')}", value.node)


def _classes_below(place: str, node: Any) -> Iterator[tuple[str, type]]:
    kind = metadata_of(node).object_type
    if isinstance(kind, type):
        yield place, kind
    content = content_of(node)
    for key, child in content.items() if isinstance(content, dict) else ():
        yield from _classes_below(f"{place}:{key}", child)
