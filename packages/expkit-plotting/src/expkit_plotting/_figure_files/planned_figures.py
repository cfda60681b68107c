"""The figures that a request comes to: their recipes and data, and the files they go into."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._data.errors import PlottingError, near_match
from .._data.run_folders import warn_of_differences
from .._data.runs import Experiment
from .._recipes.confusion_recipe import confusion_recipe
from .._recipes.data_files import FigureData
from .._recipes.end_values import final_recipe, heatmap_recipe
from .._recipes.recipe import Recipe
from .._recipes.selection import find_run, metric_recipe, run_recipe, warn_of_absent_metrics
from .paths import confusion_figure_name, metric_figure_name, run_figure_path

# By the name that the command line has for a kind, what makes its recipe.
OVER_ALL_RUNS: Mapping[str, Callable[..., tuple[Recipe, FigureData]]] = {
    "curves": metric_recipe,
    "final": final_recipe,
    "heatmap": heatmap_recipe,
}
KINDS: Mapping[str, Callable[..., tuple[Recipe, FigureData]]] = {
    **OVER_ALL_RUNS,
    "confusion": confusion_recipe,
}


@dataclass(frozen=True)
class PlannedFigure:
    """A figure to be drawn, unless it is up to date; `path` has no suffix."""

    path: Path
    recipe: Recipe
    data: FigureData


@dataclass(frozen=True)
class Places:
    """Where figures go.

    Attributes:
        plots: The folder for figures over all runs.
        subfolder: The folder in there, and in a run's own, for another style; "" for the own one.
        out: The folder for all figures, if they go elsewhere.
    """

    plots: Path
    subfolder: str
    out: Path | None


def check_options(kind: str, options: Mapping[str, Any]) -> None:
    """Raise PlottingError for a kind that there is not, or an option of another kind."""
    if kind not in KINDS:
        raise PlottingError(
            f"kind must be one of {', '.join(KINDS)}; got {kind!r:.80}.{near_match(kind, KINDS)}"
        )
    for option in options:
        takers = [
            name for name, recipe in KINDS.items() if option in inspect.signature(recipe).parameters
        ]
        if kind not in takers:
            raise PlottingError(
                f"{option.replace('_', '-')} is no option of kind {kind!r}, but of "
                f"{' and '.join(takers)}."
            )


def figures_over_all_runs(
    experiment: Experiment,
    metrics: Sequence[str],
    places: Places,
    *,
    kind: str,
    options: Mapping[str, Any],
) -> list[PlannedFigure]:
    """One figure for each metric; by default of curves all, of other kinds the experiment's own."""
    own = [experiment.metric] if experiment.metric and kind != "curves" else experiment.metrics
    shown = list(metrics or own)
    figures: list[PlannedFigure] = []
    for metric in shown:
        recipe, data = OVER_ALL_RUNS[kind](experiment, metric, **options)
        name = metric_figure_name(
            metric, options, experiment.metrics, kind=kind, experiments=experiment.experiments
        )
        if not figures and isinstance(data, tuple):  # the others show the same runs
            warn_of_differences(data, recipe.group_by)
        figures.append(PlannedFigure(places.plots / places.subfolder / name, recipe, data))
    if kind == "curves":
        warn_of_absent_metrics(experiment, shown)
    return figures


def figures_of_runs(
    experiment: Experiment, names: Sequence[str], places: Places
) -> Iterator[PlannedFigure]:
    """All metrics of each of these runs.

    Raises:
        PlottingError: If there is no such run, or it has no metrics.
    """
    for name in names:
        recipe, runs = run_recipe(experiment, name)
        path = run_figure_path(runs[0], places.plots, places.out)
        yield PlannedFigure(path.parent / places.subfolder / path.name, recipe, runs)


def confusion_figures(
    experiment: Experiment,
    names: Sequence[str],
    places: Places,
    *,
    options: Mapping[str, Any],
) -> Iterator[PlannedFigure]:
    """The confusion matrix of each of these runs, or of the only run.

    Raises:
        PlottingError: If there is no such run or result, or several runs and none is named.
    """
    for name in names or (None,):
        recipe, matrix = confusion_recipe(experiment, run=name, **options)
        run = find_run(name, experiment)
        path = run_figure_path(run, places.plots, places.out)
        own = run.folder is not None and places.out is None
        prefix = "" if own else f"{path.name}_"
        figure = f"{prefix}{confusion_figure_name(options)}"
        yield PlannedFigure(path.parent / places.subfolder / figure, recipe, matrix)
