"""`PlotMetrics`: one method for each kind of figure."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

from ._data.run_folders import warn_of_differences
from ._data.sources import read_source
from ._recipes.confusion_recipe import confusion_recipe
from ._recipes.end_values import final_recipe, heatmap_recipe
from ._recipes.selection import metric_recipe, run_recipe, warn_of_absent_metrics
from ._style.choice import as_style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ._data.runs import Run
    from ._data.sources import Source
    from ._recipes.data_files import FigureData
    from ._recipes.recipe import Lines, Marks, Normalize, Recipe, Value
    from ._style.choice import StyleLike
    from ._style.keys import PlotStyle


class PlotMetrics:
    """Figures of the metrics of an experiment.

    Needs neither a display nor pyplot, leaves the global rcParams alone, and may be used from
    several threads at once.

    Args:
        source: A results folder, a DataFrame (long or wide), CSV files, or a dict of them. Of
            several experiments, as in `{"a": "results/a", "b": "results/b"}`, all runs are taken;
            these names are the values of one more swept key, `experiment`.
        style: A `PlotStyle`, the name of a style, a YAML file, or a mapping such as
            `cfg.plotting`. By default the one that the experiment was configured with (of several,
            the first), else `Default`.

    Raises:
        PlottingError: If the source holds nothing to plot or the style is wrong.

    Examples:
        >>> plots = PlotMetrics({"a": {"loss": [2.0, 1.0]}, "b": {"loss": [2.5, 0.5]}})
        >>> plots.metrics, plots.runs
        (('loss',), ('a', 'b'))
        >>> figure = plots.metric("loss")
    """

    def __init__(self, source: Source, style: StyleLike | None = None) -> None:
        self._experiment = read_source(source)
        folder = Path(source) if isinstance(source, (str, PathLike)) else None
        folder = next(iter(self._experiment.folders.values()), folder)
        self.style: PlotStyle = as_style(style, folder)

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of all runs."""
        return self._experiment.run_names

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
        repeat: str | Sequence[str] | None = None,
        save_to: str | PathLike[str] | None = None,
    ) -> Figure:
        """One metric of all runs: mean and standard deviation of each group of runs.

        Args:
            name: The metric.
            group_by: Keys whose values make a group; "auto" takes all swept keys but those of
                `repeat`, None draws each run by itself.
            top: How many of the best groups to draw, ranked by the mean of their runs' best
                values; with bands, how many to highlight above them (5 by default).
            direction: Which value is best; by default what the experiment says about this metric,
                else "minimize" for names such as `val_loss` and "maximize" for others.
            lines: "groups": a mean with its band per group. "bands": the quantiles 5, 25, 50, 75
                and 95 % over all runs, and the best groups. "all": every run. "auto": bands for
                more than 30 runs in more than 12 groups, else groups.
            repeat: Keys that only repeat a configuration, the outermost first. Of several, such
                as `["seed", "fold"]`, the inner ones are averaged first: band and n are those of
                the seeds. By default what the experiment's `expkit.repeat` says, else `seed`.
            save_to: Where to save, see `save`.

        Warns:
            UserWarning: If configurations within a group differ in more than swept keys, or if one
                of several experiments has no run with this metric.

        Raises:
            PlottingError: If there is no such metric or key, or an option has another value.
        """
        recipe, runs = self.metric_recipe(
            name, group_by=group_by, top=top, direction=direction, lines=lines, repeat=repeat
        )
        warn_of_differences(runs, recipe.group_by)
        warn_of_absent_metrics(self._experiment, [name])
        return self._draw(recipe, runs, save_to)

    def final(
        self,
        name: str,
        *,
        value: Value = "final",
        group_by: Literal["auto"] | str | Sequence[str] | None = "auto",
        top: int | None = None,
        direction: Literal["minimize", "maximize"] | None = None,
        repeat: str | Sequence[str] | None = None,
        marks: Marks = "auto",
        save_to: str | PathLike[str] | None = None,
    ) -> Figure:
        """Final or best values of completed runs: mean and standard deviation of each group.

        Args:
            name: A metric; or a number that each run has saved, such as `test_acc`.
            value: "final": the last that was logged; "best": the best of each run.
            group_by: See `metric`.
            top: How many of the best groups to draw.
            direction: Which value is best, see `metric`.
            repeat: See `metric`.
            marks: "bars", which begin at zero; "points"; or "auto": points where bars would hide
                the differences, and where values span so much that they need a log scale.
            save_to: Where to save, see `save`.

        Warns:
            UserWarning: If runs have not completed, which leaves them out; or if configurations
                within a group differ in more than swept keys.

        Raises:
            PlottingError: If there is no such metric or key, or an option has another value.
        """
        recipe, runs = final_recipe(
            self._experiment,
            name,
            value=value,
            group_by=group_by,
            top=top,
            direction=direction,
            repeat=repeat,
            marks=marks,
        )
        warn_of_differences(runs, recipe.group_by)
        return self._draw(recipe, runs, save_to)

    def heatmap(
        self,
        name: str,
        *,
        x: str | None = None,
        y: str | None = None,
        value: Value = "final",
        direction: Literal["minimize", "maximize"] | None = None,
        repeat: str | Sequence[str] | None = None,
        save_to: str | PathLike[str] | None = None,
    ) -> Figure:
        """Final or best values of completed runs over two swept keys, averaged over the others.

        Axes show all values of the sweep in its order, so that a cell without a value is seen. One
        whose runs a rule skips is hatched. The best mean is bold; n is in the cells where it
        differs.

        Args:
            name: See `final`.
            x: The swept key of the columns. May be left out, as `y`, if only two keys differ
                besides those of `repeat`.
            y: The swept key of the rows.
            value: See `final`.
            direction: Which value is best, see `metric`.
            repeat: Keys that only repeat a configuration, see `metric`.
            save_to: Where to save, see `save`.

        Warns:
            UserWarning: See `final`.

        Raises:
            PlottingError: If there is no such metric or key, or an option has another value.
        """
        recipe, runs = heatmap_recipe(
            self._experiment, name, x=x, y=y, value=value, direction=direction, repeat=repeat
        )
        warn_of_differences(runs, recipe.group_by)
        return self._draw(recipe, runs, save_to)

    def confusion_matrix(
        self,
        source: object = None,
        *,
        run: str | int | None = None,
        classes: Sequence[object] | None = None,
        normalize: Normalize | None = "true",
        save_to: str | PathLike[str] | None = None,
    ) -> Figure:
        """How often each class was taken for each.

        Args:
            source: The name of a result that the run has saved, or data: a square array of counts
                (rows are the true classes, as in scikit-learn), a DataFrame with the classes as
                index and columns, a DataFrame or mapping with labels and predictions (`true` and
                `predicted`), or a pair of them. By default the run's only result with `confusion`
                in its name, else the only one with `predict`.
            run: The run whose result it is, see `run`. May be left out if there is only one.
            classes: The classes in their order, or their names where labels are 0, 1, …
            normalize: Percentages of each "true" class, of each predicted one ("pred"), or of
                "all"; None for counts.
            save_to: Where to save, see `save`.

        Raises:
            PlottingError: If there is no such run or result, or it is no confusion matrix.
        """
        recipe, matrix = confusion_recipe(
            self._experiment, source, run=run, classes=classes, normalize=normalize
        )
        return self._draw(recipe, matrix, save_to)

    def save(self, figure: Figure, path: str | PathLike[str]) -> list[Path]:
        """Write a figure in every file type of the style.

        Files are replaced as a whole; equal figures make equal files. Where the style says
        `pickle`, the figure's pickle, its data (`.csv`) and its recipe (`.json`) are written
        beside them, for `restyle`.

        Args:
            figure: What a method of this class returned.
            path: The file's path without suffix; `loss.png` writes that one type only.

        Returns:
            The files written.
        """
        from ._figures.saving import save_figure

        return save_figure(figure, path, self.style)

    # ------------------------------------------------------------ recipes

    def run_recipe(
        self, name: str | int | None = None, *, metrics: Sequence[str] | None = None
    ) -> tuple[Recipe, tuple[Run, ...]]:
        """What `run` draws, without drawing it.

        Args:
            name: As for `run`.
            metrics: As for `run`.
        """
        return run_recipe(self._experiment, name, metrics=metrics)

    def metric_recipe(
        self,
        name: str,
        *,
        group_by: Literal["auto"] | str | Sequence[str] | None = "auto",
        top: int | None = None,
        direction: Literal["minimize", "maximize"] | None = None,
        lines: Lines = "auto",
        repeat: str | Sequence[str] | None = None,
    ) -> tuple[Recipe, tuple[Run, ...]]:
        """What `metric` draws, without drawing it.

        Args:
            name: The metric.
            group_by: As for `metric`, and so are the others.
            top: How many groups.
            direction: Which value is best.
            lines: Which lines.
            repeat: Keys that only repeat a configuration.
        """
        return metric_recipe(
            self._experiment,
            name,
            group_by=group_by,
            top=top,
            direction=direction,
            lines=lines,
            repeat=repeat,
        )

    def _draw(
        self, recipe: Recipe, data: FigureData, save_to: str | PathLike[str] | None
    ) -> Figure:
        from ._kinds.drawing import draw_figure

        figure = draw_figure(recipe, data, self.style)
        if save_to is not None:
            self.save(figure, save_to)
        return figure
