"""Reading expkit's folders (docs/formats.md): curves and settings of runs, numbers, the style."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import PlottingError, listed
from .files import read_yaml, short_path
from .names import natural_key
from .runs import Curve, Experiment, Run, curve_of_points

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .runs import Array

_log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"


def read_folder(folder: Path) -> Experiment:
    """The runs of an experiment's folder or of its `training` folder; the run of its own folder."""
    if (folder / "run.json").is_file() or holds_a_run(folder):
        return _experiment([folder], name="", home=folder.parent.parent)
    training = folder / "training" if (folder / "training").is_dir() else folder
    folders = [path.parent for path in training.glob(f"*/{METRICS}")]
    folders = [path for path in folders if not path.name.startswith(".")]
    if not folders:
        raise PlottingError(_nothing_in(folder, training))
    folders.sort(key=lambda path: natural_key(str(path)))
    home = training.parent if training.name == "training" else folder
    return _experiment(folders, name=home.resolve().name, home=home)


def numbers_in_grid(experiment: Path) -> dict[int, str]:
    """Names of the latest grid's runs, by their number; empty where there is no grid."""
    try:
        text = (experiment / "grid_search.yaml").read_text(encoding="utf-8")
        match = re.search(r"^grid_id: *['\"]?([\w-]+)", text, flags=re.MULTILINE)
        grid = experiment / "grids" / (match[1] if match else "") / "grid_search.jsonl"
        rows = _rows(grid.read_bytes(), grid)
    except OSError:
        return {}
    return {row["index"]: row["run_name"] for row in rows if {"index", "run_name"} <= row.keys()}


def experiment_style(folder: Path) -> tuple[Mapping[str, object], str] | None:
    """The style that the experiment was configured with: the key `plotting`, and where it is.

    It is in the grid's description, else in the configuration of a run; None where neither has
    one.
    """
    experiment = folder.parent if folder.name == "training" else folder
    candidates: list[tuple[Path, tuple[str, ...]]] = [
        (experiment / "grid_search.yaml", ("config", "plotting"))
    ]
    runs = [folder, *sorted((experiment / "training").glob("*"), key=lambda run: run.name)[:1]]
    candidates += [(run / "config.yaml", ("plotting",)) for run in runs]
    for path, keys in candidates:
        if not path.is_file():
            continue
        value: object = read_yaml(path)
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping) and value:
            return value, f"{short_path(path)}: {'.'.join(keys)}"
    return None


def experiment_folder(folder: Path) -> Path:
    """The experiment's folder, from it or from one of its parts."""
    if folder.is_file():
        return folder.parent
    if folder.name == "training":
        return folder.parent
    if holds_a_run(folder) and folder.parent.name == "training":
        return folder.parent.parent
    return folder


def folder_of_run(name: str, experiment: Path) -> Path | None:
    """The folder of a run of an experiment; None where no folder of its name holds metrics."""
    for folder in (experiment / "training" / name, experiment / name):
        if holds_a_run(folder):
            return folder
    return None


def holds_a_run(folder: Path) -> bool:
    """Whether this is the folder of a run that has logged metrics."""
    return (folder / METRICS).is_file()


def _nothing_in(folder: Path, training: Path) -> str:
    experiments = sorted(path.parent.name for path in folder.glob("*/training"))
    if experiments:
        return (
            f"{str(folder)!r} holds experiments, not runs: {listed(experiments)}. "
            f"Give one, such as {str(folder / experiments[0])!r}."
        )
    if next(training.glob("*/run.json"), None) is not None:
        return f"No run in {str(training)!r} has logged a metric yet (no metrics.jsonl)."
    return (
        f"{str(folder)!r} holds no runs: neither training/*/metrics.jsonl nor */metrics.jsonl. "
        "Give the experiment's folder, such as results/digits."
    )


def _experiment(folders: Sequence[Path], *, name: str, home: Path) -> Experiment:
    runs: dict[str, Run] = {}
    metric = direction = None
    counts_epochs = True
    for folder in folders:
        record = _read_record(folder / "run.json")
        metrics = read_metrics(folder / METRICS)
        run_name = str(record.get("run_name") or folder.name)
        if run_name in runs:  # two folders of one name, or a copied run
            run_name = f"{folder.parent.name}/{folder.name}"
        runs[run_name] = Run(run_name, _settings(record), metrics)
        name = name or str(record.get("experiment_id") or "")
        best = record.get("best")
        if isinstance(best, Mapping) and metric is None:
            metric, direction = best.get("metric"), best.get("direction")
        counts_epochs = counts_epochs and _counts_epochs(record, metrics.values())
    return Experiment(
        name=name,
        runs=tuple(runs.values()),
        folder=home,
        step="epoch" if counts_epochs else "step",
        metric=metric if isinstance(metric, str) else None,
        direction=direction if direction in ("minimize", "maximize") else None,
    )


def _read_record(path: Path) -> Mapping[str, object]:
    """run.json, or an empty mapping where there is none: curves can be drawn without it."""
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("%s cannot be read (%s); plotting its run without labels.", path, error)
        return {}
    return record if isinstance(record, Mapping) else {}


def _settings(record: Mapping[str, object]) -> dict[str, object]:
    swept = record.get("swept")
    return dict(swept) if isinstance(swept, Mapping) else {}


def _counts_epochs(record: Mapping[str, object], curves: Iterable[Curve]) -> bool:
    """Steps are epochs if the run says how many epochs it has, and no step exceeds their number."""
    progress = record.get("progress")
    total = progress.get("total") if isinstance(progress, Mapping) else None
    if not isinstance(total, (int, float)):
        return False
    return all(not len(curve.steps) or curve.steps[-1] <= total for curve in curves)


def read_metrics(path: Path) -> dict[str, Curve]:
    """Curves from a metrics.jsonl; of two lines with the same step, the later value counts.

    A torn last line, which a killed run leaves, is ignored. Any other line that is not a JSON
    object is left out with a warning.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    return {
        name: curve_of_points(np.array(steps, dtype=float), _numbers(values))
        for name, (steps, values) in _columns(_rows(content, path)).items()
    }


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[list[float], list[object]]]:
    """Steps and values of each metric."""
    try:  # rows that hold the same metrics, as most do, in a fourth of the time
        steps = [row["step"] for row in rows]
        metrics = [row["metrics"] for row in rows]
        columns = {name: (steps, [values[name] for values in metrics]) for name in metrics[0]}
        same_names = sum(map(len, metrics)) == len(columns) * len(rows)
        numbers = set(map(type, steps)) <= {int, float}
        if same_names and numbers and set(map(type, metrics)) == {dict}:
            return columns
    except (KeyError, IndexError, TypeError):
        pass
    columns = {}
    for row in rows:
        step, values = row.get("step"), row.get("metrics")
        if not isinstance(step, (int, float)) or not isinstance(values, dict):
            continue
        for name, value in values.items():
            column = columns.setdefault(name, ([], []))
            column[0].append(step)
            column[1].append(value)
    return columns


def _numbers(values: list[object]) -> Array:
    try:
        array = np.array(values, dtype=float)  # reads "NaN" and "-Infinity" too, null as NaN
    except (TypeError, ValueError, OverflowError):
        array = np.empty((0, 0))
    return array if array.ndim == 1 else np.array([_number(value) for value in values])


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


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]  # whatever a line may hold
    except (TypeError, ValueError, OverflowError):
        return math.nan
