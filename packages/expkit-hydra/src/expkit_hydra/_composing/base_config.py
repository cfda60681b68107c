"""A configuration that many runs share, and the nodes that a run's own values put into it.

What an override of a value changes is worked out once per base, by Hydra's own function, and
kept as a `NodePatch`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from .global_state import answers_of_one_run, current_config
from .internals import (
    apply_override,
    content_of,
    is_missing,
    raw_value,
    set_parent,
    set_raw_value,
)
from .nodes import container, holds_reference, is_real, merges_into_reference
from .overrides import KeyPath
from .plain_data import plain_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig
    from omegaconf.base import Node


@dataclass(frozen=True, eq=False)
class NodePatch:
    """What one override of a value changes in a base: the node that it puts under a key.

    Attributes:
        path: The key.
        node: The node.
        is_leaf: Whether it is a single value and no reference.
        value: That value, else None.
        is_constant: Whether it is data without any reference.
        plain: That data, else None.
    """

    path: KeyPath
    node: Node
    is_leaf: bool = False
    value: object = None
    is_constant: bool = False
    plain: object = None


def _patch(path: KeyPath, node: Node) -> NodePatch:
    from omegaconf import ValueNode

    constant = not holds_reference(node)
    is_leaf = constant and isinstance(node, ValueNode) and not is_missing(node)
    return NodePatch(
        path,
        node,
        is_leaf=is_leaf,
        value=raw_value(node) if is_leaf else None,
        is_constant=constant,
        plain=plain_value(node) if constant else None,
    )


def _with_value(example: NodePatch, value: object) -> NodePatch:
    """The patch for another value of a type that the node takes as it is."""
    node = copy.copy(example.node)
    set_raw_value(node, value)
    return replace(example, node=node, value=value, plain=value)


def _is_special(value: object) -> bool:
    return isinstance(value, str) and ("${" in value or value == "???")


def _is_same(kept: object, value: object) -> bool:
    """Whether a node kept a value unconverted, as it then does with every value of that type."""
    return type(kept) in (int, float, bool, str) and type(kept) is type(value) and kept == value


class BaseConfig:
    """A configuration as Hydra composed it, before the plain values of single runs."""

    def __init__(self, config: DictConfig, overrides: tuple[str, ...]) -> None:
        self.config = config
        self.overrides = overrides
        self.shapes: dict[tuple[KeyPath, ...], object] = {}  # what its runs have in common
        # Whether runs may put values into it; None: not decided yet.
        self.takes_values: bool | None = None
        self._patches: dict[str, NodePatch | None] = {}
        self._examples: dict[tuple[str, type], NodePatch] = {}

    @contextmanager
    def lent(self, patches: Iterable[NodePatch], also: Iterable[KeyPath] = ()) -> Iterator[None]:
        """Let the base hold a run's nodes for the length of a block.

        Args:
            patches: The run's own nodes.
            also: Paths of nodes that the block will change.
        """
        nodes = [(patch.path, patch.node) for patch in patches]
        saved = []
        with current_config(self.config), answers_of_one_run(self.config):
            try:
                for path, node in [*nodes, *((path, None) for path in also)]:
                    parent = container(self.config, path[:-1])
                    assert parent is not None
                    content = content_of(parent)
                    saved.append((content, path[-1], content[path[-1]]))
                    content[path[-1]] = copy.deepcopy(content[path[-1]]) if node is None else node
                yield
            finally:
                for content, key, original in reversed(saved):
                    content[key] = original

    def patch(self, text: str, override: Override) -> NodePatch | None:
        """What an override changes in this base; None if only Hydra can say.

        Args:
            text: The override, under which the answer is kept.
            override: The same, parsed.
        """
        if text not in self._patches:
            value = override.value()
            example = self._examples.get((override.key_or_group, type(value)))
            if example is not None and not _is_special(value):
                self._patches[text] = _with_value(example, value)
                return self._patches[text]
            patch = self._apply(tuple(override.key_or_group.split(".")), override)
            self._patches[text] = patch
            if patch is not None and patch.is_leaf and _is_same(patch.value, value):
                self._examples[override.key_or_group, type(value)] = patch
        return self._patches[text]

    def _apply(self, path: KeyPath, override: Override) -> NodePatch | None:
        from omegaconf import Container

        parent = container(self.config, path[:-1])
        content = {} if parent is None else content_of(parent)
        if path[-1] not in content:
            return None
        original = content[path[-1]]
        if isinstance(original, Container) and not is_real(original):
            return None  # a reference to another mapping, into which Hydra may merge
        if merges_into_reference(original, override.value()):
            return None  # what the reference leads to depends on the run's other values
        content[path[-1]] = copy.deepcopy(original)
        try:
            apply_override(override, self.config)
            return _patch(path, content[path[-1]])
        except Exception:
            return None  # Hydra is asked for the whole run, and says why it refuses
        finally:
            content[path[-1]] = original


def put(config: DictConfig, patches: Iterable[NodePatch]) -> None:
    """Put copies of a run's own nodes into a configuration."""
    for patch in patches:
        parent = container(config, patch.path[:-1])
        assert parent is not None
        node = copy.deepcopy(patch.node)
        set_parent(node, parent)
        content_of(parent)[patch.path[-1]] = node
