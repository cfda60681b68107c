"""References whose values depend on the machine, the time or Hydra."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .internals import content_of, is_reference, raw_value, resolvers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig
    from omegaconf.base import Node

# Their values depend on the machine or the time, except the choices of groups in Hydra's.
VOLATILE_RESOLVERS = ("oc.env", "now", "hydra")
_CHOICES = "runtime.choices"


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
