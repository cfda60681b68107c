"""Nodes of a configuration as JSON: types, flags and references kept, no pickle.

Each container is a record of its own that refers to others by number; the keeper of the
records chooses the numbers.
"""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path, PurePath
from types import GenericAlias, UnionType

from .._composing.internals import (
    blank_box,
    container_classes,
    content_of,
    enum_type_of,
    escaped_missing,
    in_union,
    is_escaped_missing,
    key_of,
    metadata_classes,
    metadata_of,
    node_class,
    raw_value,
    set_content,
    value_node,
)
from .._composing.nodes import stored_class, stored_class_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf.base import Node

Types = dict[str, object]  # classes by name, for those that no import finds


class NodeEncoder:
    """Turns nodes into records.

    Args:
        keep: Takes the text of a record and returns the number that refers to it.
        types: Takes the classes that the nodes have, by name.
        conceal: Takes a key and a text, and returns the number of a text that is kept elsewhere.
    """

    def __init__(
        self,
        keep: Callable[[str], int],
        types: Types,
        conceal: Callable[[object, str], int | None] = lambda key, text: None,
    ) -> None:
        self._keep = keep
        self._types = types
        self._conceal = conceal
        self._containers = container_classes()

    def store(self, node: Node) -> int:
        """Keep a container and all below it as it is, nothing resolved; returns its number."""
        content = content_of(node)
        kind = next(kind for kind, cls in self._containers.items() if isinstance(node, cls))
        record: dict[str, object] = {"kind": kind}
        record |= self._encode_metadata(node, any_type=typing.Any)
        if isinstance(content, dict):
            record["content"] = [
                [self._encode_value(key), self.child(child)] for key, child in content.items()
            ]
        elif isinstance(content, list):
            record["content"] = [self.child(child) for child in content]
        else:  # None, ??? or a reference
            record["special"] = content
        return self._keep(json.dumps(record, separators=(",", ":"), allow_nan=False))

    def child(self, node: Node, key: object = None) -> object:
        """A container's number, or a value: in a list if nothing but the value is special.

        Args:
            node: The container, or the node of a value.
            key: Under which it is, if not under the node's own.
        """
        from omegaconf import AnyNode, Container, UnionNode

        if isinstance(node, Container):
            return self.store(node)
        if isinstance(node, UnionNode):
            held = in_union(node)
            inner = (
                content_of(node)
                if held is node
                else {"node": self.child(held, key_of(node)), "has_key": key_of(held) is not None}
            )
            return {"type": "UnionNode", "value": inner} | self._encode_metadata(node)
        value = self._encode_value(raw_value(node))
        if isinstance(value, str):
            number = self._conceal(key_of(node) if key is None else key, value)
            value = value if number is None else {"secret": number}
        metadata = self._encode_metadata(node, any_type=typing.Any)
        if type(node) is AnyNode and not metadata:
            return [value]
        leaf: dict[str, object] = {"type": type(node).__name__, "value": value} | metadata
        enum_type = enum_type_of(node)
        if enum_type is not None:
            leaf["enum"] = self._encode_type(enum_type)
        return leaf

    def _encode_metadata(self, node: Node, any_type: object = None) -> dict[str, object]:
        """What differs from an untyped optional node without flags."""
        metadata = metadata_of(node)
        entries: dict[str, object] = {}
        if metadata.ref_type is not any_type:
            entries["ref"] = self._encode_type(metadata.ref_type)
        if metadata.object_type is not None:
            entries["object"] = self._encode_type(metadata.object_type)
        if not metadata.optional:
            entries["required"] = True
        if metadata.flags:
            entries["flags"] = metadata.flags
        if metadata.flags_root:
            entries["flags_root"] = True
        for name in ("key_type", "element_type"):
            hint = getattr(metadata, name, typing.Any)
            if hint is not typing.Any:
                entries[name] = self._encode_type(hint)
        return entries

    def _encode_value(self, value: object) -> object:
        if isinstance(value, Enum):
            return {"enum": self._encode_type(type(value)), "name": value.name}
        if is_escaped_missing(value):
            return {"escaped": str(value)}
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            finite = value == value and abs(value) != float("inf")
            return value if finite else {"float": repr(value)}
        if isinstance(value, bytes):
            return {"bytes": value.hex()}
        if isinstance(value, PurePath):
            return {"path": str(value)}
        # Objects need the flag allow_objects, and nothing but a pickle could hold them.
        raise TypeError(
            f"A {type(value).__name__} in the configuration cannot be written to a grid's files. "
            "Use numbers, text, bytes, paths, enums, lists and mappings, and let the run build "
            "the object."
        )

    def _encode_type(self, hint: object) -> object:
        if hint is typing.Any:
            return "any"
        if hint is None or hint is type(None):
            return "none"
        if hint is Ellipsis:
            return "..."
        if isinstance(hint, GenericAlias):
            return {"of": self._encode_type(hint.__origin__), "args": self._encode_types(hint)}
        if isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union:
            kind = "|" if isinstance(hint, UnionType) else "union"
            return {kind: self._encode_types(hint)}
        if typing.get_origin(hint) is typing.Literal:
            return {"literal": [self._encode_value(value) for value in typing.get_args(hint)]}
        if typing.get_origin(hint) is not None or type(hint).__module__ == "typing":
            name = getattr(hint, "_name", None) or getattr(hint, "__name__", str(hint))
            return {"typing": name, "args": self._encode_types(hint)}
        if not isinstance(hint, type):
            raise TypeError(f"The type hint {hint!r} cannot be written to a grid's files.")
        # Python 3.13 calls it pathlib._local, which other versions cannot import.
        module = "pathlib" if hint.__module__.startswith("pathlib.") else hint.__module__
        name = f"{module}:{hint.__qualname__}"
        if self._types.get(name) is not hint:
            if name in self._types or not _is_in_module(hint, module):
                name = stored_class_name(hint) or name
            self._types[name] = hint
        return name

    def _encode_types(self, hint: object) -> list[object]:
        return [self._encode_type(argument) for argument in typing.get_args(hint)]


class NodeDecoder:
    """Turns records into nodes.

    Args:
        record: Returns the record with a number.
        types: Classes by name, besides those that can be imported.
        secret: Returns the text with a number that is kept elsewhere.
    """

    def __init__(
        self,
        record: Callable[[int], dict[str, typing.Any]],
        types: Types,
        secret: Callable[[int], str] = str,
    ) -> None:
        self._record = record
        self._secret = secret
        self._types = types
        self._containers = container_classes()
        self._container_metadata, self._metadata = metadata_classes()

    def load(self, number: int, parent: Node | None, key: object = None) -> Node:
        """The container kept under a number, and all below it.

        Raises:
            LookupError: If a class of a structured configuration cannot be imported, or if the
                installed OmegaConf is too old for it.
        """
        record = self._record(number)
        kind = record["kind"]
        if kind not in self._containers:
            raise LookupError(
                f"The configuration has a {kind} with types of its own, which the OmegaConf that "
                "is installed here does not know: it was frozen with version 2.4 or newer."
            )
        metadata = self._decode_metadata(record, key, container=True)
        node = blank_box(self._containers[kind], metadata, parent)
        if "special" in record:
            content = record["special"]
        elif kind == "dict":
            content = {}
            for encoded, child in record["content"]:
                name = self._decode_value(encoded)
                content[name] = self.load_child(child, node, name)
        else:
            content = [
                self.load_child(child, node, position)
                for position, child in enumerate(record["content"])
            ]
        set_content(node, content)
        return node

    def load_child(self, child: object, parent: Node, key: object) -> Node:
        """The node that `NodeEncoder.child` encoded."""
        if isinstance(child, int):
            return self.load(child, parent, key)
        if isinstance(child, list):
            child = {"type": "AnyNode", "value": child[0]}
        leaf = typing.cast("dict[str, typing.Any]", child)
        kind = node_class(leaf["type"])
        if leaf["type"] == "UnionNode":
            metadata = self._decode_metadata(leaf, key, any_type=None)
            node = blank_box(kind, metadata, parent)
            inner = leaf["value"]
            if isinstance(inner, dict):
                # Its child has the union's key or, after OmegaConf has copied it, none.
                inner = self.load_child(inner["node"], node, key if inner["has_key"] else None)
            set_content(node, inner)
            return node
        metadata = self._decode_metadata(leaf, key)
        enum_type = self._decode_type(leaf["enum"]) if "enum" in leaf else None
        value = self._decode_value(leaf["value"])
        return value_node(kind, metadata, parent, value, enum_type)

    def _decode_metadata(
        self,
        record: Mapping[str, typing.Any],
        key: object,
        *,
        container: bool = False,
        any_type: object = typing.Any,
    ) -> object:
        fields: dict[str, typing.Any] = {
            "ref_type": self._decode_type(record["ref"]) if "ref" in record else any_type,
            "object_type": self._decode_type(record["object"]) if "object" in record else None,
            "optional": not record.get("required", False),
            "key": key,
            "flags": dict(record.get("flags", {})),
            "flags_root": record.get("flags_root", False),
        }
        if not container:
            return self._metadata(**fields)
        for name in ("key_type", "element_type"):
            fields[name] = self._decode_type(record[name]) if name in record else typing.Any
        return self._container_metadata(**fields)

    def _decode_value(self, value: object) -> object:
        if not isinstance(value, dict):
            return value
        if "enum" in value:
            return getattr(self._decode_type(value["enum"]), value["name"])
        if "float" in value:
            return float(value["float"])
        if "escaped" in value:
            return escaped_missing(value["escaped"])
        if "secret" in value:
            return self._secret(value["secret"])
        if "bytes" in value:
            return bytes.fromhex(value["bytes"])
        return Path(value["path"])

    def _decode_type(self, text: object) -> typing.Any:
        if isinstance(text, str):
            if text in _SPECIAL:
                return _SPECIAL[text]
            if text not in self._types:
                self._types[text] = _find_class(text)
            return self._types[text]
        record = typing.cast("dict[str, typing.Any]", text)
        if "of" in record:
            return self._decode_type(record["of"])[self._decode_types(record["args"])]
        if "literal" in record:
            return typing.Literal[tuple(map(self._decode_value, record["literal"]))]
        if "union" in record:
            return typing.Union[self._decode_types(record["union"])]  # noqa: UP007
        if "|" in record:
            first, *others = self._decode_types(record["|"])
            for other in others:
                first = first | other
            return first
        generic = getattr(typing, record["typing"])
        return generic[self._decode_types(record["args"])] if record["args"] else generic

    def _decode_types(self, texts: list[object]) -> tuple[typing.Any, ...]:
        return tuple(self._decode_type(text) for text in texts)


_SPECIAL: dict[str, object] = {"any": typing.Any, "none": type(None), "...": Ellipsis}


def _is_in_module(kind: type, module: str) -> bool:
    value: object = sys.modules.get(module)
    for part in kind.__qualname__.split("."):
        value = getattr(value, part, None)
    return value is kind


def _find_class(name: str) -> type:
    """The class named `module:qualified.name`; only data classes, enums and builtins."""
    module_name, _, path = name.partition(":")
    value: object = stored_class(name) if module_name == "store" else None
    try:
        if value is None:
            value = import_module(module_name)
            for part in path.split("."):
                value = getattr(value, part)
    except (ImportError, AttributeError) as error:
        raise LookupError(
            f"The configuration has the type {name!r}, which cannot be imported here ({error}). "
            "Classes of structured configurations must live at the top level of a module that "
            "every process of the grid can import, or in Hydra's ConfigStore before the app starts."
        ) from error
    if not isinstance(value, type):
        raise LookupError(f"{name!r} in a frozen configuration is no class.")
    harmless = module_name in ("builtins", "pathlib") or issubclass(value, Enum)
    if not (harmless or is_dataclass(value) or hasattr(value, "__attrs_attrs__")):
        raise LookupError(f"{name!r} in a frozen configuration is no data class and no enum.")
    return value
