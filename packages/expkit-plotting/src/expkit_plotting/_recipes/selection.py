"""From a request to what is drawn: the recipe of a figure, and its runs."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from .._data.errors import PlottingError, listed, near_match
from .._data.groups import repeated_keys, resolve_keys, swept_keys
from .._data.run_folders import numbers_in_grid
from .._data.runs import Run
from .._data.statistics import direction_of
from .recipe import LINES, Lines, Recipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._data.runs import Experiment

    Direction = Literal["minimize", "maximize"]


def run_recipe(
    experiment: Experiment, name: str | int | None = None, *, metrics: Sequence[str] | None = None
) -> tuple[Recipe, tuple[Run, ...]]:
    """The figure of one run, as `PlotMetrics.run` draws it.

    Raises:
        PlottingError: If there is no such run or metric.
    """
    run = find_run(name, experiment)
    if not run.metrics:
        raise PlottingError(f"Run {run.name!r} has not logged a metric yet.")
    names = tuple(run.metrics if metrics is None else metrics)
    for metric in names:
        if metric not in run.metrics:
            raise PlottingError(no_metric(metric, run.metrics, f"Run {run.name!r}"))
    recipe = Recipe(
        kind="run",
        metrics=names,
        step=experiment.step,
        title=run.name,
        settings={run.name: dict(run.settings)},
    )
    return recipe, (_only(run, names),)


def metric_recipe(
    experiment: Experiment,
    name: str,
    *,
    group_by: Literal["auto"] | str | Sequence[str] | None = "auto",
    top: int | None = None,
    direction: Literal["minimize", "maximize"] | None = None,
    lines: Lines = "auto",
    repeat: str | Sequence[str] | None = None,
) -> tuple[Recipe, tuple[Run, ...]]:
    """The figure of one metric of all runs, as `PlotMetrics.metric` draws it.

    Raises:
        PlottingError: If there is no such metric or key, or an option has another value.
    """
    check_choice("lines", lines, LINES)
    runs = runs_with(name, experiment)
    chosen = grouping(
        experiment, runs, name, group_by=group_by, top=top, direction=direction, repeat=repeat
    )
    recipe = Recipe(
        kind="metric",
        metrics=(name,),
        step=experiment.step,
        title=title_of(experiment, runs),
        group_by=chosen.keys,
        repeat=chosen.repeat,
        direction=chosen.direction,
        top=top,
        lines=lines,
        settings={run.name: dict(run.settings) for run in runs},
    )
    return recipe, runs


class Grouping(NamedTuple):
    """How runs are grouped: the recipe's `group_by`, `repeat` and `direction`."""

    keys: tuple[str, ...] | None
    repeat: tuple[str, ...]
    direction: Direction


def grouping(
    experiment: Experiment,
    runs: Sequence[Run],
    metric: str,
    *,
    group_by: Literal["auto"] | str | Sequence[str] | None,
    top: int | None,
    direction: Direction | None,
    repeat: str | Sequence[str] | None,
) -> Grouping:
    """The options of a figure over many runs, checked and completed.

    Raises:
        PlottingError: If there is no such key, or an option has another value.
    """
    check_choice("direction", direction, (None, "minimize", "maximize"))
    if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
        raise PlottingError(f"top must be a whole number from 1; got {top!r:.80}.")
    if direction is None:
        configured = experiment.direction if experiment.metric == metric else None
        likely = configured or direction_of(metric)
        direction = "minimize" if likely == "minimize" else "maximize"
    swept = swept_keys([run.settings for run in runs])
    if repeat is None:
        repeated = repeated_keys(swept, experiment.repeat)
    else:
        names = [repeat] if isinstance(repeat, str) else repeat
        repeated = resolve_keys(names, swept, option="repeat")
    keys = _group_keys(group_by, swept, repeated)
    inner = () if keys is None else tuple(key for key in repeated if key not in keys)
    return Grouping(keys, inner, direction)


def check_choice(option: str, value: object, choices: Sequence[str | None]) -> None:
    """Raise PlottingError if an option is none of its choices."""
    if value not in choices:
        names = [str(choice) for choice in choices if choice is not None]
        allowed = " or ".join(names) if len(names) == 2 else f"one of {', '.join(names)}"
        raise PlottingError(
            f"{option} must be {allowed}; got {value!r:.80}.{near_match(value, names)}"
        )


def warn_of_absent_metrics(experiment: Experiment, metrics: Sequence[str]) -> None:
    """Warn if figures of several experiments leave some of them out."""
    for name in experiment.experiments:
        logged = {
            metric
            for run in experiment.runs
            if run.settings[str(experiment.experiment_key)] == name
            for metric in run.metrics
        }
        absent = [metric for metric in metrics if metric not in logged]
        if absent:
            warnings.warn(f"No run of {name!r} has logged {listed(absent)}.", stacklevel=3)


def runs_with(metric: str, experiment: Experiment) -> tuple[Run, ...]:
    """The runs that have logged a metric, with this metric alone.

    Raises:
        PlottingError: If there are none.
    """
    runs = tuple(_only(run, (metric,)) for run in experiment.runs if metric in run.metrics)
    if runs:
        return runs
    # A wide table of one metric: its columns are runs, and only the caller knows the name.
    if len(experiment.runs) == 1 and not experiment.runs[0].settings and _is_wide(experiment):
        return tuple(
            Run(name, {}, {metric: curve}) for name, curve in experiment.runs[0].metrics.items()
        )
    raise PlottingError(no_metric(metric, experiment.metrics, "The experiment"))


def _is_wide(experiment: Experiment) -> bool:
    return experiment.runs[0].name == (experiment.name or "run")


def _group_keys(
    group_by: str | Sequence[str] | None, swept: Sequence[str], repeated: Sequence[str]
) -> tuple[str, ...] | None:
    if group_by is None or group_by == [] or group_by == ():
        return None
    if group_by == "auto":
        return tuple(key for key in swept if key not in repeated) if swept else None
    return resolve_keys([group_by] if isinstance(group_by, str) else group_by, swept)


def find_run(name: str | int | None, experiment: Experiment) -> Run:
    """The run of a name, a unique part of one, or a number; for None the only one.

    Raises:
        PlottingError: If that is no run, or several.
    """
    runs = experiment.runs
    names = experiment.run_names
    if name is None:
        if len(runs) == 1:
            return runs[0]
        raise PlottingError(f"Name one of the {len(runs)} runs: {listed(names)}.")
    text = full_name = str(name)
    if text.isdecimal() and text not in names:
        names_by_number = {} if experiment.folder is None else numbers_in_grid(experiment.folder)
        full_name = (names_by_number or dict(enumerate(names))).get(int(text), text)
    matches = [run for run in runs if run.name == full_name]
    spelled = unicodedata.normalize("NFC", text)  # one spelling of letters that have several
    matches = matches or [run for run in runs if spelled in unicodedata.normalize("NFC", run.name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise PlottingError(
            f"{text!r} fits several runs: {listed(run.name for run in matches)}. "
            "Give more of the name."
        )
    missing = f"run {text!r}" if "/" not in text else f"run, and no experiment, {text!r}"
    raise PlottingError(f"There is no {missing}.{near_match(text, names)} Runs: {listed(names)}.")


def title_of(experiment: Experiment, runs: Sequence[Run]) -> str:
    """What a figure's title calls these runs; "" if nothing does."""
    key = experiment.experiment_key
    names = [experiment.name] if key is None else [str(run.settings[key]) for run in runs]
    if not any(names):
        return ""
    title = listed(dict.fromkeys(names), most=3)
    return f"{title} ({len(runs)} run{'' if len(runs) == 1 else 's'})"


def _only(run: Run, metrics: Sequence[str]) -> Run:
    return replace(run, metrics={name: run.metrics[name] for name in metrics})


def no_metric(metric: str, metrics: Sequence[str] | Mapping[str, object], owner: str) -> str:
    names = list(metrics)
    return f"{owner} has no metric {metric!r}.{near_match(metric, names)} Known: {listed(names)}."
