"""Values as plain data: one walk through them, and per kind of file a rule for what is not plain.

`saveable` has a walk of its own, as its data holds tensors and keeps tuples and sets apart.
"""

from __future__ import annotations

import enum
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from .saveable import MAX_DEPTH

# Numbers that strict JSON lacks, by the text that stands for them in all files.
SPECIAL_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class NotPlain(Exception):
    """A value that a rule does not turn into data."""


@dataclass(frozen=True)
class PlainRules:
    """What one kind of file makes of values.

    Attributes:
        as_is: Types whose values it holds unchanged. Floats that are not among them are kept if
            they are finite, and else become text.
        convert: Turns what is neither plain nor a container into what is; raises NotPlain.
        key: Turns a key that is not text into one of the file's; the path is for errors.
        refusal: The text of the error for a value that is not data, from its path and itself.
        text: Checks text, if str is not in `as_is`.
    """

    as_is: frozenset[type]
    convert: Callable[[object], object]
    key: Callable[[object, str], object]
    refusal: Callable[[str, object], str]
    text: Callable[[str, str], str] | None = None


def plain_data(value: object, path: str, rules: PlainRules, depth: int = 0) -> object:
    """Turn a value into plain data: lists and dicts that are new, and values that a file holds.

    Args:
        value: The value. OmegaConf's containers are resolved, tuples become lists, and values of
            classes made from str, int and float become those.
        path: What to call it in errors.
        rules: What the file makes of the rest.
        depth: How many containers it is in.

    Raises:
        TypeError: If it holds what is not data; the text names its path.
    """
    as_is = rules.as_is
    kind = type(value)
    if kind in as_is:
        return value
    if kind is float:
        return value if math.isfinite(value) else special_text(value)  # type: ignore[arg-type]
    if kind is str and rules.text is not None:
        return rules.text(value, path)  # type: ignore[arg-type]
    if depth > MAX_DEPTH:
        raise TypeError(f"{path[:120]}… holds itself or is nested too deeply to be saved.")
    if kind is not dict and kind is not list and _is_config(value):
        value = sys.modules["omegaconf"].OmegaConf.to_container(value, resolve=True)
    if isinstance(value, (dict, Mapping)):  # dict first, which costs less
        result = {}
        for key, part in value.items():
            name = key if type(key) is str else rules.key(key, path)
            if type(part) not in as_is:
                part = plain_data(part, _step(path, name), rules, depth + 1)
            result[name] = part
        return result
    if isinstance(value, (list, tuple)):
        return [
            part if type(part) in as_is else plain_data(part, f"{path}[{i}]", rules, depth + 1)
            for i, part in enumerate(value)
        ]
    try:
        converted = rules.convert(value)
    except NotPlain:
        for base in (str, int, float):
            if isinstance(value, base):
                plain = base.__str__(value) if base is str else base(value)
                return plain_data(plain, path, rules, depth)
        raise TypeError(rules.refusal(path or "It", value)) from None
    return plain_data(converted, path, rules, depth + 1)


def json_data(value: object, path: str = "") -> object:
    """Convert a value to data of strict JSON, alike on every machine.

    NaN and infinities become text, tuples lists, paths and bytes text, and enum members their
    names; numpy's numbers become Python's.

    Raises:
        TypeError: If a value or key is not data, with the path to it.

    Examples:
        >>> json_data({"sizes": (1, 2), "loss": math.nan, 0.5: None})
        {'sizes': [1, 2], 'loss': 'NaN', '0.5': None}
    """
    return plain_data(value, path, _JSON)


def special_text(value: float) -> str:
    """The text for NaN or an infinity."""
    if value != value:
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def without_numpy(value: object) -> object:
    """A Python value for an enum member or a number of numpy's.

    Raises:
        NotPlain: If it is neither.
    """
    if isinstance(value, enum.Enum):
        return value.name
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        item = value.item()  # type: ignore[attr-defined]
        if type(item) is not type(value):  # not numpy's long double
            return item
    raise NotPlain


def _json_value(value: object) -> object:
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, bytes):
        return value.hex()
    return without_numpy(value)


def _json_key(key: object, path: str) -> str:
    if isinstance(key, enum.Enum):
        return key.name
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, (bool, int, float)):
        return json.dumps(key)
    raise TypeError(
        f"{path or 'It'} has the key {key!r} of type {type(key).__name__}. "
        "Allowed keys: str, int, float, bool, enum."
    )


def _json_refusal(path: str, value: object) -> str:
    return (
        f"{path} is a {type(value).__name__}, which is not data: {value!r}. "
        "Allowed: None, bool, int, float, str, path, enum, list, tuple and mapping."
    )


_JSON = PlainRules(
    as_is=frozenset([str, int, bool, type(None)]),
    convert=_json_value,
    key=_json_key,
    refusal=_json_refusal,
)


def _is_config(value: object) -> bool:
    omegaconf = sys.modules.get("omegaconf")
    return omegaconf is not None and omegaconf.OmegaConf.is_config(value)


def _step(path: str, name: object) -> str:
    if not isinstance(name, str):
        return f"{path}[{name!r}]"
    return f"{path}.{name}" if path else name
