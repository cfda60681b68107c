"""All plots of an experiment, of which only those that changed are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._drawn import Drawn, print_of
from ._errors import PlottingError
from ._plot_metrics import PlotMetrics, as_style, file_name, latex_or_warning, style_folder
from ._recipe import Recipe, fingerprint
from ._runs import Run
from ._style import PlotStyle

RUN_FIGURE = "metrics"


@dataclass
class Outcome:
    """What `plot_experiment` did.

    Attributes:
        metrics: Figures over all runs, without suffix.
        runs: Figures of one run each, without suffix.
        drawn: How many of both were drawn; the others were up to date.
        filetypes: Suffixes of each figure's files.
        silent: Runs that have logged nothing yet.
        behind: Folders where figures in another style show earlier data than these.
    """

    filetypes: tuple[str, ...]
    metrics: list[Path] = field(default_factory=list)
    runs: list[Path] = field(default_factory=list)
    drawn_metrics: int = 0
    drawn_runs: int = 0
    silent: list[str] = field(default_factory=list)
    behind: list[Path] = field(default_factory=list)


def plot_experiment(
    folder: Path,
    *,
    style: str | None = None,
    metrics: Sequence[str] = (),
    run: str | None = None,
    options: Mapping[str, Any] | None = None,
    out: Path | None = None,
) -> Outcome:
    """Draw each metric over all runs, and all metrics of each run.

    Figures whose runs, options and style did not change since they were drawn are left alone.
    In another style than the experiment's own they go into a folder of the style's name, where
    the next call without a style does not overwrite them.

    Args:
        folder: The experiment's folder, or whatever `PlotMetrics` reads.
        style: Name of a style, or its YAML file; by default the experiment's own.
        metrics: Only these metrics, over all runs; no figures of single runs.
        run: Only this run's figure.
        options: Arguments of `PlotMetrics.metric`.
        out: Folder for all figures, instead of `plots/` and `training/<run>/plots/`.

    Raises:
        PlottingError: If there is nothing to plot, or an argument is wrong.
    """
    plots = PlotMetrics(folder, style)
    given = dict(options or {})
    home = _home(folder)
    place = "" if out or _is_own(plots.style, style, folder) else style_folder(str(style))
    outcome = Outcome(plots.style.filetypes)
    jobs: list[tuple[str, Path, Recipe, tuple[Run, ...]]] = []
    if run is None or metrics:
        for metric in metrics or plots.metrics:
            recipe, runs = plots.metric_recipe(metric, **given)
            target = (out or home / "plots") / _metric_file(metric, given, plots.metrics)
            jobs.append(("metric", target.parent / place / target.name, recipe, runs))
    if run is not None or not (metrics or given):
        for each in plots.runs if run is None else (run,):
            try:
                recipe, runs = plots.run_recipe(each)
            except PlottingError:
                if run is not None:
                    raise
                outcome.silent.append(each)
                continue
            target = _run_file(runs[0].name, folder, home, out)
            jobs.append(("run", target.parent / place / target.name, recipe, runs))
    record = Drawn(out or home / "plots")
    latex = plots.style.latex and latex_or_warning(plots.style)
    look = fingerprint((), plots.style, latex, _versions())
    try:
        for kind, target, recipe, runs in jobs:
            print_ = print_of(runs, recipe, look)
            if not record.shows(target, print_) or not _files_exist(target, plots):
                plots.save(plots._drawn(recipe, runs, None), target)
                record.note(target, print_)
                if kind == "metric":
                    outcome.drawn_metrics += 1
                else:
                    outcome.drawn_runs += 1
            (outcome.metrics if kind == "metric" else outcome.runs).append(target)
    finally:  # what is drawn need not be drawn again
        if outcome.drawn_metrics or outcome.drawn_runs:
            record.save()
    if not place:
        outcome.behind = record.behind([*outcome.metrics, *outcome.runs])
    return outcome


def _is_own(chosen: PlotStyle, style: str | None, folder: Path) -> bool:
    """Whether a style looks as the experiment's own."""
    if style is None:
        return True
    try:
        return chosen == as_style(None, folder)
    except PlottingError:  # the experiment's own is broken, and nobody asked for it
        return False


def _home(folder: Path) -> Path:
    """The experiment's folder, of whichever of its parts was given."""
    if folder.is_file():
        return folder.parent
    if folder.name == "training":
        return folder.parent
    if (folder / "metrics.jsonl").is_file() and folder.parent.name == "training":
        return folder.parent.parent
    return folder


def _metric_file(metric: str, options: Mapping[str, Any], metrics: Sequence[str]) -> str:
    name = file_name(metric)
    if [file_name(each) for each in metrics].count(name) > 1:  # val/loss and val_loss
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


def _files_exist(target: Path, plots: PlotMetrics) -> bool:
    suffixes = [*plots.style.filetypes, *(("csv", "json", "pickle") if plots.style.pickle else ())]
    return all(target.with_name(f"{target.name}.{each}").is_file() for each in suffixes)


def _versions() -> tuple[str, str]:
    from importlib.metadata import version

    return version("matplotlib"), version("expkit-plotting")
