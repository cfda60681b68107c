"""The metrics of a run as curves, and the folders in which runs have logged some."""

from __future__ import annotations

import json
import logging
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from io import SEEK_END
from os import PathLike
from pathlib import Path
from typing import Any

from .._files.append_files import open_to_read, read_file
from .._recording.metrics import FILE_NAME

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One metric of one run, as two sequences of equal length.

    Attributes:
        steps: Where it was logged: epochs or batches, from 0; ascending, each once.
        values: What was logged there, in the metric's own unit; NaN and infinities are kept.
    """

    steps: Sequence[float]
    values: Sequence[float]


def read_curves(folder: str | PathLike[str]) -> dict[str, Curve]:
    """What a run has logged: a curve for each metric, in the order in which they were first logged.

    Of several values of a metric at one step the last one counts. A torn last line, which a killed
    run leaves, is ignored; any other line that is not a JSON object is left out with a warning, and
    so is a file that cannot be read. A value that is no number becomes NaN.

    Args:
        folder: The run folder.

    Returns:
        By metric its curve. `steps` and `values` are arrays of 8-byte floats, which numpy takes
        over without conversion. Empty if nothing has been logged yet.
    """
    path = Path(folder) / FILE_NAME
    try:
        content = read_file(path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        _log.warning("%s cannot be read: %s", path, error)
        return {}
    curves: dict[str, Curve] = {}
    latest: tuple[list[Any], array[float], bool] | None = None
    for name, (steps, values) in _columns(_rows(content, path)).items():
        if latest is None or latest[0] is not steps:  # most metrics share their steps
            floats = _floats(steps)
            latest = (steps, floats, _is_ascending(floats))
        _, floats, ascending = latest
        curve = Curve(floats, _floats(values))
        curves[name] = curve if ascending else _sorted(curve)
    return curves


def metric_names(folder: str | PathLike[str], *, size_bytes: int = 1 << 16) -> list[str]:
    """The metrics that a run has logged, by the first and the last lines of its file.

    Args:
        folder: The run folder.
        size_bytes: How much of the file is read from either end; a metric that is logged only
            between is left out.
    """
    try:
        with open_to_read(Path(folder) / FILE_NAME) as file:
            first = file.read(size_bytes)
            file.seek(max(0, file.seek(0, SEEK_END) - size_bytes))
            last = file.read(size_bytes)
    except OSError:
        return []
    names: dict[str, None] = {}
    for line in b"\n".join([first, last]).split(b"\n"):
        try:
            names |= dict.fromkeys(dict(json.loads(line)["metrics"]))
        except (ValueError, RecursionError, TypeError, LookupError):  # also a line cut in two
            continue
    return [*names]


def folders_with_metrics(path: str | PathLike[str]) -> list[Path]:
    """The folders of the runs that have logged metrics, sorted by path.

    Args:
        path: An experiment's folder, its `training/`, or the folder of one run.
    """
    path = Path(path)
    if _is_run(path):
        return [path]
    training = path / "training" if (path / "training").is_dir() else path
    folders = [file.parent for file in training.glob(f"*/{FILE_NAME}")]
    return sorted(folder for folder in folders if not folder.name.startswith("."))


def experiment_folder(path: str | PathLike[str]) -> Path:
    """The experiment's folder, from it, from its `training/` or from the folder of a run in it."""
    path = Path(path)
    if path.name == "training":
        return path.parent
    return path.parent.parent if path.parent.name == "training" and _is_run(path) else path


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("run.json", FILE_NAME))


Columns = dict[str, tuple[list[Any], list[Any]]]  # by metric: steps, values


def _columns(rows: Sequence[dict[str, Any]]) -> Columns:
    try:  # rows that hold the same metrics, as most do, in a fourth of the time
        steps = [row["step"] for row in rows]
        metrics = [row["metrics"] for row in rows]
        columns = {name: (steps, [values[name] for values in metrics]) for name in metrics[0]}
        same_names = sum(map(len, metrics)) == len(columns) * len(rows)
        if same_names and set(map(type, steps)) == {int} and set(map(type, metrics)) == {dict}:
            return columns
    except (KeyError, IndexError, TypeError):
        pass
    columns = {}
    for row in rows:
        step, values = row.get("step"), row.get("metrics")
        if not isinstance(step, (int, float)) or not isinstance(values, dict):
            continue
        if not math.isfinite(step):
            continue
        for name, value in values.items():
            column = columns.setdefault(name, ([], []))
            column[0].append(step)
            column[1].append(value)
    return columns


def _rows(content: bytes, path: Path) -> list[dict[str, Any]]:
    content = content.strip()
    whole = content[: content.rfind(b"\n") + 1].rstrip()
    for text in (content, whole):  # the last line may be torn
        try:  # one call for all lines is three times as fast as one per line
            rows: list[dict[str, Any]] = json.loads(b"[" + text.replace(b"\n", b",") + b"]")
        except (ValueError, RecursionError):
            continue
        if set(map(type, rows)) <= {dict}:
            return rows
    rows = []
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif number < len(lines) and line.strip():
            _log.warning("%s: line %d is not a JSON object; left out.", path, number)
    return rows


def _floats(values: list[Any]) -> array[float]:
    try:
        return array("d", values)
    except (TypeError, OverflowError):
        return array("d", map(_number, values))


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]  # "NaN", "-Infinity"; whatever else it holds
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _is_ascending(steps: array[float]) -> bool:
    return all(map(float.__lt__, steps, steps[1:]))


def _sorted(curve: Curve) -> Curve:
    by_step = dict(sorted(zip(curve.steps, curve.values, strict=True), key=lambda point: point[0]))
    return Curve(array("d", by_step), array("d", by_step.values()))
