"""Reading runs from tables: DataFrames, long or wide, and CSV files."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import PlottingError, listed
from .exports import (
    RUN_NAMES,
    STEP_NAMES,
    TIME_NAMES,
    first_column,
    is_metric,
    is_table_of_runs,
    step_column,
    table_of_export,
)
from .runs import Curve, Experiment, Run, curve_of_points

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pandas import DataFrame
    from typing_extensions import TypeIs

    from .runs import Array

_log = logging.getLogger(__name__)


def is_dataframe(value: object) -> TypeIs[DataFrame]:
    """Whether this is a DataFrame, decided without importing pandas."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy") and hasattr(value, "index")


def read_csv(path: Path) -> DataFrame:
    import pandas

    try:
        return pandas.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise PlottingError(f"{path}: cannot be read as CSV: {error}") from error


def experiment_of_table(table: DataFrame, *, name: str, where: str = "") -> Experiment:
    """The runs of a long table, which has a column of run names, or the one of a wide table.

    Args:
        table: The table.
        name: The name of its file without suffix; "" if it comes from none.
        where: What messages call it; by default its name.

    Raises:
        PlottingError: If there is no metric in it.
    """
    where = where or name or "DataFrame"
    columns = [str(column) for column in table.columns]
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise PlottingError(f"{where} has several columns called {listed(repeated)}.")
    table = table_of_export(table.set_axis(columns, axis="columns"), name)
    run_column = first_column(table.columns, RUN_NAMES)
    if run_column is None:
        step, metrics = _curves_of_columns(table, where=where)
        return Experiment(name=name, runs=(Run(name or "run", {}, metrics),), step=step)
    return _experiment_of_long_table(table, run_column, name=name, where=where)


def _experiment_of_long_table(
    table: DataFrame, run_column: str, *, name: str, where: str
) -> Experiment:
    unnamed = int(table[run_column].isna().sum())
    if unnamed:
        raise PlottingError(f"{where}: {unnamed} rows have no name in column {run_column!r}.")
    if {"metric", "value"} <= set(table.columns):
        table = _with_metrics_as_columns(table)
    columns = [column for column in table.columns if column != run_column and is_metric(column)]
    by_run = dict(list(table.groupby(run_column, sort=False)))
    setting_columns = _setting_columns(table, run_column, columns)
    metric_columns = [column for column in columns if column not in setting_columns]
    counted = _step_column(table, metric_columns, list(by_run.values()))
    is_of_runs = len(by_run) == len(table) > 1 or is_table_of_runs(columns)
    if counted is None and is_of_runs:
        raise PlottingError(
            f"{where} has one row per run, so it says how the runs ended, not what they logged at "
            "which step. Give what each run logged, such as MLflow's metrics.csv."
        )
    if not metric_columns:
        raise PlottingError(
            f"{where} has no metric: in every run {listed(setting_columns)} keeps one value, which "
            "makes it a setting. Give one run as a wide table, or a dict of runs."
        )
    runs = []
    step = "step"
    for run_name, rows in by_run.items():
        values = {key: _python_value(rows[key].iloc[0]) for key in setting_columns}
        step, steps = _steps(rows, counted)
        metrics = _curves(rows, metric_columns, steps, where=f"run {run_name!r}")
        runs.append(Run(str(run_name), values, metrics))
    return Experiment(name=name, runs=tuple(runs), step=step)


def _with_metrics_as_columns(table: DataFrame) -> DataFrame:
    """A column for each metric of a table that has a row for each value."""
    metrics = [str(metric) for metric in table["metric"].unique()]
    values = {
        metric: table["value"].where(table["metric"].astype(str) == metric) for metric in metrics
    }
    return table.drop(columns=["metric", "value"]).assign(**values)


def _setting_columns(table: DataFrame, run_column: str, columns: Sequence[str]) -> list[str]:
    """Columns that hold one value per run: what the run was set to, not what was measured."""
    grouped = table.groupby(run_column, sort=False)
    several_rows = int(grouped.size().max()) > 1
    settings = []
    for column in columns:
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


def _curves_of_columns(table: DataFrame, *, where: str) -> tuple[str, dict[str, Curve]]:
    """The step's name and a curve per numeric column."""
    columns = [column for column in table.columns if is_metric(column)]
    step, steps = _steps(table, _step_column(table, columns, [table]))
    curves = _curves(table, columns, steps, where=where)
    if not curves:
        raise PlottingError(
            f"{where} has no column of numbers besides the steps; got {list(table.columns)}."
        )
    return step, curves


def _step_column(table: DataFrame, metrics: Sequence[str], runs: Sequence[DataFrame]) -> str | None:
    """What the x axis counts: of the usual columns the first that keeps most points apart.

    A column `epoch` beside a column `step` often has one value for many steps. Times are taken only
    where there is no such column, or it does not count.

    Args:
        table: All rows.
        metrics: The columns of metrics.
        runs: The rows of each run.
    """
    points = int(table[list(metrics)].notna().to_numpy().sum())
    curves = sum(int(rows[metric].notna().any()) for rows in runs for metric in metrics)

    def kept(column: str) -> int:
        return sum(
            rows.loc[rows[metric].notna(), column].nunique() for rows in runs for metric in metrics
        )

    chosen = None
    for names in (STEP_NAMES, TIME_NAMES):
        usual = [step_column(table.columns, name) for name in names]
        columns = [name for name in usual if name and table[name].dtype.kind in "fiu"]
        best = max(columns, key=kept, default=None)
        if best is not None and (chosen is None or kept(best) > kept(chosen) <= curves):
            chosen = best
    if chosen is not None and kept(chosen) < points:
        _log.warning(
            "Only %d of %d points are drawn: where several have one %s, the last; none without it.",
            *(kept(chosen), points, chosen),
        )
    return chosen


def _steps(table: DataFrame, column: str | None) -> tuple[str, Array]:
    """The name of what is counted, and its values: the index or the rows if no column does."""
    if column is not None:
        return column, table[column].to_numpy(dtype=float)
    if table.index.dtype.kind in "fiu" and table.index.name:
        return str(table.index.name), table.index.to_numpy(dtype=float)
    return "step", np.arange(len(table), dtype=float)


def _curves(
    table: DataFrame, columns: Sequence[str], steps: Array, *, where: str
) -> dict[str, Curve]:
    curves = {}
    for column in columns:
        if table[column].dtype.kind not in "fiub":
            raise PlottingError(
                f"{where}: column {column!r} holds no numbers. Metrics are numbers; call the "
                f"column of run names one of {', '.join(RUN_NAMES)}."
            )
        values = table[column].to_numpy(dtype=float)
        # In a table a missing cell means that this metric was not logged at this step.
        logged = ~np.isnan(values)
        curves[column] = curve_of_points(steps[logged], values[logged])
    return curves


def _python_value(value: Any) -> object:
    item: Callable[[], object] | None = getattr(value, "item", None)
    plain = item() if item is not None else value
    return None if isinstance(plain, float) and math.isnan(plain) else plain
