"""Runs from any source of them: folders, DataFrames, CSV files and dicts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np

from .errors import PlottingError, listed
from .exports import run_of_tensorboard_file
from .run_folders import read_folder
from .runs import Curve, Experiment, Run
from .tables import experiment_of_table, is_dataframe, read_csv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from pandas import DataFrame

    Source: TypeAlias = (
        str | PathLike[str] | DataFrame | Sequence[str | PathLike[str]] | Mapping[str, object]
    )

_log = logging.getLogger(__name__)


def read_source(source: Source) -> Experiment:
    """Runs from any source of them.

    Args:
        source: One of

            - an expkit folder: an experiment, its `training` folder, or one run;
            - a DataFrame, long (a column `run`, a column `epoch` or `step`, metrics) or wide
              (a column per metric of one run, or per run of one metric);
            - a CSV file that holds such a table, or a list of them, one per run;
            - a dict from names to run folders, DataFrames, CSV files or dicts of metric → values;
              where one of them holds several runs, as an experiment does, `experiment` is a
              setting of all runs.

            CSV files may be those of Lightning's CSVLogger, or exported from Weights & Biases,
            TensorBoard or MLflow.

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


def _by_distinct_names(paths: Sequence[Path]) -> dict[str, object]:
    """Files by run or stem; where stems repeat, as metrics.csv does, by their folder's name."""
    runs = [run_of_tensorboard_file(path.stem) for path in paths]
    if None not in runs:
        files_by_run: dict[str, list[Path]] = {}
        for run, path in zip(runs, paths, strict=True):
            files_by_run.setdefault(str(run), []).append(path)
        return dict(files_by_run)
    stems = {path.stem for path in paths}
    if len(stems) == len(paths):
        return {path.stem: path for path in paths}
    folders = {path.parent.name for path in paths}
    if len(folders) == len(paths):
        return {path.parent.name: path for path in paths}
    if len(set(paths)) < len(paths):
        raise PlottingError("A file is given twice; name them, in a dict of run → file.")
    return {str(path): path for path in paths}


def _experiment_of_runs(sources: Mapping[str, object]) -> Experiment:
    """Each source's run under its name; the runs of an experiment have that name as a setting."""
    if not sources:
        raise PlottingError("There is nothing to plot: the dict of runs is empty.")
    experiments = {str(name): _experiment(str(name), source) for name, source in sources.items()}
    are_single = all(len(experiment.runs) == 1 for experiment in experiments.values())
    runs = []
    for name, experiment in experiments.items():
        for run in experiment.runs:
            if are_single:
                runs.append(replace(run, name=name, settings={}, folder=None))
            else:
                settings = {**run.settings, "experiment": name}
                runs.append(replace(run, name=f"{name}/{run.name}", settings=settings))
    steps = {name: experiment.step for name, experiment in experiments.items()}
    if len(set(steps.values())) > 1:
        counted = listed(f"{step} in {name!r}" for name, step in steps.items())
        _log.warning("The x axis of these runs counts different things: %s.", counted)
        return Experiment(name="", runs=tuple(runs))
    return Experiment(name="", runs=tuple(runs), step=next(iter(steps.values())))


def _experiment(name: str, source: object) -> Experiment:
    where = f"run {name!r}"
    if isinstance(source, list) and source and all(isinstance(part, Path) for part in source):
        parts = [_experiment(name, part) for part in source]
        curves = [
            (metric, curve) for part in parts for metric, curve in part.runs[0].metrics.items()
        ]
        metrics = dict(curves)
        if len(metrics) < len(curves):
            raise PlottingError(f"Run {name!r}: a metric is in several of its files.")
        return replace(parts[0], runs=(Run(name, {}, metrics),))
    if isinstance(source, (str, PathLike)):
        path = Path(source)
        if path.is_dir():
            return read_folder(path)
        if not path.is_file():
            raise PlottingError(f"Run {name!r}: there is no file {str(path)!r}.")
        return experiment_of_table(read_csv(path), name=path.stem, where=where)
    if is_dataframe(source):
        return experiment_of_table(source, name="", where=where)
    if isinstance(source, Mapping):
        curves_by_metric: dict[str, Curve] = {}
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
            curves_by_metric[str(metric)] = Curve(np.arange(len(array), dtype=float), array)
        return Experiment(name="", runs=(Run(name, {}, curves_by_metric),))
    raise PlottingError(
        f"Run {name!r} is of type {type(source).__name__}; expected a DataFrame, a CSV file or a "
        "dict of metric → values."
    )
