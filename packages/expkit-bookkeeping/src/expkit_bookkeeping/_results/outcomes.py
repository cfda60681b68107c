"""The numbers of one run by which finished runs are compared, besides its last metrics."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path

from .._files.plain_data import SPECIAL_NUMBERS
from .._runs.records import find_run
from .values import load_results, saved_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._runs.records import RunRecord

MOST_BYTES = 100_000  # of one results file: larger ones hold curves or predictions
MOST_NUMBERS = 200  # of one run
LONGEST_NAME = 250
LARGEST = 2**63  # a column of larger whole numbers holds objects, which have no mean
_SUFFIXES = (".json", ".yaml", ".yml")

SavedNumbers = Mapping[str, Mapping[str, float]]  # by file, without suffix, and key


def outcome_numbers(folder: str | PathLike[str]) -> dict[str, float]:
    """The best value, what the task function returned, and the scalars of `save_results`.

    Args:
        folder: The run folder.

    Returns:
        By name: `best_<metric>`; `returned`, or `returned.<key>` for a mapping; `expkit.metric`,
        if what was returned counts as it; the keys of saved mappings, nested ones joined by dots,
        with `<file>.` before a key that another file or a metric has, too. What is not a number is
        left out, and so are names of logged metrics.
    """
    folder = Path(folder)
    record = find_run(folder)
    if record is None or record.state == "unknown":
        return {}
    numbers: dict[str, float] = {}
    best = record.best or {}
    logged = set(record.metrics)
    if best and best.get("step") is None:  # returned, and no metric that was logged
        logged.discard(str(best.get("metric")))
        _add(numbers, str(best.get("metric")), best.get("value"))
    _add(numbers, f"best_{best.get('metric')}", best.get("value"))
    numbers.update(returned_numbers(record))
    saved = saved_numbers(folder)
    names = names_of_saved([saved], {*logged, *numbers})
    for file, values in saved.items():
        for key, value in values.items():
            _add(numbers, names[file, key], value)
    kept = [(name, value) for name, value in numbers.items() if name not in logged]
    return dict(kept[:MOST_NUMBERS])


def metric_outcome(
    record: RunRecord, metric: str | None = None
) -> tuple[float | None, float | None]:
    """The value of a metric by which a run is compared with others, and its step.

    Args:
        record: The run.
        metric: The metric; None takes the one that the run itself calls its best.

    Returns:
        The best value with the step at which it was logged, if the run knows the best one of this
        metric; else its last value and None. None for what there is not.
    """
    best = record.best or {}
    if metric is None or best.get("metric") == metric:
        return number(best.get("value")), number(best.get("step"))
    return number(record.metrics.get(metric)), None


def number(value: object) -> float | None:
    """The number that run.json holds; None for anything else, with which no table could be made."""
    if isinstance(value, str):
        return SPECIAL_NUMBERS.get(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if -LARGEST < value < LARGEST else float(value)


def returned_numbers(record: RunRecord) -> dict[str, float]:
    """The numbers among what the task function returned, as `returned` or `returned.<key>`."""
    return _numbers(record.returned, "returned")


def saved_numbers(folder: Path) -> SavedNumbers:
    """The numbers in the mappings that `save_results` has written, nested keys joined by dots."""
    return {file: _numbers(content, "") for file, content in _saved_mappings(folder)}


def names_of_saved(
    runs: Iterable[SavedNumbers], taken: Container[str]
) -> dict[tuple[str, str], str]:
    """By file and key the name of a saved number: the key, where that says which one is meant.

    Args:
        runs: The saved numbers of all runs that are compared.
        taken: Names of other numbers.

    Examples:
        >>> names_of_saved([{"test": {"acc": 1.0, "loss": 2.0}}, {"dev": {"acc": 0.5}}], ())
        {('test', 'acc'): 'test.acc', ('dev', 'acc'): 'dev.acc', ('test', 'loss'): 'loss'}
    """
    files: dict[str, dict[str, None]] = {}
    for saved in runs:
        for file, values in saved.items():
            for key in values:
                files.setdefault(key, {})[file] = None
    return {
        (file, key): key if len(names) == 1 and key not in taken else f"{file}.{key}"
        for key, names in files.items()
        for file in names
    }


def _saved_mappings(folder: Path) -> Iterator[tuple[str, object]]:
    """Each mapping in `results/` with the name of its file, without suffix where that is enough."""
    for name, path in saved_files(folder, _SUFFIXES).items():
        try:
            if path.is_symlink() or path.stat().st_size > MOST_BYTES:
                continue
            yield name, load_results(folder, path.relative_to(folder / "results").as_posix())
        except (OSError, ValueError, TypeError, RecursionError):  # damaged, or not ours
            continue


def _numbers(value: object, name: str) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for key, part in _flat(value, name):
        _add(numbers, key, part)
    return numbers


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
