"""The identity of a configuration: its hash, what counts for it, and how two of them differ."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence

from .._files.plain_data import json_data
from .._files.secrets import public_config, secret_patterns

# They say where results go and how the kit behaves; a run is the same run whatever they are.
NO_PART_OF_IDENTITY = frozenset(
    [
        "hydra",
        "_filters",
        "plotting",
        "results_dir",
        "experiment_id",
        "run_name",
        "expkit",
        "mlflow",
    ]
)
# The default of `expkit.ignore`, for those who have no `expkit` in their configuration.
IGNORED_BY_DEFAULT = ("device", "num_workers")
MOST_CHANGES = 5  # of a configuration, in one line


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

    Examples:
        >>> config_hash({"a": 1, "b": {"lr": 1e-3}}) == config_hash({"b": {"lr": 0.001}, "a": 1})
        True
    """
    if not isinstance(config, Mapping):
        raise TypeError(f"A configuration is a mapping, not {type(config).__name__}: {config!r}")
    import hashlib

    text = json.dumps(json_data(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def counted_values(
    config: Mapping[str, object], left_out: Collection[str] = ()
) -> dict[str, object]:
    """By dotted key, the values that make a run another run, without secrets.

    Args:
        config: Configuration of plain data.
        left_out: Keys that do not count, nor does what is below them or, as a list, holds them.
    """
    settings = config.get("expkit")
    ignored = settings.get("ignore") if isinstance(settings, Mapping) else None
    names = [
        *NO_PART_OF_IDENTITY,
        *left_out,
        *(map(str, ignored) if isinstance(ignored, list) else IGNORED_BY_DEFAULT),
    ]
    return {
        key: value
        for key, value in _flat(public_config(config, secret_patterns(config)))
        if not any(f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.") for name in names)
    }


def config_changes(
    before: Mapping[str, object], after: Mapping[str, object], left_out: Collection[str] = ()
) -> list[dict[str, object]]:
    """How one configuration differs from another: `key`, `before` and `after` of each change.

    `before` is missing for a key that is new, `after` for one that is gone.

    Args:
        before: Configuration of plain data.
        after: Configuration of plain data.
        left_out: See `counted_values`.

    Examples:
        >>> config_changes({"lr": 0.1, "epochs": 20}, {"lr": 0.1, "epochs": 40})
        [{'key': 'epochs', 'before': 20, 'after': 40}]
    """
    old, new = (counted_values(config, left_out) for config in (before, after))
    changes = []
    for key in dict.fromkeys([*old, *new]):
        sides = {
            name: values[key] for name, values in (("before", old), ("after", new)) if key in values
        }
        # By their text: 1, 1.0 and True differ, and nan equals nan.
        if len(sides) < 2 or repr(sides["before"]) != repr(sides["after"]):
            changes.append({"key": key, **sides})
    return changes


def changes_text(changes: Sequence[Mapping[str, object]]) -> str:
    """Changes of a configuration in one line.

    Examples:
        >>> changes_text([{"key": "lr", "before": 0.1, "after": 0.2}, {"key": "width", "after": 8}])
        'lr 0.1 → 0.2, width – → 8'
    """
    parts = [
        f"{change.get('key')} {change.get('before', '–')!s:.40} → {change.get('after', '–')!s:.40}"
        for change in changes[:MOST_CHANGES]
    ]
    more = len(changes) - len(parts)
    return ", ".join(parts) + (f" and {more} more" if more else "")


def _flat(config: Mapping[str, object], path: str = "") -> Iterator[tuple[str, object]]:
    for key, value in config.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            yield from _flat(value, name)
        else:
            yield name, value
