"""CSV files that other tools export, as long tables; which columns are steps, times and names."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pandas import DataFrame

STEP_NAMES = ("epoch", "step", "iteration", "global_step", "iter", "_step")
RUN_NAMES = ("run", "run_name", "run id", "run_id", "name")
# When something was logged: MLflow, Weights & Biases, TensorBoard. The x axis if nothing else is.
TIME_NAMES = (
    *("wall time", "timestamp", "_timestamp", "_runtime"),
    *("relative time (wall)", "relative time (process)"),
)
_log = logging.getLogger(__name__)

_WANDB_EXTREMES = ("__MIN", "__MAX")  # beside each column, of the points that were drawn as one
_TENSORBOARD = ["step", "value", "wall time"]
_TENSORBOARD_FILE = re.compile(r"run-(?P<run>.+)-tag-(?P<metric>.+?)(?: \(\d+\))?")


def first_column(columns: Iterable[str], names: Sequence[str]) -> str | None:
    """The first column that has one of these names, by the order of the names."""
    by_lowered = {column.lower(): column for column in columns}
    return next((by_lowered[name] for name in names if name in by_lowered), None)


def is_metric(column: str) -> bool:
    """Whether a column may hold values of a metric, going by its name."""
    no_metric = (*STEP_NAMES, *TIME_NAMES)
    return column.lower() not in no_metric and not column.startswith("Unnamed:")  # pandas' index


def table_of_export(table: DataFrame, stem: str) -> DataFrame:
    """An export as a long table of runs, metrics and values; any other table as it is.

    Args:
        table: With names that are text.
        stem: The name of its file without suffix; "" if it comes from none.
    """
    columns = [str(column) for column in table.columns]
    if sorted(column.lower() for column in columns) == _TENSORBOARD:
        return _of_tensorboard(table, stem)
    averaged = [
        column
        for column in columns
        if all(f"{column}{extreme}" in columns for extreme in _WANDB_EXTREMES)
    ]
    if averaged:
        return _of_wandb(table, averaged)
    if {"key", "value"} <= set(columns) and "metric" not in columns:  # MLflow
        return table.rename(columns={"key": "metric"})
    if {"Run ID", "metric", "value"} <= set(columns):  # a chart of MLflow
        return _of_mlflow_chart(table)
    return table


def run_of_tensorboard_file(stem: str) -> str | None:
    """The run whose metric is in `run-NAME-tag-METRIC.csv`; None for another file."""
    named = _TENSORBOARD_FILE.fullmatch(stem)
    if named is None:
        return None
    return "run" if named["run"] == "." else named["run"]


def _of_tensorboard(table: DataFrame, stem: str) -> DataFrame:
    """A table whose values are of the metric that its file's name says, if it does."""
    named = _TENSORBOARD_FILE.fullmatch(stem)
    value = first_column(table.columns, ["value"])
    if named is None:
        _log.warning(
            "%s: nothing says which metric %s is. Keep TensorBoard's name of the file, "
            "run-NAME-tag-METRIC.csv, or rename the column.",
            *(stem or "DataFrame", value),
        )
        return table
    run = run_of_tensorboard_file(stem)
    return table.rename(columns={value: "value"}).assign(run=run, metric=named["metric"])


def _of_wandb(table: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Columns called `RUN - METRIC`."""
    import pandas

    others = [
        column
        for column in table.columns
        if column not in columns and not column.endswith(_WANDB_EXTREMES)
    ]
    parts = []
    for column in columns:
        run, _, metric = column.rpartition(" - ")
        if is_metric(metric):
            values = table[others].assign(run=run or "run", metric=metric, value=table[column])
            parts.append(values)
    return pandas.concat(parts, ignore_index=True)


def _of_mlflow_chart(table: DataFrame) -> DataFrame:
    """Runs or groups by name; by name and id where several runs have one name."""
    name = first_column(table.columns, ["run", "group"])
    if name is None:
        return table
    names, ids = table[name], table["Run ID"]
    shared = ids.groupby(names).transform("nunique") > 1
    distinct = names.where(~shared, names.astype(str) + " (" + ids.astype(str).str[:8] + ")")
    return table.drop(columns=[name, "Run ID"]).assign(run=distinct)
