"""Hydra's overrides: written so that Hydra reads back what was meant, and read as Hydra does."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ._internals import raw_override_value, with_integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

KeyPath = tuple[str, ...]

# What Hydra's grammar takes for a plain string; everything else is quoted.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
# The keys of a mapping cannot be quoted.
_PLAIN_KEY = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+-]*( +[A-Za-z0-9_./+-]+)*")
# Keys of mappings, dotted: no lists, no brackets, no escapes.
_KEYS_ALONE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_NOT_STRINGS = {"null", "true", "false", "nan", "inf"}


def to_override(key: str, value: object) -> str:
    r"""An override that sets one key to one value.

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

    >>> bare_key("++optimizer.lr")
    'optimizer.lr'
    """
    return key.lstrip("+~")


@dataclass(frozen=True, slots=True)
class ReadOverride:
    """An override and what Hydra will do with it."""

    parsed: Override
    is_plain: bool  # a plain value for a key of mappings: applied after the defaults list
    value_key: str | None  # the key that it changes; None for a choice of a group
    task_line: str | None  # as Hydra lists it among the task's; None for one of Hydra's node


class OverrideReader:
    """Parses overrides as Hydra does, each of them once.

    Args:
        config_loader: Hydra's, which knows the config groups.
        master: The configuration of the sweep.
    """

    def __init__(self, config_loader: ConfigLoader, master: DictConfig) -> None:
        self._config_loader = config_loader
        self._master = master
        self._read: dict[str, ReadOverride] = {}
        self._integers: dict[str, ReadOverride] = {}  # by key, one that sets it to an integer
        self._is_group: dict[str, bool] = {}

    def read(self, overrides: Sequence[str]) -> list[ReadOverride] | None:
        """The overrides of one run; None if Hydra refuses them."""
        for text in overrides:
            if text not in self._read and not self._read_integer(text):
                return self._read_new(overrides)
        return [self._read[text] for text in overrides]

    def _read_integer(self, text: str) -> bool:
        """Read an override that sets a key to yet another integer, such as a seed, unparsed."""
        key, _, value = text.partition("=")
        example = self._integers.get(key)
        if example is None or not _INTEGER.fullmatch(value):
            return False
        parsed = with_integer(example.parsed, int(value), text)
        self._read[text] = replace(example, parsed=parsed, task_line=text)
        return True

    def _read_new(self, overrides: Sequence[str]) -> list[ReadOverride] | None:
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException

        try:
            parsed = OverridesParser.create().parse_overrides(list(overrides))
        except HydraException:
            return None
        # Hydra takes a mapping for a value even where the key is a group.
        others = [item.key_or_group for item in parsed if not _is_mapping(item)]
        if not self._ask_about_groups(others, overrides):
            return None
        for text, override in zip(overrides, parsed, strict=True):
            key = override.key_or_group
            is_value = _is_mapping(override) or not self._is_group[key]
            self._read[text] = ReadOverride(
                override,
                is_plain=is_value and _may_be_plain(override),
                value_key=key if is_value else None,
                task_line=None if override.is_hydra_override() else str(override.input_line),
            )
            if self._read[text].is_plain and type(raw_override_value(override)) is int:
                self._integers[key] = self._read[text]
        return [self._read[text] for text in overrides]

    def _ask_about_groups(self, keys: Sequence[str], overrides: Sequence[str]) -> bool:
        from hydra.types import RunMode

        if all(key in self._is_group for key in keys):
            return True
        try:
            defaults = self._config_loader.compute_defaults_list(
                self._master.hydra.job.config_name,
                [*self._master.hydra.overrides.hydra, *overrides],
                RunMode.RUN,
            )
        except Exception:
            return False  # Hydra is asked to compose, and says why it refuses
        values = {
            override.key_or_group
            for override in defaults.config_overrides
            if not _is_mapping(override)
        }
        for key in keys:
            self._is_group[key] = key not in values
        return True


def overlap(keys: Sequence[str]) -> bool:
    """Whether one key equals another or lies below it: then their order matters.

    >>> overlap(["a.b", "a.c"]), overlap(["a", "a.c"]), overlap(["a", "a"])
    (False, True, True)
    """
    ordered = sorted(f"{key}." for key in keys)
    return any(later.startswith(key) for key, later in itertools.pairwise(ordered))


def _is_mapping(override: Override) -> bool:
    return isinstance(raw_override_value(override), dict)


def _may_be_plain(override: Override) -> bool:
    from hydra.core.override_parser.types import OverrideType

    return (
        override.type is OverrideType.CHANGE
        and override.package is None
        and not override.is_sweep_override()
        and not override.is_hydra_override()
        and _KEYS_ALONE.fullmatch(override.key_or_group) is not None
    )


def _quote(text: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_STRINGS:
        return text
    return QuotedString(text=text, quote=Quote.single).with_quotes()
