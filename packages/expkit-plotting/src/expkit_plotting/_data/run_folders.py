"""Runs in folders that expkit-bookkeeping wrote; `expkit_bookkeeping.reading` reads them.

What is said about the grid, `expkit_hydra.reading` knows; without expkit-hydra it is left out.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from .errors import PlottingError, listed
from .files import short_path
from .groups import group_runs, natural_key, swept_keys
from .runs import Curve, Experiment, Run
from .siblings import reader_of_grids, reader_of_runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping.reading import RunRecord
    from expkit_hydra.reading import GridSettings

_log = logging.getLogger(__name__)

GRID = "grid_search.yaml"


def read_folder(folder: Path) -> Experiment:
    """The runs of an experiment's folder or of its `training` folder; the run of its own folder.

    Raises:
        PlottingError: If there is none with metrics.
        ImportError: If expkit-bookkeeping is missing or too old.
    """
    return read_folders([folder])[0]


def read_folders(folders: Sequence[Path]) -> list[Experiment]:
    """As `read_folder`, for several: a key that one of them swept has a value in all their runs.

    Raises:
        PlottingError: If there is no run with metrics in one of them.
        ImportError: If expkit-bookkeeping is missing or too old.
    """
    with reader_of_runs():
        from expkit_bookkeeping.reading import (
            UNKNOWN,
            experiment_folder,
            folders_with_metrics,
            read_run,
            swept_values,
        )
    run_folders = []
    for folder in folders:
        runs = folders_with_metrics(folder)
        if not runs:
            raise PlottingError(_nothing_in(folder))
        run_folders.append(sorted(runs, key=lambda path: natural_key(str(path))))
    # None: curves can be drawn without it.
    records = {run: read_run(run) for runs in run_folders for run in runs}
    readable = [record for record in records.values() if record is not None]
    settings = {
        record.folder: dict(values)
        for record, values in zip(readable, swept_values(readable), strict=True)
        if any(value is not UNKNOWN for value in values.values())
    }
    experiments = []
    for folder, runs in zip(folders, run_folders, strict=True):
        home = experiment_folder(folder)
        experiments.append(
            _experiment(
                {run: records[run] for run in runs},
                settings,
                name="" if runs == [folder] else home.resolve().name,
                home=home,
            )
        )
    return experiments


def numbers_in_grid(experiment: Path) -> dict[int, str]:
    """Names of the latest grid's runs, by their number; empty where there is no grid.

    Raises:
        PlottingError: If the grid is damaged.
        ImportError: If there is a grid, and expkit-hydra is missing or too old.
    """
    if not (experiment / GRID).is_file():
        return {}
    with reader_of_grids("A run's number in the grid"):
        from expkit_hydra.reading import grid_runs
    try:
        return {run.index: run.run_name for run in grid_runs(experiment)}
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise PlottingError(f"Give the run's name, not its number: {error}") from None


def experiment_style(folder: Path) -> tuple[Mapping[str, object], str] | None:
    """The style that the experiment was configured with: the key `plotting`, and where it is.

    It is in the grid's description, else in the configuration of a run; None where neither has
    one.
    """
    if not folder.is_dir():
        return None
    with reader_of_runs():
        from expkit_bookkeeping.reading import experiment_folder, read_config
    experiment = experiment_folder(folder)
    try:
        settings = grid_settings(experiment)
        style = None if settings is None else settings.config.get("plotting")
        if isinstance(style, Mapping) and style:
            return style, f"{short_path(experiment / GRID)}: config.plotting"
        first = sorted((experiment / "training").glob("*"), key=lambda run: run.name)[:1]
        for run in dict.fromkeys((folder, *first)):
            try:
                style = read_config(run).get("plotting")
            except FileNotFoundError:
                continue
            if isinstance(style, Mapping) and style:
                return style, f"{short_path(run / 'config.yaml')}: plotting"
    except ValueError as error:
        raise PlottingError(str(error)) from None
    return None


def grid_settings(experiment: Path) -> GridSettings | None:
    """What the grid's description says; None where there is none, or no expkit-hydra to read it."""
    if not (experiment / GRID).is_file():
        return None
    try:
        with reader_of_grids("The experiment's own style"):
            from expkit_hydra.reading import grid_settings as read_settings
    except ImportError as error:
        if getattr(error.__cause__, "name", None) == "expkit_hydra":  # it is not there at all
            return None
        raise
    return read_settings(experiment)


def warn_of_differences(runs: Sequence[Run], keys: Sequence[str] | None) -> None:
    """Warn if runs that are averaged differ in more than swept keys.

    Args:
        runs: The runs.
        keys: Keys whose values make a group; None: nothing is averaged.
    """
    swept = swept_keys([run.settings for run in runs])
    labels_by_text: dict[str, list[str]] = {}
    for group in [] if keys is None else group_runs(runs, keys):
        folders = [run.folder for run in group.runs if run.folder is not None]
        if len(folders) < 2:
            continue
        with reader_of_runs():
            from expkit_bookkeeping.reading import configuration_differences, differences_text

        differences = configuration_differences(folders, swept)
        if differences:
            labels_by_text.setdefault(differences_text(differences), []).append(group.label)
    for text, names in labels_by_text.items():
        warnings.warn(
            f"Means over runs whose configurations differ, not only in what is repeated: {text}, "
            f"in {listed(names)}. Sweep these keys, or leave such runs out.",
            stacklevel=4,
        )


def _nothing_in(folder: Path) -> str:
    with reader_of_runs():
        from expkit_bookkeeping.reading import experiment_folder, find_runs

    experiments = sorted(path.parent.name for path in folder.glob("*/training"))
    if experiments:
        return (
            f"{str(folder)!r} holds experiments, not runs: {listed(experiments)}. "
            f"Give one, such as {str(folder / experiments[0])!r}."
        )
    if find_runs(experiment_folder(folder), is_alive=lambda record: None):
        return (
            f"No run in {str(folder)!r} has logged a metric yet (no metrics.jsonl). What another "
            "logger wrote is drawn from its file: expkit plot FILE.csv."
        )
    return (
        f"{str(folder)!r} holds no runs: neither training/*/metrics.jsonl nor */metrics.jsonl. "
        "Give the experiment's folder, such as results/digits."
    )


def _experiment(
    records: Mapping[Path, RunRecord | None],
    settings: Mapping[Path, Mapping[str, object]],
    *,
    name: str,
    home: Path,
) -> Experiment:
    with reader_of_runs():
        from expkit_bookkeeping.reading import read_curves, repeated_names

    runs: dict[str, Run] = {}
    metric = direction = None
    counts_epochs = True
    for folder, record in records.items():
        if record is not None and record.state == "unknown":
            labels = "labels of its configuration" if folder in settings else "no labels"
            _log.warning("%s; plotting its run with %s.", record.reason, labels)
        curves = {
            metric_name: Curve(np.array(curve.steps), np.array(curve.values))
            for metric_name, curve in read_curves(folder).items()
        }
        run_name = folder.name if record is None else record.run_name
        if run_name in runs:  # two folders of one name, or a copied run
            run_name = f"{folder.parent.name}/{folder.name}"
        state = None if record is None else record.state
        runs[run_name] = Run(run_name, settings.get(folder, {}), curves, folder, state)
        if record is not None:
            name = name or record.experiment_id or ""
            if record.best is not None and metric is None:
                metric, direction = record.best.get("metric"), record.best.get("direction")
        counts_epochs = counts_epochs and _counts_epochs(record, curves.values())
    return Experiment(
        name=name,
        runs=tuple(runs.values()),
        folder=home,
        step="epoch" if counts_epochs else "step",
        metric=metric if isinstance(metric, str) else None,
        direction=direction if direction in ("minimize", "maximize") else None,
        repeat=repeated_names(home, [record for record in records.values() if record]),
    )


def _counts_epochs(record: RunRecord | None, curves: Iterable[Curve]) -> bool:
    """Steps are epochs if the run says how many epochs it has, and no step exceeds their number."""
    progress = None if record is None else record.progress
    total = None if progress is None else progress.get("total")
    if not isinstance(total, (int, float)):
        return False
    return all(not len(curve.steps) or curve.steps[-1] <= total for curve in curves)
