"""Runs from any source of them: folders, DataFrames, CSV files and dicts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, count
from os import PathLike
from pathlib import Path

import numpy as np

from .errors import PlottingError, listed
from .exports import run_of_tensorboard_file
from .groups import swept_keys
from .run_folders import read_folder, read_folders
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
              where one of them is an experiment, or holds several runs, all runs of each, with
              these names as the values of one more swept key, `experiment`.

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
        return _experiment_of_parts(source)
    if isinstance(source, Sequence) and source:
        return _experiment_of_parts(_by_distinct_names([Path(path) for path in source]))
    raise PlottingError(
        f"Cannot plot from {type(source).__name__}. Give a results folder, a DataFrame, CSV files "
        "or a dict of them."
    )


def _by_distinct_names(paths: Sequence[Path]) -> dict[str, object]:
    """Folders by name, files by run or stem; where these repeat, by more of their paths."""
    if all(path.is_dir() for path in paths):
        return _by_tail([path.resolve() for path in paths])
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


def _by_tail(folders: Sequence[Path]) -> dict[str, object]:
    """Folders by as many last parts of their paths as tell them apart: `digits`, `old/digits`."""
    homes = [folder.parent if folder.name == "training" else folder for folder in folders]
    for home, times in Counter(homes).items():
        if times > 1:
            raise PlottingError(f"{str(home)!r} is given twice; name them, in a dict.")
    for length in range(1, max(len(home.parts) for home in homes) + 1):
        names = ["/".join(home.parts[-length:]) for home in homes]
        if len(set(names)) == len(names):
            break
    return dict(zip(names, folders, strict=True))


def _experiment_of_parts(sources: Mapping[str, object]) -> Experiment:
    """Each source's run under its name, or, of several experiments, all runs of each."""
    if not sources:
        raise PlottingError("There is nothing to plot: the dict of runs is empty.")
    parts = _read_parts({str(name): source for name, source in sources.items()})
    are_runs = all(
        len(part.runs) == 1 and part.runs[0].folder in (None, source)
        for part, source in zip(parts.values(), map(_as_path, sources.values()), strict=True)
    )
    if not are_runs:
        return _experiment_of_experiments(parts)
    runs = [
        replace(part.runs[0], name=name, settings={}, folder=None) for name, part in parts.items()
    ]
    return Experiment(name="", runs=tuple(runs), step=_common_step(parts))


def _experiment_of_experiments(parts: Mapping[str, Experiment]) -> Experiment:
    """All runs of several experiments, whose names are the values of one more swept key."""
    keys = swept_keys([run.settings for part in parts.values() for run in part.runs])
    key = next(
        key
        for key in chain(["experiment", "experiment_id"], map("experiment_{}".format, count(2)))
        if key not in keys
    )
    if key != "experiment":
        _log.warning(
            "These runs have swept a key 'experiment' of their own, so which experiment a run is "
            "of stands under %r.",
            key,
        )
    runs = [
        replace(
            run,
            name=name if part.folder is None and len(part.runs) == 1 else f"{name}/{run.name}",
            settings={key: name, **run.settings},
        )
        for name, part in parts.items()
        for run in part.runs
    ]
    repeats = dict.fromkeys(part.repeat for part in parts.values())
    repeat = tuple(dict.fromkeys(name for names in repeats for name in names))
    if len(repeats) > 1:
        said = listed(f"{', '.join(part.repeat)} in {name!r}" for name, part in parts.items())
        _log.warning(
            "expkit.repeat differs: %s. Averaged over %s; repeat= chooses.", said, ", ".join(repeat)
        )
    aims = {(part.metric, part.direction) for part in parts.values() if part.metric is not None}
    metric, direction = aims.pop() if len(aims) == 1 else (None, None)
    return Experiment(
        name="",
        runs=tuple(runs),
        step=_common_step(parts),
        metric=metric,
        direction=direction,
        repeat=repeat,
        experiment_key=key,
        folders={name: part.folder for name, part in parts.items() if part.folder is not None},
    )


def _common_step(parts: Mapping[str, Experiment]) -> str:
    """What the x axis of all parts counts; "step" if that differs."""
    steps = {name: part.step for name, part in parts.items()}
    if len(set(steps.values())) == 1:
        return next(iter(steps.values()))
    counted = listed(f"{step} in {name!r}" for name, step in steps.items())
    _log.warning("The x axis of these runs counts different things: %s.", counted)
    return "step"


def _read_parts(sources: Mapping[str, object]) -> dict[str, Experiment]:
    """What each source holds; folders together, because runs of one may lack a key of another."""
    folders = {
        name: path
        for name, source in sources.items()
        if (path := _as_path(source)) is not None and path.is_dir()
    }
    experiments = {}
    if folders:
        experiments = dict(zip(folders, read_folders(list(folders.values())), strict=True))
    return {
        name: experiments[name] if name in experiments else _experiment(name, source)
        for name, source in sources.items()
    }


def _as_path(source: object) -> Path | None:
    return Path(source) if isinstance(source, (str, PathLike)) else None


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
