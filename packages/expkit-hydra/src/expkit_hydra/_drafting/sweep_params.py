"""`hydra.sweeper.params` as data: which lists are swept, and what belongs to each run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._composing.internals import content_of, is_reference, raw_value, referent
from .._composing.nodes import node_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class ReferringText:
    """A text with references: as it is written, and as it reads in the sweep's configuration."""

    text: str
    resolved: object


def sweep_params(config: DictConfig) -> object:
    """The params of a sweep as `expand` takes them.

    References to lists and mappings are followed: what they hold is swept. In a value they stay,
    as they do on the command line: `["${lr}", 7]` is the learning rate of each run.

    Args:
        config: The sweep's configuration.
    """
    node = _followed(node_at(config, "hydra.sweeper.params"))
    content = None if node is None else content_of(node)
    return [_block(item) for item in content] if isinstance(content, list) else _block(node)


def _block(node: Any) -> object:
    node = _followed(node)
    content = None if node is None else content_of(node)
    if not isinstance(content, dict):
        return None if node is None else _written(node)
    return {key: _value(item) for key, item in content.items()}


def _value(node: Any) -> object:
    target = _followed(node)
    if target is node or isinstance(content_of(target), dict | list):
        return _written(target)
    return ReferringText(raw_value(node), raw_value(target))


def _written(node: Any) -> object:
    """A node as plain data, with the references in it as they are written."""
    from omegaconf import OmegaConf

    if isinstance(content_of(node), dict | list):
        return OmegaConf.to_container(node, resolve=False)
    return raw_value(node)


def _followed(node: Any) -> Any:
    return referent(node) if node is not None and is_reference(node) else node
