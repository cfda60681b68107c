"""Values as JSON that is read back with their types: tuples stay tuples, NaN stays a float.

What JSON lacks is an object with one key, which begins with `$`; docs/formats.md lists them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

MOST_LEVELS = 100  # of lists in lists; Python's own reader gives up at about a thousand
_FLOATS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_LARGEST = 2**63  # what other readers of JSON still read exactly, and Python without a limit


def to_tagged(value: object) -> object:
    """A value as data that `json.dumps` writes and `from_tagged` reads back, equal and as typed.

    Args:
        value: None, bool, int, float or str, in lists, tuples and dicts of any depth up to 100.
            Scalars of numpy and torch become Python's numbers.

    Raises:
        TypeError: If a value is anything else, also a subclass of these; the text says where.

    Examples:
        >>> to_tagged({"losses": (0.5, float("nan"))})
        {'losses': {'$tuple': [0.5, {'$float': 'NaN'}]}}
    """
    return _to_tagged(value, "", MOST_LEVELS)


def from_tagged(data: object) -> object:
    """The value that `to_tagged` was given.

    Raises:
        ValueError: If the data is not of its making, or of a newer version's.

    Examples:
        >>> from_tagged({"$tuple": [1, 2]})
        (1, 2)
    """
    if isinstance(data, list):
        return [from_tagged(item) for item in data]
    if not isinstance(data, Mapping):
        return data
    if not any(key.startswith("$") for key in data):
        return {key: from_tagged(item) for key, item in data.items()}
    try:
        ((tag, content),) = data.items()
        return _READERS[tag](content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise ValueError(f"This is no tagged JSON that expkit knows: {data!r:.200}") from None


def _to_tagged(value: Any, path: str, levels: int) -> object:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if -_LARGEST <= value < _LARGEST else {"$int": hex(value)}
    if kind is float:
        special = _FLOATS.get(repr(value))
        return value if special is None else {"$float": special}
    if kind is str:
        return _text(value)
    if kind in (list, tuple, dict) and levels == 0:
        raise TypeError(f"{path} lies in more than {MOST_LEVELS} lists or dicts.")
    if kind is list or kind is tuple:
        items = [
            _to_tagged(item, f"{path}[{number}]", levels - 1) for number, item in enumerate(value)
        ]
        return items if kind is list else {"$tuple": items}
    if kind is dict:
        return _mapping(value, path, levels - 1)
    number = _scalar(value)
    if number is not None:
        return _to_tagged(number, path, levels)
    raise TypeError(
        f"{path or 'It'} is a {kind.__module__}.{kind.__qualname__}: {_shown(value)}. Allowed: "
        "None, bool, int, float and str, in lists, tuples and dicts, and scalars of numpy and "
        "torch."
    )


def _text(value: str) -> object:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a character, as in the name of a file that is no UTF-8
        return {"$str": value.encode("utf-8", "surrogatepass").hex()}
    return value


def _mapping(value: Mapping[object, object], path: str, levels: int) -> object:
    pairs = []
    for key, item in value.items():
        name = key if type(key) is str else _shown(key)
        tagged = _to_tagged(key, f"The key {name} of {path or 'it'}", levels)
        pairs.append([tagged, _to_tagged(item, f"{path}.{name}" if path else name, levels)])
    if all(type(key) is str and not key.startswith("$") for key, _ in pairs):
        return dict(pairs)  # type: ignore[arg-type]
    return {"$dict": pairs}


def _shown(value: object) -> str:
    import reprlib

    try:
        return reprlib.repr(value)
    except Exception:  # its own, or Python's for an int of more than 4300 digits
        return f"a {type(value).__name__}"


def _scalar(value: Any) -> bool | int | float | None:
    """The number that a scalar of numpy or torch holds; None for anything else."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        if value.ndim != 0 or value.dtype.kind not in "biuf":
            return None
        number = value.item()
        return number if isinstance(number, (bool, int)) else float(number)
    if torch is not None and isinstance(value, torch.Tensor):
        if value.ndim != 0 or value.is_complex() or value.is_meta:
            return None
        scalar: bool | int | float = value.item()
        return scalar
    return None


def _items(content: object) -> list[Any]:
    if not isinstance(content, list):
        raise TypeError
    return content


def _read_tuple(content: object) -> tuple[object, ...]:
    return tuple(map(from_tagged, _items(content)))


def _read_dict(content: object) -> dict[object, object]:
    return {from_tagged(key): from_tagged(item) for key, item in _items(content)}


def _read_float(content: str) -> float:
    return {name: float(text) for text, name in _FLOATS.items()}[content]


def _read_int(content: str) -> int:
    return int(content, 16)


def _read_text(content: str) -> str:
    return bytes.fromhex(content).decode("utf-8", "surrogatepass")


_READERS: dict[str, Callable[[Any], object]] = {
    "$tuple": _read_tuple,
    "$dict": _read_dict,
    "$float": _read_float,
    "$int": _read_int,
    "$str": _read_text,
}
