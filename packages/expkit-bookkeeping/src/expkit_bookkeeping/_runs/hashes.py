"""Canonical JSON, and the identity of a configuration."""

import enum
import json
from collections.abc import Mapping
from pathlib import PurePath


def config_hash(config: Mapping[str, object]) -> str:
    """Hash a configuration: sha256 of its canonical JSON.

    Keys are sorted, floats are written by `repr`, tuples count as lists, paths as text, and enum
    members as their names. So `0.001` and `1e-3` are the same, and `1` and `1.0` are not.

    Args:
        config: Resolved configuration of plain data.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: If a value or key is not data, with the path to it.

    >>> config_hash({"a": 1, "b": {"lr": 1e-3}}) == config_hash({"b": {"lr": 0.001}, "a": 1})
    True
    """
    if not isinstance(config, Mapping):
        raise TypeError(f"A configuration is a mapping, not {type(config).__name__}: {config!r}")
    import hashlib

    text = json.dumps(
        canonical(config, ""), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def canonical(value: object, path: str) -> object:
    """Convert a value to JSON data; `path` names it in errors."""
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[repr(float(value))]
        return float(value)
    if isinstance(value, Mapping):
        return {_key(key, path): canonical(item, _join(path, key)) for key, item in value.items()}
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)) or type(value).__name__ == "ListConfig":
        items = list(value)  # type: ignore[call-overload]
        return [canonical(item, f"{path}[{index}]") for index, item in enumerate(items)]
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return canonical(value.item(), path)  # type: ignore[attr-defined]
    raise TypeError(
        f"{path or 'It'} is a {type(value).__name__}, which is not data: "
        f"{value!r}. Allowed: None, bool, int, float, str, path, enum, list, tuple and mapping."
    )


def _key(key: object, path: str) -> str:
    if isinstance(key, enum.Enum):
        return key.name
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (bool, int, float)):
        return json.dumps(key)
    raise TypeError(
        f"{path or 'It'} has the key {key!r} of type {type(key).__name__}. "
        "Allowed keys: str, int, float, bool, enum."
    )


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
