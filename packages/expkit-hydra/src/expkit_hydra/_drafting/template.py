"""Plain data, and the nodes in it that differ between runs.

Where nodes vary, plain references (`${a.b}`, `text-${a}`) are followed by hand, and OmegaConf
follows the others (resolvers, relative and nested references).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from .._composing.internals import (
    content_of,
    is_missing,
    is_reference,
    key_of,
    parent_of,
    raw_value,
)
from .._composing.overrides import KeyPath
from .._composing.plain_data import plain_key, plain_value
from .._grid.names import ABSENT, swept_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

Values = Mapping[KeyPath, object]  # of the keys that differ between runs, as their nodes hold them
Reader = Callable[[Values], object]  # reads a value by hand; KeyError: only OmegaConf can
_TOKEN = re.compile(
    r"\$\{(?:(?P<key>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"
    r"|hydra:(?P<hydra>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"
    r"|(?:oc\.env|now):[^${}\\]*)\}"
)


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is the same for all runs."""

    value: object


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value: `reader` reads it by hand, None where only OmegaConf can; `read` asks OmegaConf."""

    reader: Reader | None
    read: Callable[[], object]


@dataclass(frozen=True, slots=True)
class VaryingNode:
    """A node that differs between runs."""

    path: tuple[str | int, ...]
    reader: Reader | None
    node: Any  # a function that gives it, if a run's own value is there
    key: KeyPath | None  # under which a run's own value is found


@dataclass(frozen=True)
class Template:
    """Plain data, and the nodes in it that differ between runs."""

    static: dict[str, object]
    varying: tuple[VaryingNode, ...]

    def fill(
        self,
        raw: Values,
        plain: Values,
        lend: Callable[[], AbstractContextManager[object]],
        extra: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> dict[str, object]:
        """The data of one run: what it shares with others is not copied.

        Args:
            raw: The run's own values, as references read them.
            plain: The same as plain data.
            lend: Lets the base be the run's configuration.
            extra: Entered as well while OmegaConf is asked.
        """
        filled: dict[tuple[str | int, ...], object] = {}
        unread = []
        for varying in self.varying:
            if varying.key is not None and varying.key in plain:
                filled[varying.path] = plain[varying.key]
                continue
            try:
                filled[varying.path] = plain_value(read_with(varying.reader, raw))
            except KeyError:
                unread.append(varying)
        if unread:
            with lend(), extra():
                for varying in unread:
                    node = varying.node() if varying.key is not None else varying.node
                    filled[varying.path] = plain_value(node)
        data = dict(self.static)
        copied: dict[tuple[str | int, ...], Any] = {(): data}
        for path, value in filled.items():
            owner: Any = data
            for depth, part in enumerate(path[:-1], start=1):
                inner = copied.get(path[:depth])
                if inner is None:
                    inner = copied[path[:depth]] = owner[part].copy()
                    owner[part] = inner
                owner = inner
            owner[path[-1]] = value
        return data


def read_with(reader: Reader | None, raw: Values) -> object:
    """Read a value by hand.

    Raises:
        KeyError: If only OmegaConf can.
    """
    if reader is None:
        raise KeyError
    return reader(raw)


class Resolution:
    """Works out what in a configuration differs between runs that set some of its keys."""

    def __init__(self, config: DictConfig, own: frozenset[KeyPath]) -> None:
        self._config = config
        self._own = own
        self._above = {path[:depth] for path in own for depth in range(len(path))}
        self._varying: dict[KeyPath, bool] = {}
        self._following: set[KeyPath] = set()

    def template(self) -> Template:
        """The configuration as plain data, without Hydra's node."""
        varying: list[VaryingNode] = []
        static = {
            plain_key(key): self._plain(node, (plain_key(key),), varying)
            for key, node in content_of(self._config).items()
            if key != "hydra"
        }
        return Template(static, tuple(varying))

    def of_swept_key(self, key: str) -> Constant | KeyPath:
        """The value of a swept key, or the path under which a run's own value is found.

        The value is `ABSENT` where the configuration has none.
        """
        path = tuple(key.partition("@")[0].split("."))
        if key in self._config.hydra.runtime.choices or not self.varies(path):
            return Constant(swept_values(self._config, [key]).get(key, ABSENT))
        return path

    def leaf(self, path: KeyPath) -> Leaf:
        """The value under a path."""
        from omegaconf.errors import OmegaConfBaseException

        def read() -> object:
            owner: Any = self._config
            for key in path[:-1]:
                owner = owner[key]
            return owner[path[-1]]

        if not self.varies(path):
            try:
                value = read()
            except OmegaConfBaseException:  # raised again for a run, which names it
                return Leaf(None, read)
            return Leaf(lambda _: value, read)
        return Leaf(self._follow(path), read)

    def varies(self, path: KeyPath) -> bool:
        """Whether what is under a path may differ between the runs."""
        if path not in self._varying:
            self._varying[path] = True  # OmegaConf refuses what refers to itself
            self._varying[path] = self._may_vary(path)
        return self._varying[path]

    def _may_vary(self, path: KeyPath) -> bool:
        if path in self._above or any(path[: len(own)] == own for own in self._own):
            return True
        node: Any = self._config
        for key in path:
            content = content_of(node)
            if not isinstance(content, dict):
                return True
            if key not in content:
                return False
            node = content[key]
        return self._node_varies(node, path)

    def _node_varies(self, node: Any, path: tuple[str | int, ...]) -> bool:
        if is_reference(node):
            return self._text_varies(str(raw_value(node)))
        content = content_of(node)
        if isinstance(content, dict):
            return any(self._node_varies(child, (*path, key)) for key, child in content.items())
        if isinstance(content, list):
            return any(self._node_varies(child, (*path, i)) for i, child in enumerate(content))
        return False

    def _text_varies(self, text: str) -> bool:
        if "\\" in text or "${" in _TOKEN.sub("", text):
            return True
        for token in _TOKEN.finditer(text):
            if token["key"] and self.varies(tuple(token["key"].split("."))):
                return True
            if token["hydra"] and self.varies(("hydra", *token["hydra"].split("."))):
                return True
        return False

    def _plain(self, node: Any, path: tuple[str | int, ...], varying: list[VaryingNode]) -> object:
        """Plain data of what is the same for all runs; None in place of a node that varies.

        Not `plain_value`, which resolves: here it is to be seen which nodes would differ.
        """
        if path in self._own:
            key = tuple(map(str, path))
            owner: Any = content_of(parent_of(node))
            last = key_of(node)
            varying.append(VaryingNode(path, self._follow(key), lambda: owner[last], key))
            return None
        if is_reference(node):
            if self._text_varies(str(raw_value(node))):
                varying.append(VaryingNode(path, self._reader(node), node, None))
                return None
            return plain_value(node)
        content = content_of(node)
        if isinstance(content, dict):
            return {
                plain_key(key): self._plain(child, (*path, plain_key(key)), varying)
                for key, child in content.items()
            }
        if isinstance(content, list):
            return [self._plain(child, (*path, i), varying) for i, child in enumerate(content)]
        return plain_value(node)

    def _follow(self, path: KeyPath) -> Reader | None:
        """What reads the value under a path by hand."""
        if path in self._own:
            return lambda values: values[path]
        below_own = any(path[:depth] in self._own for depth in range(len(path)))
        if below_own or path in self._following:  # OmegaConf follows it, or refuses a circle
            return None
        node: Any = self._config
        for key in path:
            content = content_of(node)
            if not isinstance(content, dict) or key not in content:
                return None
            node = content[key]
        self._following.add(path)
        try:
            return self._reader(node)
        finally:
            self._following.remove(path)

    def _reader(self, node: Any) -> Reader | None:
        from omegaconf import AnyNode, StringNode, ValueNode

        if not isinstance(node, ValueNode) or is_missing(node):
            return None
        if not is_reference(node):
            value = raw_value(node)
            return lambda _: value
        # A typed node would convert what it refers to.
        text = str(raw_value(node))
        if type(node) not in (AnyNode, StringNode) or "\\" in text:
            return None
        parts: list[str | Reader] = []
        end = 0
        for token in _TOKEN.finditer(text):
            parts.append(text[end : token.start()])
            end = token.end()
            path = tuple(token["key"].split(".")) if token["key"] else None
            reader = self._follow(path) if path else None
            if reader is None:
                return None
            parts.append(reader)
        parts.append(text[end:])
        if any("${" in part for part in parts if isinstance(part, str)):
            return None
        filled = [part for part in parts if part != ""]
        if len(filled) == 1 and callable(filled[0]):
            return filled[0] if type(node) is AnyNode else _as_text(filled[0])
        return lambda values: "".join(
            [part if isinstance(part, str) else str(part(values)) for part in filled]
        )


def _as_text(reader: Reader) -> Reader:
    """What a node of type text makes of another's value."""

    def read(values: Values) -> object:
        value = reader(values)
        if value is None:  # only OmegaConf can say whether the node may be None
            raise KeyError
        return str(value)

    return read
