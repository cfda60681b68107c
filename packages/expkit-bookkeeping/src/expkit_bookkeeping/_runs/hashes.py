"""Canonical JSON, and the identity of a configuration."""

import json
from collections.abc import Mapping

from .._files.plain_data import json_data

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

    text = json.dumps(json_data(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
