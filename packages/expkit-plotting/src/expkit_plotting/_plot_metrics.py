"""`PlotMetrics`: all metrics of one run, or one metric of many runs."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

from ._errors import PlottingError, listed, near_match
from ._files import write_atomically
from ._groups import is_repetition, resolve_keys, swept_keys
from ._recipe import LINES, Lines, Recipe, to_csv
from ._runs import Run
from ._sources import numbers_in_grid, read_source
from ._statistics import direction_of
from ._style import PlotStyle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ._figure import StyledFigure
    from ._sources import Source

    StyleLike = PlotStyle | str | PathLike[str] | Mapping[str, object]

LONGEST_NAME = 90  # bytes; file systems allow 255 for two of these, a suffix and a temporary name


class PlotMetrics:
    """Figures of the metrics of an experiment.

    Needs neither a display nor pyplot, leaves the global rcParams alone, and may be used from
    several threads at once.

    Args:
        source: A results folder, a DataFrame (long or wide), CSV files, or a dict of them.
        style: A `PlotStyle`, the name of a style, a YAML file, or a mapping such as
            `cfg.plotting`. By default the one that the experiment was configured with, else
            `Default`.

    Raises:
        PlottingError: If the source holds nothing to plot or the style is wrong.

    >>> plots = PlotMetrics({"a": {"loss": [2.0, 1.0]}, "b": {"loss": [2.5, 0.5]}})
    >>> plots.metrics, plots.runs
    (('loss',), ('a', 'b'))
    >>> figure = plots.metric("loss")
    """

    def __init__(self, source: Source, style: StyleLike | None = None) -> None:
        self._experiment = read_source(source)
        folder = Path(source) if isinstance(source, (str, PathLike)) else None
        self.style = as_style(style, folder)

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of all runs."""
        return tuple(run.name for run in self._experiment.runs)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics."""
        return self._experiment.metrics

    def run(
        self,
        name: str | int | None = None,
        *,
        metrics: Sequence[str] | None = None,
        save_to: str | PathLike[str] | None = None,
    ) -> Figure:
        """All metrics of one run, one panel each; `loss` and `val_loss` share one.

        Args:
            name: The run's name, its number (in the grid, else in `runs`), or a unique part of
                its name. May be left out if there is only one run.
            metrics: Only these.
            save_to: Where to save, see `save`.

        Raises:
            PlottingError: If there is no such run or metric.
        """
        recipe, runs = self.run_recipe(name, metrics=metrics)
        return self._draw(recipe, runs, save_to)

    def metric(
        self,
        name: str,
        *,
        group_by: Literal["auto"] | str | Sequence[str] | None = "auto",
        top: int | None = None,
        direction: Literal["minimize", "maximize"] | None = None,
        lines: Lines = "auto",
        save_to: str | PathLike[str] | None = None,
    ) -> Figure:
        """One metric of all runs: mean and standard deviation of each group of runs.

        Args:
            name: The metric.
            group_by: Keys whose values make a group; "auto" takes all swept keys but `seed`,
                None draws each run by itself.
            top: How many of the best groups to draw, ranked by the mean of their runs' best
                values; with bands, how many to highlight above them (5 by default).
            direction: Which value is best; by default what the experiment says about this metric,
                else "minimize" for names such as `val_loss` and "maximize" for others.
            lines: "groups": a mean with its band per group. "bands": the quantiles 5, 25, 50, 75
                and 95 % over all runs, and the best groups. "all": every run. "auto": bands for
                more than 30 runs in more than 12 groups, else groups.
            save_to: Where to save, see `save`.

        Raises:
            PlottingError: If there is no such metric or key, or an option has another value.
        """
        recipe, runs = self.metric_recipe(
            name, group_by=group_by, top=top, direction=direction, lines=lines
        )
        return self._draw(recipe, runs, save_to)

    def save(self, figure: Figure, path: str | PathLike[str]) -> list[Path]:
        """Write a figure in every file type of the style.

        Files are replaced as a whole; equal figures make equal files. Where the style says
        `pickle`, the figure's pickle, its data (`.csv`) and its recipe (`.json`) are written
        beside them, for `restyle`.

        Args:
            figure: What `run` or `metric` returned.
            path: The file's path without suffix; `loss.png` writes that one type only.

        Returns:
            The files written.
        """
        return save_figure(figure, path, self.style)

    # ------------------------------------------------------------ recipes

    def run_recipe(
        self, name: str | int | None = None, *, metrics: Sequence[str] | None = None
    ) -> tuple[Recipe, tuple[Run, ...]]:
        """What `run` draws, without drawing it."""
        run = self._find_run(name)
        if not run.metrics:
            raise PlottingError(f"Run {run.name!r} has not logged a metric yet.")
        names = tuple(run.metrics if metrics is None else metrics)
        for metric in names:
            if metric not in run.metrics:
                raise PlottingError(_no_metric(metric, run.metrics, f"Run {run.name!r}"))
        recipe = Recipe(
            kind="run",
            metrics=names,
            step=self._experiment.step,
            title=run.name,
            settings={run.name: dict(run.settings)},
        )
        return recipe, (_only(run, names),)

    def metric_recipe(
        self,
        name: str,
        *,
        group_by: Literal["auto"] | str | Sequence[str] | None = "auto",
        top: int | None = None,
        direction: Literal["minimize", "maximize"] | None = None,
        lines: Lines = "auto",
    ) -> tuple[Recipe, tuple[Run, ...]]:
        """What `metric` draws, without drawing it."""
        experiment = self._experiment
        if lines not in LINES:
            raise PlottingError(
                f"lines must be one of {', '.join(LINES)}; got {lines!r}.{near_match(lines, LINES)}"
            )
        if direction not in (None, "minimize", "maximize"):
            raise PlottingError(
                f"direction must be minimize or maximize; got {direction!r}."
                f"{near_match(direction, ('minimize', 'maximize'))}"
            )
        if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
            raise PlottingError(f"top must be a whole number from 1; got {top!r}.")
        runs = self._runs_with(name)
        if direction is None:
            configured = experiment.direction if experiment.metric == name else None
            likely = configured or direction_of(name)
            direction = "minimize" if likely == "minimize" else "maximize"
        recipe = Recipe(
            kind="metric",
            metrics=(name,),
            step=experiment.step,
            title=_title(experiment.name, len(runs)),
            group_by=self._group_keys(group_by, runs),
            direction=direction,
            top=top,
            lines=lines,
            settings={run.name: dict(run.settings) for run in runs},
        )
        return recipe, runs

    def _runs_with(self, metric: str) -> tuple[Run, ...]:
        experiment = self._experiment
        runs = tuple(_only(run, (metric,)) for run in experiment.runs if metric in run.metrics)
        if runs:
            return runs
        # A wide table of one metric: its columns are runs, and only the caller knows the name.
        if len(experiment.runs) == 1 and not experiment.runs[0].settings and self._is_wide:
            return tuple(
                Run(name, {}, {metric: curve}) for name, curve in experiment.runs[0].metrics.items()
            )
        raise PlottingError(_no_metric(metric, experiment.metrics, "The experiment"))

    @property
    def _is_wide(self) -> bool:
        return self._experiment.runs[0].name == (self._experiment.name or "run")

    def _group_keys(
        self, group_by: str | Sequence[str] | None, runs: Sequence[Run]
    ) -> tuple[str, ...] | None:
        swept = swept_keys([run.settings for run in runs])
        if group_by is None or group_by == [] or group_by == ():
            return None
        if group_by == "auto":
            return tuple(key for key in swept if not is_repetition(key)) if swept else None
        return resolve_keys([group_by] if isinstance(group_by, str) else group_by, swept)

    def _find_run(self, name: str | int | None) -> Run:
        runs = self._experiment.runs
        if name is None:
            if len(runs) == 1:
                return runs[0]
            raise PlottingError(f"Name one of the {len(runs)} runs: {listed(self.runs)}.")
        text = str(name)
        names = dict(enumerate(self.runs))
        if text.isdecimal() and self._experiment.folder is not None:
            names = numbers_in_grid(self._experiment.folder) or names
        full_name = names.get(int(text)) if text.isdecimal() and text not in self.runs else text
        matches = [run for run in runs if run.name == full_name]
        matches = matches or [run for run in runs if text in run.name]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise PlottingError(
                f"{text!r} fits several runs: {listed(run.name for run in matches)}. "
                "Give more of the name."
            )
        raise PlottingError(
            f"There is no run {text!r}.{near_match(text, self.runs)} Runs: {listed(self.runs)}."
        )

    def _draw(
        self, recipe: Recipe, runs: tuple[Run, ...], save_to: str | PathLike[str] | None
    ) -> Figure:
        figure = draw_figure(recipe, runs, self.style)
        if save_to is not None:
            self.save(figure, save_to)
        return figure


def draw_figure(recipe: Recipe, runs: tuple[Run, ...], style: PlotStyle) -> StyledFigure:
    """Draw with LaTeX where the style asks for it and it works, else with mathtext."""
    from ._drawing import draw
    from ._latex import explain_failure

    latex = style.latex and latex_or_warning(style)
    try:
        figure = draw(recipe, runs, style, latex=latex)
    except RuntimeError as error:  # what matplotlib raises when LaTeX stops
        if not latex:
            raise
        warnings.warn(
            f"LaTeX could not draw this figure, mathtext did: {explain_failure(str(error))}.",
            stacklevel=3,
        )
        figure = draw(recipe, runs, style, latex=False)
    figure.recipe, figure.runs, figure.style = recipe, runs, style
    return figure


_advice_given: set[str] = set()  # once per process, not once per figure


def latex_or_warning(style: PlotStyle) -> bool:
    """Whether LaTeX works here; if not, says why and what to install, once per process."""
    from ._latex import probe_latex

    support = probe_latex(style)
    if not support.works and support.advice not in _advice_given:
        _advice_given.add(support.advice)
        warnings.warn(support.advice, stacklevel=5)
    return support.works


def save_figure(figure: Figure, path: str | PathLike[str], style: PlotStyle) -> list[Path]:
    """See `PlotMetrics.save`."""
    import io

    from ._figure import StyledFigure
    from ._style import FILETYPES

    if not isinstance(figure, StyledFigure):
        raise PlottingError(
            f"save takes a figure that PlotMetrics drew; got {type(figure).__name__}. "
            "Save others with their own savefig."
        )
    target = Path(path)
    filetypes = style.filetypes
    if target.suffix[1:] in FILETYPES:
        filetypes = (target.suffix[1:],)
        target = target.with_suffix("")
    written = []
    for filetype in filetypes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=filetype, metadata=_METADATA.get(filetype))
        written.append(_beside(target, filetype))
        write_atomically(written[-1], buffer.getvalue())
    if style.pickle:
        files = {
            "pickle": pickle.dumps(figure),
            "csv": to_csv(figure.runs),
            "json": figure.recipe.to_json(figure.style.to_dict()),
        }
        for suffix, content in files.items():
            written.append(_beside(target, suffix))
            write_atomically(written[-1], content)
    return written


# Without dates: a file changes only when the figure does.
_METADATA: dict[str, dict[str, str | None]] = {
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f"{target.name}.{suffix}")  # with_suffix would cut `lr_0.1`


def file_name(text: str) -> str:
    """A metric's name as the name of a file.

    >>> file_name("val/top 5")
    'val_top_5'
    """
    name = re.sub(r"[^\w.+=-]+", "_", text).strip("._") or "metric"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
    return f"{name.encode()[:LONGEST_NAME].decode(errors='ignore')}_{digest}"


def as_style(style: StyleLike | None, folder: Path | None) -> PlotStyle:
    """The style that a name, a file or a mapping stands for; for None the experiment's own."""
    if isinstance(style, PlotStyle):
        return style
    if style is None:
        from ._style_files import experiment_style

        configured = experiment_style(folder) if folder is not None else None
        if configured is None:
            return PlotStyle.load("Default")
        values, origin = configured
        return PlotStyle.from_mapping(values, origin=origin)
    if isinstance(style, (str, PathLike)):
        return PlotStyle.load(style, start=[folder] if folder is not None else [])
    if isinstance(style, Mapping):
        return PlotStyle.from_mapping(style)
    raise PlottingError(
        f"style must be a PlotStyle, a name, a YAML file or a mapping; got {type(style).__name__}."
    )


def style_folder(style: str) -> str:
    """The folder for figures in a style that is not the experiment's own.

    >>> style_folder("Thesis"), style_folder("conf/plotting/Mine.yaml")
    ('Thesis', 'Mine')
    """
    return file_name(Path(style.removesuffix(".yaml").removesuffix(".yml")).name)


def _title(experiment: str, runs: int) -> str:
    return f"{experiment} ({runs} run{'' if runs == 1 else 's'})" if experiment else ""


def _only(run: Run, metrics: Sequence[str]) -> Run:
    return Run(run.name, run.settings, {name: run.metrics[name] for name in metrics})


def _no_metric(metric: str, metrics: Sequence[str] | Mapping[str, object], owner: str) -> str:
    names = list(metrics)
    return f"{owner} has no metric {metric!r}.{near_match(metric, names)} Known: {listed(names)}."
