"""All plots of an experiment, of which only those that changed are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._data.errors import PlottingError
from .._data.sources import read_source
from .._style.choice import as_style
from .fingerprints import FigureFingerprints, figure_fingerprint, hash_of
from .paths import style_folder
from .planned_figures import (
    Places,
    PlannedFigure,
    check_options,
    confusion_figures,
    figures_of_runs,
    figures_over_all_runs,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._data.runs import Experiment
    from .._style.keys import PlotStyle


@dataclass
class ExperimentPlots:
    """The figures of an experiment, and how many of them `plot_experiments` had to draw.

    Attributes:
        filetypes: Suffixes of each figure's files.
        experiments: Names of the experiments, if they are several.
        metric_figures: Figures over all runs, without suffix.
        run_figures: Figures of one run each, without suffix.
        metric_figures_drawn: How many figures over all runs were not up to date.
        run_figures_drawn: How many figures of one run were not up to date.
        runs_without_metrics: Runs that have logged nothing yet.
        outdated_folders: Folders where figures in another style show earlier data than these.
    """

    filetypes: tuple[str, ...]
    experiments: tuple[str, ...] = ()
    metric_figures: list[Path] = field(default_factory=list)
    run_figures: list[Path] = field(default_factory=list)
    metric_figures_drawn: int = 0
    run_figures_drawn: int = 0
    runs_without_metrics: list[str] = field(default_factory=list)
    outdated_folders: list[Path] = field(default_factory=list)


def plot_experiments(
    sources: Sequence[Path],
    *,
    style: str | None = None,
    metrics: Sequence[str] = (),
    runs: Sequence[str] = (),
    each: bool = False,
    kind: str = "curves",
    options: Mapping[str, Any] | None = None,
    out: Path | None = None,
) -> ExperimentPlots:
    """Draw each metric over all runs, or all metrics of single runs; or figures of another kind.

    Figures whose runs, options and style have not changed since they were drawn are left alone.
    Figures in another style than the experiment's own go into a folder of the style's name, where
    the next call without a style does not overwrite them.

    Args:
        sources: The experiment's folder, or anything else on disk that `PlotMetrics` reads; of
            several experiments, all runs of each go into the same figures.
        style: Name of a style, or its YAML file; by default the (first) experiment's own.
        metrics: Only these metrics, over all runs.
        runs: The figures of these runs, and none over all runs unless `metrics` says so.
        each: The figures of all runs, too.
        kind: One of `planned_figures.KINDS`.
        options: Arguments of the kind's method, such as `PlotMetrics.metric`.
        out: Folder for all figures, instead of `plots/` of the (first) experiment and
            `training/<run>/plots/`.

    Raises:
        PlottingError: If there is nothing to plot, or an argument is wrong.
    """
    first = sources[0]
    experiment = read_source(first if len(sources) == 1 else list(sources))
    plot_style = as_style(style, first)
    options = dict(options or {})
    home = experiment.folder
    if experiment.experiments:
        home = experiment.folders.get(experiment.experiments[0])
    check_options(kind, options)
    places = Places(
        plots=out or (home or first.parent) / "plots",
        subfolder="" if out or _is_own(plot_style, style, first) else style_folder(str(style)),
        out=out,
    )
    plots = ExperimentPlots(plot_style.filetypes, experiment.experiments)
    named = list(dict.fromkeys((*runs, *(experiment.run_names if each else ()))))
    figures: list[PlannedFigure] = []
    if kind == "confusion":
        if metrics:
            raise PlottingError("A confusion matrix has no metric; its result is what you name.")
        figures += confusion_figures(experiment, named, places, options=options)
    elif kind != "curves" and named:
        raise PlottingError(f"A figure of kind {kind!r} is over all runs; name none of them.")
    elif metrics or not runs:
        figures += figures_over_all_runs(experiment, metrics, places, kind=kind, options=options)
    if kind == "curves":
        if _is_one_run(experiment, first):
            named = named or list(experiment.run_names)
        for name in named:
            try:
                figures += figures_of_runs(experiment, [name], places)
            except PlottingError:
                if name in runs:
                    raise
                plots.runs_without_metrics.append(name)
    figures = list({figure.path: figure for figure in figures}.values())  # two words, one run
    fingerprints = FigureFingerprints(places.plots)
    if not (experiment.experiments or options or places.subfolder):
        fingerprints.name_figures({
            figure.recipe.metrics[0]: figure.path.name
            for figure in figures
            if figure.recipe.kind == "metric"
        })  # fmt: skip
    try:
        _bring_up_to_date(figures, fingerprints, plot_style, plots)
    finally:  # what is drawn need not be drawn again
        fingerprints.save()
    if not places.subfolder:
        plots.outdated_folders = fingerprints.outdated_folders(
            [*plots.metric_figures, *plots.run_figures]
        )
    return plots


def _bring_up_to_date(
    figures: Sequence[PlannedFigure],
    fingerprints: FigureFingerprints,
    style: PlotStyle,
    plots: ExperimentPlots,
) -> None:
    """Draw what has changed; `fingerprints` and `plots` take down what is there."""
    appearance = hash_of((), style, _uses_latex(style), _versions())
    for figure in figures:
        fingerprint = figure_fingerprint(figure.data, figure.recipe, appearance)
        is_current = fingerprints.is_current(figure.path, fingerprint)
        is_current = is_current and _files_exist(figure.path, style)
        if not is_current:
            _draw_and_save(figure, style)
            fingerprints.set(figure.path, fingerprint)
        if figure.recipe.kind not in ("run", "confusion"):
            plots.metric_figures.append(figure.path)
            plots.metric_figures_drawn += not is_current
        else:
            plots.run_figures.append(figure.path)
            plots.run_figures_drawn += not is_current


def _is_one_run(experiment: Experiment, source: Path) -> bool:
    """Whether a source is one run, and not an experiment that has only one yet."""
    return len(experiment.runs) == 1 and experiment.runs[0].folder in (None, source)


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


def _draw_and_save(figure: PlannedFigure, style: PlotStyle) -> None:
    from .._figures.saving import save_figure
    from .._kinds.drawing import (
        draw_figure,  # loads what a call with nothing to draw does without
    )

    save_figure(draw_figure(figure.recipe, figure.data, style), figure.path, style)


def _files_exist(figure: Path, style: PlotStyle) -> bool:
    suffixes = [*style.filetypes, *(("csv", "json", "pickle") if style.pickle else ())]
    return all(figure.with_name(f"{figure.name}.{suffix}").is_file() for suffix in suffixes)


def _versions() -> tuple[str, str]:
    from importlib.metadata import version

    return version("matplotlib"), version("expkit-plotting")
