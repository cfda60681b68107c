"""The swept keys of an experiment, and the value that each of its runs has for them."""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property

from .._files.plain_data import json_data
from .._files.yaml_files import read_yaml
from .._runs.settings import read_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from .._runs.records import RunRecord

_log = logging.getLogger(__name__)


class Unknown(enum.Enum):
    """What stands for a value that a run had, and that nothing says any more."""

    UNKNOWN = "?"

    def __repr__(self) -> str:
        return self.value

    __str__ = __repr__


UNKNOWN = Unknown.UNKNOWN
_ABSENT = object()


def swept_values(records: Sequence[RunRecord]) -> list[Mapping[str, object]]:
    """For each run of an experiment, its values of all keys that any of these runs swept.

    A key that was swept later has in earlier runs the value of their stored configuration, which
    for a config group is the chosen option.

    Args:
        records: The experiment's runs.

    Returns:
        By swept key the run's value, keys in one order throughout. A key that a run's
        configuration does not have is left out; `UNKNOWN` is the value of one of which nothing
        tells, which a warning says.
    """
    # The longest list first: an axis that was added stands where the grid has it.
    lists = sorted({tuple(record.swept) for record in records}, key=len, reverse=True)
    keys = list(dict.fromkeys(key for swept in lists for key in swept))
    if len(lists) < 2:
        return [record.swept for record in records]
    groups = {key for record in records for key in record.swept if key in record.choices}
    values = [_values_of_run(record, keys, groups) for record in records]
    _warn_of_unknown(records, values)
    return values


def _values_of_run(
    record: RunRecord, keys: Sequence[str], groups: set[str]
) -> Mapping[str, object]:
    if list(record.swept) == keys:
        return record.swept
    stored = _StoredConfig(record)
    values: dict[str, object] = {}
    for key in keys:
        value = record.swept[key] if key in record.swept else stored.value(key, key in groups)
        if value is not _ABSENT:
            values[key] = value
    return values


class _StoredConfig:
    """The configuration that a run was given, read when the first value is asked for."""

    def __init__(self, record: RunRecord) -> None:
        self._folder = record.folder
        self._recorded_choices = record.choices
        self._is_resolved = True

    def value(self, key: str, is_group: bool) -> object:
        """The value of a key; `_ABSENT` where the configuration has none, else `UNKNOWN`."""
        choices, config = self._choices, self._config
        if choices is not None and key in choices:
            return choices[key]
        if config is None:
            return UNKNOWN
        value = _value_at(config, key.partition("@")[0].split("."))
        if is_group and (value is _ABSENT or isinstance(value, Mapping)):
            # What an option has set does not say which option it was.
            return UNKNOWN if choices is None else _ABSENT
        if value is _ABSENT or value is None or value == "???":
            return None if value == "???" else value
        if not self._is_resolved and "${" in str(value):
            return UNKNOWN
        try:
            return json_data(value)
        except TypeError:  # of a file that somebody else has written
            return str(value)

    @cached_property
    def _config(self) -> Mapping[str, object] | None:
        try:
            return read_config(self._folder)
        except (OSError, ValueError):  # under a foreign launcher only Hydra wrote one
            self._is_resolved = False
            return _mapping_in(self._folder / ".hydra" / "config.yaml")

    @cached_property
    def _choices(self) -> Mapping[str, object] | None:
        """The chosen options, which version 0.1 did not record; None where nothing tells them."""
        if self._recorded_choices:
            return self._recorded_choices
        hydra = _mapping_in(self._folder / ".hydra" / "hydra.yaml")
        choices = None if hydra is None else _value_at(hydra, ["hydra", "runtime", "choices"])
        return choices if isinstance(choices, Mapping) else None


def _mapping_in(path: Path) -> Mapping[str, object] | None:
    try:
        content = read_yaml(path)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, Mapping) else None


def _value_at(config: object, path: Sequence[str]) -> object:
    for part in path:
        if isinstance(config, Mapping) and part in config:
            config = config[part]
        elif isinstance(config, list) and part.isdecimal() and int(part) < len(config):
            config = config[int(part)]
        else:
            return _ABSENT
    return config


def _warn_of_unknown(records: Sequence[RunRecord], values: Sequence[Mapping[str, object]]) -> None:
    names: dict[tuple[str, ...], list[str]] = {}
    for record, run_values in zip(records, values, strict=True):
        unknown = tuple([key for key, value in run_values.items() if value is UNKNOWN])
        if unknown:
            names.setdefault(unknown, []).append(record.run_name)
    for keys, runs in names.items():
        shown = ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
        _log.warning(
            "What %s had for %s is unknown: neither config.yaml nor .hydra/ tells it. The cell is "
            "empty, and tables and figures keep such runs apart.",
            shown,
            ", ".join(keys),
        )
