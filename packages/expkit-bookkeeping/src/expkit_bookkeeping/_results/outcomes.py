"""The numbers of one run by which finished runs are compared, besides its last metrics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from .._runs.records import find_run
from .values import load_results

MOST_BYTES = 100_000  # of one results file: larger ones hold curves or predictions
MOST_NUMBERS = 200  # of one run
LONGEST_NAME = 250
_SUFFIXES = (".json", ".yaml", ".yml")


def outcome_numbers(folder: Path) -> dict[str, float]:
    """The best value, what the task function returned, and the scalars of `save_results`.

    Args:
        folder: The run folder.

    Returns:
        By name: `best_<metric>`; `returned`, or `returned.<key>` for a mapping; the keys of saved
        mappings, nested ones joined by dots, with `<file>.` before a key that another file has,
        too. Names of logged metrics are left out, and so is what is not a number.
    """
    record = find_run(folder)
    if record is None or record.state == "unknown":
        return {}
    numbers: dict[str, float] = {}
    best = record.best or {}
    _add(numbers, f"best_{best.get('metric')}", best.get("value"))
    for name, value in _flat(record.returned, "returned"):
        _add(numbers, name, value)
    for stem, content in _saved_mappings(folder):
        for name, value in _flat(content, ""):
            _add(numbers, name if name not in numbers else f"{stem}.{name}", value)
    logged = record.metrics.keys()
    kept = [(name, value) for name, value in numbers.items() if name not in logged]
    return dict(kept[:MOST_NUMBERS])


def _saved_mappings(folder: Path) -> Iterator[tuple[str, object]]:
    """Each mapping in `results/` with the name of its file, without suffix."""
    root = folder / "results"
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        name = path.relative_to(root)
        if path.suffix not in _SUFFIXES or path.name.endswith(".schema.json"):
            continue
        try:
            if path.is_symlink() or path.stat().st_size > MOST_BYTES:
                continue
            content = load_results(folder, str(name))
        except (OSError, ValueError, TypeError, RecursionError):  # damaged, or not ours
            continue
        yield name.with_suffix("").as_posix(), content


def _flat(value: object, name: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif name:
        yield name, value


def _add(numbers: dict[str, float], name: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or len(name) > LONGEST_NAME:
        return
    with contextlib.suppress(OverflowError):  # an integer beyond what a float can hold
        numbers[name] = float(value)
