"""Reading runs: from results folders (docs/formats.md), DataFrames, CSV files and dicts."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ._errors import PlottingError, listed
from ._runs import Curve, Experiment, Run
from ._text import value_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pandas import DataFrame
    from typing_extensions import TypeIs

    from ._runs import Array

    Source: TypeAlias = (
        str | PathLike[str] | DataFrame | Sequence[str | PathLike[str]] | Mapping[str, object]
    )

_log = logging.getLogger(__name__)

STEP_NAMES = ("epoch", "step", "iteration", "global_step", "iter")
RUN_NAMES = ("run", "run_name", "run_id", "name")


def read_source(source: Source) -> Experiment:
    """Runs from any source of them.

    Args:
        source: One of

            - a folder of expkit's: an experiment, its `training` folder, or one run;
            - a DataFrame, long (a column `run`, a column `epoch` or `step`, metrics) or wide
              (a column per metric of one run, or per run of one metric);
            - a CSV file that holds such a table, or a list of them, one per run;
            - a dict from run names to DataFrames, CSV files or dicts of metric → values.

    Raises:
        PlottingError: If nothing can be read from it.
    """
    if isinstance(source, (str, PathLike)):
        path = Path(source)
        if path.is_dir():
            return read_folder(path)
        if path.is_file():
            return _experiment_of_table(_read_csv(path), name=path.stem)
        raise PlottingError(
            f"There is no folder or CSV file {str(path)!r}. Give a results folder such as "
            "results/digits, a CSV file, a DataFrame or a dict of them."
        )
    if _is_dataframe(source):
        return _experiment_of_table(source, name="")
    if isinstance(source, Mapping):
        return _experiment_of_runs(source)
    if isinstance(source, Sequence) and source:
        return _experiment_of_runs(_by_distinct_names([Path(path) for path in source]))
    raise PlottingError(
        f"Cannot plot from {type(source).__name__}. Give a results folder, a DataFrame, CSV files "
        "or a dict of them."
    )


# ---------------------------------------------------------------- expkit's folders


def read_folder(folder: Path) -> Experiment:
    """The runs of an experiment's folder or of its `training` folder, or the one run of its own."""
    if (folder / "run.json").is_file() or (folder / "metrics.jsonl").is_file():
        return _experiment([folder], name="", home=folder.parent.parent)
    training = folder / "training" if (folder / "training").is_dir() else folder
    folders = [path.parent for path in training.glob("*/metrics.jsonl")]
    # Run names may hold folders of their own, as `${model}/${seed}`.
    folders += [path.parent for path in training.glob("*/*/metrics.jsonl")]
    folders = [
        path for path in folders if not any(part.startswith(".") for part in path.parts[-2:])
    ]
    if not folders:
        raise PlottingError(_nothing_in(folder, training))
    home = training.parent if training.name == "training" else folder
    return _experiment(sorted(folders, key=_natural_key), name=home.resolve().name, home=home)


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
        metrics = read_metrics(folder / "metrics.jsonl")
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
    except (OSError, ValueError) as error:
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

    A torn last line, which a killed run leaves, is ignored. Any other line that is no JSON
    object is left out with a warning.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    return {
        name: _curve(np.array(steps, dtype=float), _numbers(values))
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
        except ValueError:
            continue
        if set(map(type, rows)) <= {dict}:
            return rows
    rows = []
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif number < len(lines) and line.strip():
            _log.warning("%s: line %d is no JSON object; left out.", path, number)
    return rows


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]  # whatever a line may hold
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _curve(steps: Array, values: Array) -> Curve:
    """Points in the order of their steps; of several with the same step, the last one."""
    finite = np.isfinite(steps)
    if not finite.all():
        steps, values = steps[finite], values[finite]
    if len(steps) > 1 and not (np.diff(steps) > 0).all():
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
        last = np.append(np.diff(steps) > 0, True)
        steps, values = steps[last], values[last]
    return Curve(steps, values)


def _natural_key(path: Path) -> list[tuple[int, float, str]]:
    return natural_key(str(path))


def natural_key(value: object) -> list[tuple[int, float, str]]:
    """A key that sorts 2 before 10, in numbers and inside names.

    >>> sorted(["cnn_10", "cnn_2"], key=natural_key)
    ['cnn_2', 'cnn_10']
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [(0, float(value), "")]
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)", value_text(value))
    return [
        (0, float(part), "") if part[:1].isdigit() else (1, 0.0, part) for part in parts if part
    ]


# ---------------------------------------------------------------- tables


def _is_dataframe(value: object) -> TypeIs[DataFrame]:
    return hasattr(value, "columns") and hasattr(value, "to_numpy") and hasattr(value, "index")


def _read_csv(path: Path) -> DataFrame:
    import pandas

    try:
        return pandas.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise PlottingError(f"{path}: cannot be read as CSV: {error}") from error


def _by_distinct_names(paths: Sequence[Path]) -> dict[str, Path]:
    """Files by stem; where stems repeat, as metrics.csv does, by their folder's name."""
    stems = {path.stem for path in paths}
    if len(stems) == len(paths):
        return {path.stem: path for path in paths}
    folders = {path.parent.name for path in paths}
    if len(folders) == len(paths):
        return {path.parent.name: path for path in paths}
    return {str(path): path for path in paths}


def _experiment_of_table(table: DataFrame, *, name: str) -> Experiment:
    columns = [str(column) for column in table.columns]
    table = table.set_axis(columns, axis="columns")
    run_column = _first(columns, RUN_NAMES)
    if run_column is None:
        step, metrics = _columns_to_curves(table, where=name or "DataFrame")
        return Experiment(name=name, runs=(Run(name or "run", {}, metrics),), step=step)
    return _experiment_of_long_table(table, run_column, name=name)


def _experiment_of_long_table(table: DataFrame, run_column: str, *, name: str) -> Experiment:
    columns = [column for column in table.columns if column != run_column]
    if "metric" in columns and "value" in columns:
        index = [column for column in columns if column not in ("metric", "value")]
        table = table.pivot_table(
            index=[run_column, *index], columns="metric", values="value", dropna=False, sort=False
        ).reset_index()
        table = table.dropna(how="all", subset=table.columns[len(index) + 1 :])
        table.columns = [str(column) for column in table.columns]
        columns = [column for column in table.columns if column != run_column]
    step_column = _first(columns, STEP_NAMES)
    setting_columns = _setting_columns(table, run_column, columns, step_column)
    curve_columns = [column for column in columns if column not in setting_columns]
    if curve_columns in ([], [step_column]):
        raise PlottingError(
            f"{name or 'DataFrame'} has no metric: in every run {listed(setting_columns)} keeps "
            "one value, which makes it a setting. Give one run as a wide table, or a dict of runs."
        )
    runs = []
    step = step_column or "step"
    for run_name, rows in table.groupby(run_column, sort=False):
        values = {key: _python_value(rows[key].iloc[0]) for key in setting_columns}
        step, metrics = _columns_to_curves(rows[curve_columns], where=f"run {run_name!r}")
        runs.append(Run(str(run_name), values, metrics))
    return Experiment(name=name, runs=tuple(runs), step=step)


def _setting_columns(
    table: DataFrame, run_column: str, columns: Sequence[str], step_column: str | None
) -> list[str]:
    """Columns that hold one value per run: what the run was set to, not what was measured."""
    grouped = table.groupby(run_column, sort=False)
    several_rows = int(grouped.size().max()) > 1
    settings = []
    for column in columns:
        if column == step_column:
            continue
        constant = bool((grouped[column].nunique(dropna=False) == 1).all())
        numeric = table[column].dtype.kind in "fiu"
        differs = table[column].nunique(dropna=False) > 1
        if not numeric and not constant:
            raise PlottingError(
                f"Column {column!r} holds text that changes within a run: neither a metric nor a "
                "setting. Drop it, or convert it to numbers."
            )
        if not numeric or column == "seed" or (constant and differs and several_rows):
            settings.append(column)
    return settings


def _columns_to_curves(table: DataFrame, *, where: str) -> tuple[str, dict[str, Curve]]:
    """The step's name and a curve per numeric column."""
    columns = [str(column) for column in table.columns]
    step_column = _first(columns, STEP_NAMES)
    index_name = str(table.index.name or "")
    if step_column is not None:
        steps = table[step_column].to_numpy(dtype=float)
        step = step_column
    elif table.index.dtype.kind in "fiu" and index_name:
        steps, step = table.index.to_numpy(dtype=float), index_name
    else:
        steps, step = np.arange(len(table), dtype=float), "step"
    curves = {}
    for column in columns:
        if column == step_column or column.startswith("Unnamed:"):  # an index saved by pandas
            continue
        if table[column].dtype.kind not in "fiub":
            raise PlottingError(
                f"{where}: column {column!r} holds no numbers. Metrics are numbers; name the "
                f"column of run names one of {', '.join(RUN_NAMES)}."
            )
        values = table[column].to_numpy(dtype=float)
        # In a table a missing cell means that this metric was not logged at this step.
        logged = ~np.isnan(values)
        curves[column] = _curve(steps[logged], values[logged])
    if not curves:
        raise PlottingError(f"{where} has no column of numbers beside the steps; got {columns}.")
    return step, curves


def _experiment_of_runs(sources: Mapping[str, object]) -> Experiment:
    if not sources:
        raise PlottingError("There is nothing to plot: the dict of runs is empty.")
    runs = []
    steps = set()
    for name, source in sources.items():
        step, metrics = _metrics_of_run(str(name), source)
        steps.add(step)
        runs.append(Run(str(name), {}, metrics))
    return Experiment(name="", runs=tuple(runs), step=steps.pop() if len(steps) == 1 else "step")


def _metrics_of_run(name: str, source: object) -> tuple[str, dict[str, Curve]]:
    if isinstance(source, (str, PathLike)):
        path = Path(source)
        if path.is_dir():
            experiment = read_folder(path)
            return experiment.step, dict(experiment.runs[0].metrics)
        if not path.is_file():
            raise PlottingError(f"Run {name!r}: there is no file {str(path)!r}.")
        source = _read_csv(path)
    if _is_dataframe(source):
        return _columns_to_curves(source, where=f"run {name!r}")
    if isinstance(source, Mapping):
        curves: dict[str, Curve] = {}
        for metric, values in source.items():
            try:
                array = np.asarray(values, dtype=float)
            except (TypeError, ValueError):
                array = np.empty((0, 0))
            if array.ndim != 1:
                raise PlottingError(
                    f"Run {name!r}, metric {metric!r}: expected a list of numbers, one per step; "
                    f"got {values!r:.80}."
                )
            curves[str(metric)] = Curve(np.arange(len(array), dtype=float), array)
        return "step", curves
    raise PlottingError(
        f"Run {name!r} is a {type(source).__name__}; expected a DataFrame, a CSV file or a dict of "
        "metric → values."
    )


def _first(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The first column that has one of these names, by the order of the names."""
    by_lowered: dict[str, str] = {column.lower(): column for column in columns}
    return next((by_lowered[name] for name in names if name in by_lowered), None)


def _python_value(value: Any) -> object:
    item: Callable[[], object] | None = getattr(value, "item", None)
    plain = item() if item is not None else value
    return None if isinstance(plain, float) and math.isnan(plain) else plain
