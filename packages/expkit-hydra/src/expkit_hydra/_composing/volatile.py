"""References whose values depend on the machine, the time or Hydra."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .internals import content_of, is_reference, raw_value, register_resolver, resolvers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig
    from omegaconf.base import Node

# Hydra's since 1.4, which know the run's overrides from Hydra's node.
_OVERRIDE_DIRNAMES = ("hydra_override_dirname", "hydra_deprecated_override_dirname")
# Their values depend on the machine or the time, except the choices of groups in Hydra's.
VOLATILE_RESOLVERS = ("oc.env", "now", "hydra", *_OVERRIDE_DIRNAMES)
_CHOICES = "runtime.choices"


def mentions_volatile(config: DictConfig) -> bool:
    """Whether anything outside Hydra's node depends on the machine, the time or Hydra."""
    return is_volatile(node for key, node in content_of(config).items() if key != "hydra")


def is_volatile(nodes: Iterable[Node]) -> bool:
    """Whether anything in these nodes does."""
    stack = list(nodes)
    while stack:
        node = stack.pop()
        content = content_of(node)
        if isinstance(content, dict | list):
            stack.extend(content.values() if isinstance(content, dict) else content)
        elif is_reference(node):
            text = str(raw_value(node))
            if any(f"{name}:" in text for name in VOLATILE_RESOLVERS):
                return True
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
        register_resolver(name, functools.partial(text, name), replace=True)
    try:
        yield
    finally:
        table.clear()
        table.update(before)
