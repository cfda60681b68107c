"""Runs from any source of them: folders, DataFrames, CSV files and dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from .errors import PlottingError
from .run_folders import read_folder
from .runs import Curve, Experiment, Run
from .tables import curves_of_columns, experiment_of_table, is_dataframe, read_csv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from pandas import DataFrame

    Source: TypeAlias = (
        str | PathLike[str] | DataFrame | Sequence[str | PathLike[str]] | Mapping[str, object]
    )


def read_source(source: Source) -> Experiment:
    """Runs from any source of them.

    Args:
        source: One of

            - an expkit folder: an experiment, its `training` folder, or one run;
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
            return experiment_of_table(read_csv(path), name=path.stem)
        raise PlottingError(
            f"There is no folder or CSV file {str(path)!r}. Give a results folder such as "
            "results/digits, a CSV file, a DataFrame or a dict of them."
        )
    if is_dataframe(source):
        return experiment_of_table(source, name="")
    if isinstance(source, Mapping):
        return _experiment_of_runs(source)
    if isinstance(source, Sequence) and source:
        return _experiment_of_runs(_by_distinct_names([Path(path) for path in source]))
    raise PlottingError(
        f"Cannot plot from {type(source).__name__}. Give a results folder, a DataFrame, CSV files "
        "or a dict of them."
    )


def _by_distinct_names(paths: Sequence[Path]) -> dict[str, Path]:
    """Files by stem; where stems repeat, as metrics.csv does, by their folder's name."""
    stems = {path.stem for path in paths}
    if len(stems) == len(paths):
        return {path.stem: path for path in paths}
    folders = {path.parent.name for path in paths}
    if len(folders) == len(paths):
        return {path.parent.name: path for path in paths}
    return {str(path): path for path in paths}


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
        source = read_csv(path)
    if is_dataframe(source):
        return curves_of_columns(source, where=f"run {name!r}")
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
        f"Run {name!r} is of type {type(source).__name__}; expected a DataFrame, a CSV file or a "
        "dict of metric → values."
    )
