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
_WANDB_AXES = ("Step", "Wall Time", "Relative Time (Wall)", "Relative Time (Process)")
_TENSORBOARD = ["step", "value", "wall time"]
_TENSORBOARD_FILE = re.compile(r"run-(?P<run>.+)-tag-(?P<metric>.+?)(?: \(\d+\))?")


def first_column(columns: Iterable[str], names: Sequence[str]) -> str | None:
    """The first column that has one of these names, by the order of the names."""
    by_lowered = {column.lower(): column for column in columns}
    return next((by_lowered[name] for name in names if name in by_lowered), None)


def step_column(columns: Iterable[str], name: str) -> str | None:
    """The first column of steps of this name, as it is or behind a prefix: `trainer/global_step`.

    Lightning and Transformers write such prefixes to Weights & Biases.
    """
    names = [column for column in columns if column.lower().rpartition("/")[2] == name]
    return min(names, key=len, default=None)


def is_metric(column: str) -> bool:
    """Whether a column may hold values of a metric, going by its name."""
    if column.startswith("Unnamed:"):  # pandas' index
        return False
    return column.lower() not in TIME_NAMES and column.lower().rpartition("/")[2] not in STEP_NAMES


def is_table_of_runs(columns: Sequence[str]) -> bool:
    """Whether a row stands for a run, as in MLflow's `search_runs`."""
    return any(column.startswith(("metrics.", "params.")) for column in columns)


def table_of_export(table: DataFrame, stem: str) -> DataFrame:
    """An export as a long table of runs, metrics and values; any other table as it is.

    Args:
        table: With names that are text.
        stem: The name of its file without suffix; "" if it comes from none.
    """
    columns = [str(column) for column in table.columns]
    if sorted(column.lower() for column in columns) == _TENSORBOARD:
        return _of_tensorboard(table, stem)
    drawn = _columns_of_wandb_chart(columns)
    if drawn:
        return _of_wandb(table, drawn)
    if {"key", "value"} <= set(columns) and "metric" not in columns:  # MLflow
        table = table.rename(columns={"key": "metric"})
    if {"Run ID", "metric", "value"} <= set(columns):  # a chart of MLflow
        return _of_mlflow_chart(table)
    if {"metric", "value"} <= set(table.columns) and first_column(columns, RUN_NAMES) is None:
        return table.assign(run=stem or "run")
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


def _columns_of_wandb_chart(columns: Sequence[str]) -> list[str]:
    """The columns called `RUN - METRIC` of a chart of Weights & Biases; none of another table.

    Extremes stand beside each of them, or nothing but the x axis by a name of that tool.
    """
    others = [column for column in columns if not column.endswith(_WANDB_EXTREMES)] or [""]
    with_extremes = [
        column
        for column in others
        if all(f"{column}{extreme}" in columns for extreme in _WANDB_EXTREMES)
    ]
    if with_extremes:
        return with_extremes
    is_chart = others[0] in _WANDB_AXES and all(" - " in column for column in others[1:])
    return others[1:] if is_chart else []


def _of_wandb(table: DataFrame, drawn: Sequence[str]) -> DataFrame:
    """The runs and metrics of a chart; what its x axis counts is in the index if it is unusual."""
    import pandas

    others = [
        column
        for column in table.columns
        if column not in drawn and not column.endswith(_WANDB_EXTREMES)
    ]
    axes = [column for column in others if is_metric(column)]
    table = table.set_index(axes[0]) if axes else table
    others = [column for column in others if column not in axes]
    parts = []
    for column in drawn:
        run, _, metric = column.rpartition(" - ")
        if is_metric(metric):
            values = table[others].assign(run=run or "run", metric=metric, value=table[column])
            parts.append(values)
    return pandas.concat(parts, ignore_index=not axes)


def _of_mlflow_chart(table: DataFrame) -> DataFrame:
    """Runs or groups by name; by name and id where several runs have one name."""
    name = first_column(table.columns, ["run", "group"])
    if name is None:
        return table
    names, ids = table[name], table["Run ID"]
    shared = ids.groupby(names).transform("nunique") > 1
    distinct = names.where(~shared, names.astype(str) + " (" + ids.astype(str).str[:8] + ")")
    return table.drop(columns=[name, "Run ID"]).assign(run=distinct)
