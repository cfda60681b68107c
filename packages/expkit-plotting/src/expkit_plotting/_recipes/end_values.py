"""One value of each run: the recipes of the figure of final values and of the heat map."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from .._data.errors import PlottingError, listed
from .._data.folder_facts import saved_numbers, sweep_of
from .._data.groups import differing_keys, resolve_keys, swept_keys
from .._data.runs import Curve, Run
from .._data.statistics import best_place
from .recipe import MARKS, VALUES, Marks, Recipe, Value
from .selection import check_choice, grouping, no_metric, runs_with, title_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._data.runs import Experiment
    from .selection import Direction

_COUNTS = (None, "completed")  # states of runs that have an end; None: nothing tells


def final_recipe(
    experiment: Experiment,
    name: str,
    *,
    value: Value = "final",
    group_by: Literal["auto"] | str | Sequence[str] | None = "auto",
    top: int | None = None,
    direction: Direction | None = None,
    repeat: str | Sequence[str] | None = None,
    marks: Marks = "auto",
) -> tuple[Recipe, tuple[Run, ...]]:
    """The figure of final or best values, as `PlotMetrics.final` draws it.

    Raises:
        PlottingError: If there is no such metric or key, or an option has another value.
    """
    check_choice("value", value, VALUES)
    check_choice("marks", marks, MARKS)
    runs, is_curve = _ended_runs(experiment, name)
    chosen = grouping(
        experiment, runs, name, group_by=group_by, top=top, direction=direction, repeat=repeat
    )
    sweep = sweep_of(experiment.folder)
    recipe = Recipe(
        kind="final",
        metrics=(name,),
        step=experiment.step,
        title=title_of(experiment, runs),
        group_by=chosen.keys,
        repeat=chosen.repeat,
        direction=chosen.direction,
        top=top,
        settings={run.name: dict(run.settings) for run in runs},
        value=value if is_curve else None,
        marks=marks,
        order={key: sweep.values[key] for key in chosen.keys or () if key in sweep.values},
    )
    return recipe, _with_one_value(runs, name, value, chosen.direction)


def heatmap_recipe(
    experiment: Experiment,
    name: str,
    *,
    x: str | None = None,
    y: str | None = None,
    value: Value = "final",
    direction: Direction | None = None,
    repeat: str | Sequence[str] | None = None,
) -> tuple[Recipe, tuple[Run, ...]]:
    """The heat map of final or best values, as `PlotMetrics.heatmap` draws it.

    Raises:
        PlottingError: If there is no such metric or key, or an option has another value.
    """
    check_choice("value", value, VALUES)
    runs, is_curve = _ended_runs(experiment, name)
    chosen = grouping(
        experiment, runs, name, group_by="auto", top=None, direction=direction, repeat=repeat
    )
    sweep = sweep_of(experiment.folder)
    settings = [*(run.settings for run in runs), *sweep.skipped.values()]
    keys = _axes(x, y, settings, chosen.repeat)
    recipe = Recipe(
        kind="heatmap",
        metrics=(name,),
        step=experiment.step,
        title=title_of(experiment, runs),
        group_by=keys,
        repeat=tuple(key for key in chosen.repeat if key not in keys),
        direction=chosen.direction,
        settings={run.name: dict(run.settings) for run in runs},
        value=value if is_curve else None,
        order={key: sweep.values[key] for key in keys if key in sweep.values},
        skipped=sweep.skipped,
    )
    return recipe, _with_one_value(runs, name, value, chosen.direction)


def _ended_runs(experiment: Experiment, name: str) -> tuple[tuple[Run, ...], bool]:
    """The runs that are compared, and whether the metric is a curve or one number of each run."""
    is_curve = name in experiment.metrics
    runs = (runs_with if is_curve else _runs_with_number)(name, experiment)
    ended = tuple(run for run in runs if run.state in _COUNTS)
    others = [run.name for run in runs if run.state not in _COUNTS]
    if not ended:
        raise PlottingError(
            f"No run has completed, so none has a final {name!r}: {listed(others, most=8)}."
        )
    if others:
        warnings.warn(
            f"{len(others)} of {len(runs)} runs have not completed, and their values are not "
            f"shown: {listed(others, most=8)}.",
            stacklevel=4,
        )
    return ended, is_curve


def _runs_with_number(name: str, experiment: Experiment) -> tuple[Run, ...]:
    """The runs with a saved number as their only point."""
    numbers: dict[str, Mapping[str, float]] = {}
    for run in experiment.runs:
        numbers[run.name] = saved_numbers(run)
    names = dict.fromkeys(key for saved in numbers.values() for key in saved)
    if name not in names:
        if len(experiment.runs) == 1 and not experiment.runs[0].settings:
            return runs_with(name, experiment)  # a wide table, or the error
        raise PlottingError(no_metric(name, [*experiment.metrics, *names], "The experiment"))
    return tuple(
        replace(run, metrics={name: Curve(np.array([0.0]), np.array([numbers[run.name][name]]))})
        for run in experiment.runs
        if name in numbers[run.name]
    )


def _with_one_value(
    runs: Sequence[Run], metric: str, value: Value, direction: Direction
) -> tuple[Run, ...]:
    """The runs, their curve cut to its last or best point; one without a point keeps none."""
    cut = []
    for run in runs:
        curve = run.metrics[metric]
        place = best_place(curve, direction) if value == "best" else None
        kept = slice(-1, None) if place is None else slice(place, place + 1)
        curve = Curve(curve.steps[kept], curve.values[kept])
        cut.append(replace(run, metrics={metric: curve}))
    return tuple(cut)


def _axes(
    x: str | None,
    y: str | None,
    settings: Sequence[Mapping[str, object]],
    repeated: Sequence[str],
) -> tuple[str, str]:
    """The keys of the two axes; those that are not given are the only ones left that differ."""
    swept = swept_keys(settings)
    chosen: dict[str, str] = {}
    for option, name in (("x", x), ("y", y)):
        if name is not None:
            (chosen[option],) = resolve_keys([name], swept, option=option)
    if chosen.get("x", "") == chosen.get("y"):
        raise PlottingError(f"x and y are the same key, {chosen['x']!r}.")
    if len(chosen) < 2:
        left = [
            key
            for key in differing_keys(settings, swept)
            if key not in repeated and key not in chosen.values()
        ]
        if len(left) != 2 - len(chosen):
            given = "".join(f" besides {option}={key!r}" for option, key in chosen.items())
            raise PlottingError(
                f"A heat map is over two swept keys; {len(left)} differ{given}: {listed(left)}. "
                "Say which with x= and y= (--x, --y)."
            )
        for option in ("y", "x"):
            if option not in chosen:
                chosen[option] = left.pop(0)
    return chosen["x"], chosen["y"]
