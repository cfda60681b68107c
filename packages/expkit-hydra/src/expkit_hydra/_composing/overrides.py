"""Hydra's overrides: written so that Hydra reads back what was meant, and their keys."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

KeyPath = tuple[str, ...]
# What Hydra's grammar takes for a plain string; everything else is quoted.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
# The keys of a mapping cannot be quoted.
_PLAIN_KEY = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+-]*( +[A-Za-z0-9_./+-]+)*")
_NOT_STRINGS = {"null", "true", "false", "nan", "inf"}


def to_override(key: str, value: object) -> str:
    r"""An override that sets one key to one value.

    Examples:
        >>> to_override("optimizer.lr", 0.001), to_override("model", "cnn")
        ('optimizer.lr=0.001', 'model=cnn')
        >>> to_override("layers", [64, None]), to_override("note", "1,2 or 'a'")
        ('layers=[64,null]', "note='1,2 or \\'a\\''")
    """
    return f"{key}={to_text(value)}"


def to_text(value: object) -> str:
    """The value in the syntax of the right-hand side of an override.

    Raises:
        TypeError: If YAML could not hold the value, or if it is a mapping with keys that Hydra's
            syntax cannot write.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, Mapping):
        entries = (f"{_key_text(key)}:{to_text(item)}" for key, item in value.items())
        return "{" + ",".join(entries) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(to_text(item) for item in value) + "]"
    raise TypeError(f"A {type(value).__name__} cannot be swept: {value!r}.")


def _key_text(key: object) -> str:
    if not isinstance(key, str):
        return to_text(key)
    if _PLAIN_KEY.fullmatch(key) and key.lower() not in _NOT_STRINGS:
        return key
    raise TypeError(
        f"a mapping with the key {key!r} cannot be written as an override of Hydra's. Put each "
        "mapping into a file of a config group, and sweep the group."
    )


def bare_key(key: str) -> str:
    """The key without Hydra's marks for adding and deleting.

    Examples:
        >>> bare_key("++optimizer.lr")
        'optimizer.lr'
    """
    return key.lstrip("+~")


def overlap(keys: Sequence[str]) -> bool:
    """Whether one key equals another or lies below it: then their order matters.

    Examples:
        >>> overlap(["a.b", "a.c"]), overlap(["a", "a.c"]), overlap(["a", "a"])
        (False, True, True)
    """
    ordered = sorted(f"{key}." for key in keys)
    return any(later.startswith(key) for key, later in itertools.pairwise(ordered))


def _quote(text: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_STRINGS:
        return text
    return QuotedString(text=text, quote=Quote.single).with_quotes()
