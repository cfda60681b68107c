"""All plots of an experiment, of which only those that changed are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._errors import PlottingError
from ._fingerprints import FigureFingerprints, figure_fingerprint, hash_of
from ._plot_metrics import PlotMetrics, as_style, file_name, latex_or_warning, style_folder
from ._recipe import Recipe
from ._runs import Run
from ._style import PlotStyle

RUN_FIGURE = "metrics"


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

    Figures whose runs, options and style did not change since they were drawn are left alone.
    In another style than the experiment's own they go into a folder of the style's name, where
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
    plots = PlotMetrics(folder, style)
    options = dict(options or {})
    home = _home(folder)
    subfolder = "" if out or _is_own(plots.style, style, folder) else style_folder(str(style))
    drawn = ExperimentPlots(plots.style.filetypes)
    figures: list[_Figure] = []
    if run is None or metrics:
        for metric in metrics or plots.metrics:
            recipe, runs = plots.metric_recipe(metric, **options)
            path = (out or home / "plots") / _metric_file(metric, options, plots.metrics)
            figures.append(_Figure(path.parent / subfolder / path.name, recipe, runs))
    if run is not None or not (metrics or options):
        for name in plots.runs if run is None else (run,):
            try:
                recipe, runs = plots.run_recipe(name)
            except PlottingError:
                if run is not None:
                    raise
                drawn.runs_without_metrics.append(name)
                continue
            path = _run_file(runs[0].name, folder, home, out)
            figures.append(_Figure(path.parent / subfolder / path.name, recipe, runs))
    fingerprints = FigureFingerprints(out or home / "plots")
    latex = plots.style.latex and latex_or_warning(plots.style)
    appearance = hash_of((), plots.style, latex, _versions())
    try:
        for figure in figures:
            fingerprint = figure_fingerprint(figure.runs, figure.recipe, appearance)
            is_current = fingerprints.is_current(figure.path, fingerprint)
            is_current = is_current and _files_exist(figure.path, plots.style)
            if not is_current:
                plots.save(plots._draw(figure.recipe, figure.runs, None), figure.path)
                fingerprints.set(figure.path, fingerprint)
            if figure.recipe.kind == "metric":
                drawn.metric_figures.append(figure.path)
                drawn.metric_figures_drawn += not is_current
            else:
                drawn.run_figures.append(figure.path)
                drawn.run_figures_drawn += not is_current
    finally:  # what is drawn need not be drawn again
        if drawn.metric_figures_drawn or drawn.run_figures_drawn:
            fingerprints.save()
    if not subfolder:
        drawn.outdated_folders = fingerprints.outdated_folders(
            [*drawn.metric_figures, *drawn.run_figures]
        )
    return drawn


def _is_own(style: PlotStyle, name: str | None, folder: Path) -> bool:
    """Whether a style, by whatever name, looks like the experiment's own."""
    if name is None:
        return True
    try:
        return style == as_style(None, folder)
    except PlottingError:  # the experiment's own is broken, and nobody asked for it
        return False


def _home(folder: Path) -> Path:
    """The experiment's folder, from it or from one of its parts."""
    if folder.is_file():
        return folder.parent
    if folder.name == "training":
        return folder.parent
    if (folder / "metrics.jsonl").is_file() and folder.parent.name == "training":
        return folder.parent.parent
    return folder


def _metric_file(metric: str, options: Mapping[str, Any], metrics: Sequence[str]) -> str:
    name = file_name(metric)
    if [file_name(other) for other in metrics].count(name) > 1:  # val/loss and val_loss
        name = f"{name}_{list(metrics).index(metric)}"
    group_by = options.get("group_by", "auto")
    if group_by is None:
        name += "_by_run"
    elif group_by != "auto":
        keys = [group_by] if isinstance(group_by, str) else group_by
        name += f"_by_{file_name('_'.join(keys))}"
    if options.get("top") is not None:
        name += f"_top{options['top']}"
    if options.get("lines", "auto") != "auto":
        name += f"_{options['lines']}"
    return name


def _run_file(name: str, folder: Path, home: Path, out: Path | None) -> Path:
    if out is not None:
        return out / file_name(name)
    for candidate in (home / "training" / name, home / name, folder):
        if (candidate / "metrics.jsonl").is_file():
            return candidate / "plots" / RUN_FIGURE
    return home / "plots" / "runs" / file_name(name)


def _files_exist(figure: Path, style: PlotStyle) -> bool:
    suffixes = [*style.filetypes, *(("csv", "json", "pickle") if style.pickle else ())]
    return all(figure.with_name(f"{figure.name}.{suffix}").is_file() for suffix in suffixes)


def _versions() -> tuple[str, str]:
    from importlib.metadata import version

    return version("matplotlib"), version("expkit-plotting")
