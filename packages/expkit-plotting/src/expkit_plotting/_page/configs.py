"""The configurations of many runs in little space: what they share, and what each changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from .._data.siblings import reader_of_runs
from .columns import json_value


def page_configs(folders: Sequence[Path]) -> dict[str, object]:
    """What most runs have by dotted key, and for each run what differs from it.

    Args:
        folders: The run folders.

    Returns:
        `base`, and `runs` with `set` and `without` for each run; None for one without a
        configuration.
    """
    with reader_of_runs():
        from expkit_bookkeeping.reading import read_config

    configs: list[dict[str, object] | None] = []
    for folder in folders:
        try:
            configs.append(flat(read_config(folder)))
        except (OSError, ValueError):
            configs.append(None)
    base = _most_common([config for config in configs if config is not None])
    return {"base": base, "runs": [_change(config, base) for config in configs]}


def flat(config: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """A configuration by dotted key; lists and empty mappings are values.

    Examples:
        >>> flat({"model": {"name": "cnn", "sizes": [1, 2]}, "extra": {}})
        {'model.name': 'cnn', 'model.sizes': '[1, 2]', 'extra': '{}'}
    """
    values: dict[str, object] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            values.update(flat(value, f"{name}."))
        else:
            values[name] = "None" if value is None else json_value(value)
    return values


def _most_common(configs: Sequence[Mapping[str, object]]) -> dict[str, object]:
    counts: dict[str, Counter[object]] = {}
    for config in configs:
        for key, value in config.items():
            counts.setdefault(key, Counter())[(type(value).__name__, value)] += 1
    # A key that most runs do not have costs less where it is.
    return {
        key: counter.most_common(1)[0][0][1]  # type: ignore[index]
        for key, counter in counts.items()
        if 2 * counter.total() > len(configs)
    }


def _change(
    config: Mapping[str, object] | None, base: Mapping[str, object]
) -> dict[str, object] | None:
    if config is None:
        return None
    changed = {
        key: value
        for key, value in config.items()
        if key not in base or base[key] != value or type(base[key]) is not type(value)
    }
    return {"set": changed, "without": [key for key in base if key not in config]}
