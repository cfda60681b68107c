"""Reading runs from tables: DataFrames, long or wide, and CSV files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import PlottingError, listed
from .runs import Curve, Experiment, Run, curve_of_points

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pandas import DataFrame
    from typing_extensions import TypeIs

STEP_NAMES = ("epoch", "step", "iteration", "global_step", "iter")
RUN_NAMES = ("run", "run_name", "run_id", "name")


def is_dataframe(value: object) -> TypeIs[DataFrame]:
    """Whether this is a DataFrame, decided without importing pandas."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy") and hasattr(value, "index")


def read_csv(path: Path) -> DataFrame:
    import pandas

    try:
        return pandas.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise PlottingError(f"{path}: cannot be read as CSV: {error}") from error


def experiment_of_table(table: DataFrame, *, name: str) -> Experiment:
    """The runs of a long table, which has a column of run names, or the one of a wide table."""
    columns = [str(column) for column in table.columns]
    table = table.set_axis(columns, axis="columns")
    run_column = _first(columns, RUN_NAMES)
    if run_column is None:
        step, metrics = curves_of_columns(table, where=name or "DataFrame")
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
        step, metrics = curves_of_columns(rows[curve_columns], where=f"run {run_name!r}")
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


def curves_of_columns(table: DataFrame, *, where: str) -> tuple[str, dict[str, Curve]]:
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
                f"{where}: column {column!r} holds no numbers. Metrics are numbers; call the "
                f"column of run names one of {', '.join(RUN_NAMES)}."
            )
        values = table[column].to_numpy(dtype=float)
        # In a table a missing cell means that this metric was not logged at this step.
        logged = ~np.isnan(values)
        curves[column] = curve_of_points(steps[logged], values[logged])
    if not curves:
        raise PlottingError(f"{where} has no column of numbers besides the steps; got {columns}.")
    return step, curves


def _first(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The first column that has one of these names, by the order of the names."""
    by_lowered: dict[str, str] = {column.lower(): column for column in columns}
    return next((by_lowered[name] for name in names if name in by_lowered), None)


def _python_value(value: Any) -> object:
    item: Callable[[], object] | None = getattr(value, "item", None)
    plain = item() if item is not None else value
    return None if isinstance(plain, float) and math.isnan(plain) else plain
