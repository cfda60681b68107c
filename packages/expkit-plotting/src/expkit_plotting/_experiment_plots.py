"""All plots of an experiment, of which only those that changed are drawn."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import PlottingError
from ._files import write_atomically
from ._plot_metrics import PlotMetrics, file_name, latex_or_warning
from ._recipe import Recipe, fingerprint
from ._runs import Run

if TYPE_CHECKING:
    from ._plot_metrics import Style

DRAWN = ".drawn.json"  # what is up to date: figure → fingerprint
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
    """

    filetypes: tuple[str, ...]
    metrics: list[Path] = field(default_factory=list)
    runs: list[Path] = field(default_factory=list)
    drawn_metrics: int = 0
    drawn_runs: int = 0
    silent: list[str] = field(default_factory=list)


def plot_experiment(
    folder: Path,
    *,
    style: "Style | None" = None,
    metrics: Sequence[str] = (),
    run: str | None = None,
    options: Mapping[str, Any] | None = None,
    out: Path | None = None,
) -> Outcome:
    """Draw each metric over all runs, and all metrics of each run.

    Figures whose runs, options and style did not change since they were drawn are left alone.

    Args:
        folder: The experiment's folder, or whatever `PlotMetrics` reads.
        style: As for `PlotMetrics`.
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
    outcome = Outcome(plots.style.filetypes)
    jobs: list[tuple[str, Path, Recipe, tuple[Run, ...]]] = []
    if run is None or metrics:
        for metric in metrics or plots.metrics:
            recipe, runs = plots.metric_recipe(metric, **given)
            target = (out or home / "plots") / _metric_file(metric, given, plots.metrics)
            jobs.append(("metric", target, recipe, runs))
    if run is not None or not (metrics or given):
        for each in plots.runs if run is None else (run,):
            try:
                recipe, runs = plots.run_recipe(each)
            except PlottingError:
                if run is not None:
                    raise
                outcome.silent.append(each)
                continue
            jobs.append(("run", _run_file(runs[0].name, folder, home, out), recipe, runs))
    record = (out or home / "plots") / DRAWN
    known = _read(record)
    latex = plots.style.latex and latex_or_warning(plots.style)
    try:
        for kind, target, recipe, runs in jobs:
            key = _key(target, record.parent)
            print_ = fingerprint(runs, recipe, plots.style, latex, _versions())
            if known.get(key) != print_ or not _files_exist(target, plots):
                plots.save(plots._drawn(recipe, runs, None), target)
                known[key] = print_
                if kind == "metric":
                    outcome.drawn_metrics += 1
                else:
                    outcome.drawn_runs += 1
            (outcome.metrics if kind == "metric" else outcome.runs).append(target)
    finally:  # what is drawn need not be drawn again
        if outcome.drawn_metrics or outcome.drawn_runs:
            write_atomically(record, json.dumps(known, indent=0).encode())
    return outcome


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


def _key(target: Path, base: Path) -> str:
    try:
        return str(target.relative_to(base.parent))
    except ValueError:
        return str(target)


def _files_exist(target: Path, plots: PlotMetrics) -> bool:
    suffixes = [*plots.style.filetypes, *(("csv", "json", "pickle") if plots.style.pickle else ())]
    return all(target.with_name(f"{target.name}.{each}").is_file() for each in suffixes)


def _read(record: Path) -> dict[str, object]:
    try:
        known = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _versions() -> tuple[str, str]:
    from importlib.metadata import version

    return version("matplotlib"), version("expkit-plotting")
