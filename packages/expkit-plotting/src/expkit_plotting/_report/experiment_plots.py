"""All plots of an experiment, of which only those that changed are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._data.errors import PlottingError
from .._data.run_folders import warn_of_differences
from .._data.runs import Run
from .._data.sources import read_source
from .._recipes.recipe import Recipe
from .._recipes.selection import metric_recipe, run_recipe
from .._style.choice import as_style
from .fingerprints import FigureFingerprints, figure_fingerprint, hash_of
from .paths import metric_figure_name, run_figure_path, style_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._style.keys import PlotStyle


@dataclass
class ExperimentPlots:
    """The figures of an experiment, and how many of them `plot_experiment` had to draw.

    Attributes:
        filetypes: Suffixes of each figure's files.
        metric_figures: Figures over all runs, without suffix.
        run_figures: Figures of one run each, without suffix.
        metric_figures_drawn: How many figures over all runs were not up to date.
        run_figures_drawn: How many figures of one run were not up to date.
        runs_without_metrics: Runs that have logged nothing yet.
        outdated_folders: Folders where figures in another style show earlier data than these.
    """

    filetypes: tuple[str, ...]
    metric_figures: list[Path] = field(default_factory=list)
    run_figures: list[Path] = field(default_factory=list)
    metric_figures_drawn: int = 0
    run_figures_drawn: int = 0
    runs_without_metrics: list[str] = field(default_factory=list)
    outdated_folders: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Figure:
    """A figure to be drawn, unless it is up to date; `path` has no suffix."""

    path: Path
    recipe: Recipe
    runs: tuple[Run, ...]


def plot_experiment(
    folder: Path,
    *,
    style: str | None = None,
    metrics: Sequence[str] = (),
    run: str | None = None,
    options: Mapping[str, Any] | None = None,
    out: Path | None = None,
) -> ExperimentPlots:
    """Draw each metric over all runs, and all metrics of each run.

    Figures whose runs, options and style have not changed since they were drawn are left alone.
    Figures in another style than the experiment's own go into a folder of the style's name, where
    the next call without a style does not overwrite them.

    Args:
        folder: The experiment's folder, or anything else on disk that `PlotMetrics` reads.
        style: Name of a style, or its YAML file; by default the experiment's own.
        metrics: Only these metrics, over all runs; no figures of single runs.
        run: Only this run's figure.
        options: Arguments of `PlotMetrics.metric`.
        out: Folder for all figures, instead of `plots/` and `training/<run>/plots/`.

    Raises:
        PlottingError: If there is nothing to plot, or an argument is wrong.
    """
    experiment = read_source(folder)
    plot_style = as_style(style, folder)
    options = dict(options or {})
    plots_folder = out or (experiment.folder or folder.parent) / "plots"
    subfolder = "" if out or _is_own(plot_style, style, folder) else style_folder(str(style))
    plots = ExperimentPlots(plot_style.filetypes)
    figures: list[_Figure] = []
    if run is None or metrics:
        for metric in metrics or experiment.metrics:
            recipe, runs = metric_recipe(experiment, metric, **options)
            name = metric_figure_name(metric, options, experiment.metrics)
            if not figures:  # the others show the same runs
                warn_of_differences(runs, recipe.group_by)
            figures.append(_Figure(plots_folder / subfolder / name, recipe, runs))
    if run is not None or not (metrics or options):
        for name in experiment.run_names if run is None else (run,):
            try:
                recipe, runs = run_recipe(experiment, name)
            except PlottingError:
                if run is not None:
                    raise
                plots.runs_without_metrics.append(name)
                continue
            path = run_figure_path(runs[0], plots_folder, out)
            figures.append(_Figure(path.parent / subfolder / path.name, recipe, runs))
    fingerprints = FigureFingerprints(plots_folder)
    appearance = hash_of((), plot_style, _uses_latex(plot_style), _versions())
    try:
        for figure in figures:
            fingerprint = figure_fingerprint(figure.runs, figure.recipe, appearance)
            is_current = fingerprints.is_current(figure.path, fingerprint)
            is_current = is_current and _files_exist(figure.path, plot_style)
            if not is_current:
                _draw_and_save(figure, plot_style)
                fingerprints.set(figure.path, fingerprint)
            if figure.recipe.kind == "metric":
                plots.metric_figures.append(figure.path)
                plots.metric_figures_drawn += not is_current
            else:
                plots.run_figures.append(figure.path)
                plots.run_figures_drawn += not is_current
    finally:  # what is drawn need not be drawn again
        if plots.metric_figures_drawn or plots.run_figures_drawn:
            fingerprints.save()
    if not subfolder:
        plots.outdated_folders = fingerprints.outdated_folders(
            [*plots.metric_figures, *plots.run_figures]
        )
    return plots


def _is_own(style: PlotStyle, name: str | None, folder: Path) -> bool:
    """Whether a style, by whatever name, looks like the experiment's own."""
    if name is None:
        return True
    try:
        return style == as_style(None, folder)
    except PlottingError:  # the experiment's own is broken, and nobody asked for it
        return False


def _uses_latex(style: PlotStyle) -> bool:
    if not style.latex:
        return False
    from .._style.latex import latex_or_warning

    return latex_or_warning(style)


def _draw_and_save(figure: _Figure, style: PlotStyle) -> None:
    from .._figures.saving import save_figure
    from .._kinds.drawing import (
        draw_figure,  # loads what a call with nothing to draw does without
    )

    save_figure(draw_figure(figure.recipe, figure.runs, style), figure.path, style)


def _files_exist(figure: Path, style: PlotStyle) -> bool:
    suffixes = [*style.filetypes, *(("csv", "json", "pickle") if style.pickle else ())]
    return all(figure.with_name(f"{figure.name}.{suffix}").is_file() for suffix in suffixes)


def _versions() -> tuple[str, str]:
    from importlib.metadata import version

    return version("matplotlib"), version("expkit-plotting")
