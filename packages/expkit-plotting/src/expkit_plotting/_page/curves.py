"""The curves of a page: means and quantiles as the figures have them, and every run by itself.

Steps are written as offsets of two bytes where they are whole numbers near each other, else as
8-byte floats; values as 4-byte floats, which have seven digits.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import numpy as np

from .._data.groups import Group, group_runs, repetitions
from .._data.runs import Experiment
from .._data.statistics import (
    align,
    average_inner,
    drawable,
    log_floor,
    mean_and_spread,
    quantiles,
    ranked,
    thinned,
)
from .._figures.group_styles import group_styles
from .._recipes.selection import metric_recipe
from .._style.palette import DASHES, curve_styles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._data.runs import Array, Curve
    from .._recipes.recipe import Recipe
    from .._style.keys import PlotStyle

MOST_POINTS = 650_000  # of all curves of runs together, at 8 bytes in the page
FEWEST, MOST = 120, 2000  # points of one curve that is made shorter
MOST_OF_A_MEAN, MOST_IN_A_CROWD = 400, 160
MANY_RUNS, MANY_GROUPS, HIGHLIGHTED = 30, 12, 5  # as in a figure


class PageCurves:
    """The curves of all metrics, for JSON.

    Args:
        experiment: The curves.
        numbers: The place of each run in the page's table, by its name among the curves.
        style: Whose palette colours the groups.

    Attributes:
        groups: The groups of runs, with their colours.
        metrics: By metric what is drawn of all runs together.
        curves: By metric the curves of single runs, and the steps that they share.
    """

    def __init__(
        self, experiment: Experiment, numbers: Mapping[str, int], style: PlotStyle
    ) -> None:
        self._experiment = experiment
        self._numbers = numbers
        self._style = style
        self._steps: dict[bytes, int] = {}
        self._written_steps: list[dict[str, object]] = []
        self.groups: list[dict[str, object]] = []
        self._group_numbers: dict[str, int] = {}
        points = sum(len(c.steps) for run in experiment.runs for c in run.metrics.values())
        count = sum(len(run.metrics) for run in experiment.runs)
        self._most = MOST
        if points > MOST_POINTS:
            self._most = int(min(max(MOST_POINTS / count, FEWEST), MOST))
        curves: dict[str, list[object]] = {}
        self.metrics: dict[str, dict[str, object]] = {}
        for metric in experiment.metrics:
            self.metrics[metric], curves[metric] = self._metric(metric)
        self.curves: dict[str, object] = {"steps": self._written_steps, "metrics": curves}

    def _metric(self, metric: str) -> tuple[dict[str, object], list[object]]:
        recipe, runs = metric_recipe(self._experiment, metric)
        groups = group_runs(runs, recipe.group_by)
        styles = group_styles(groups, recipe.group_by, self._style.palette)
        for group, style in zip(groups, styles, strict=True):
            self._add_group(group, style.colour, style.dashes)
        curves = [run.metrics[metric] for run in runs]
        values = np.concatenate([curve.values[drawable(curve.values)] for curve in curves])
        steps = np.concatenate([curve.steps for curve in curves])
        is_crowd = len(runs) > MANY_RUNS and len(groups) > MANY_GROUPS
        written: list[object] = []
        longest = 0
        for run in runs:
            curve = run.metrics[metric]
            number = self._numbers.get(run.name)
            if number is not None:
                longest = max(longest, len(curve.steps))
                written.append([number, *self._written(curve)])
        log = log_floor(metric, values) is not None
        data: dict[str, object] = {
            "step": recipe.step,
            "direction": recipe.direction,
            "runs": len(runs),
            "extent": [float(steps.min()), float(steps.max())] if len(steps) else [0, 1],
            "log": log,
            "clipped": bool(len(values)) and bool(values.min() <= 0),
            "view": "bands" if is_crowd else "groups",
            "summary": _summary(metric, recipe, runs_count=len(runs), values=values),
        }
        if longest > self._most:
            data["thinned"] = (
                f"the lowest and the highest value of each of {self._most // 2} stretches of "
                f"{longest} steps; metrics.jsonl has all"
            )
        order = ranked([[run.metrics[metric] for run in group.runs] for group in groups],
                       recipe.direction)  # fmt: skip
        data["groups"] = [] if len(groups) > 200 else [
            self._mean(group, metric, level, MOST_IN_A_CROWD if is_crowd else MOST_OF_A_MEAN)
            for group, level in zip(groups, repetitions(groups, recipe.repeat), strict=True)
        ]  # fmt: skip
        if is_crowd:
            data["bands"] = _bands(curves)
            best = [groups[index] for index in order[:HIGHLIGHTED]]
            levels = repetitions(best, recipe.repeat)
            data["best"] = [
                {**self._mean(group, metric, level), "colour": style.colour,
                 "dashes": _dashes(style.dashes)}
                for group, level, style in zip(
                    best, levels, curve_styles(self._style.palette, len(best)), strict=True)
            ]  # fmt: skip
        return data, written

    def _add_group(self, group: Group, colour: str, dashes: int) -> None:
        numbers = [self._numbers[run.name] for run in group.runs if run.name in self._numbers]
        if group.label in self._group_numbers:
            known = self.groups[self._group_numbers[group.label]]["runs"]
            assert isinstance(known, list)
            known.extend(number for number in numbers if number not in known)
            return
        self._group_numbers[group.label] = len(self.groups)
        self.groups.append(
            {"label": group.label, "colour": colour, "dashes": _dashes(dashes), "runs": numbers}
        )

    def _mean(
        self,
        group: Group,
        metric: str,
        level: Sequence[tuple[str, ...]],
        most: int = MOST_OF_A_MEAN,
    ) -> dict[str, object]:
        steps, values = align([run.metrics[metric] for run in group.runs])
        mean, spread, count = mean_and_spread(average_inner(values, level))
        places = _places(steps, mean, most)
        fewest, most = (int(count.min()), int(count.max())) if len(count) else (0, 0)
        return {
            "group": self._group_numbers[group.label],
            "x": _numbers(steps[places], 8),
            "mean": _numbers(mean[places]),
            "spread": _numbers(spread[places]) if most > 1 else None,
            "n": str(most) if fewest == most else f"{max(fewest, 1)}–{most}",
        }

    def _written(self, curve: Curve) -> tuple[int, str]:
        values = np.where(drawable(curve.values), curve.values, np.nan)
        steps, values = thinned(curve.steps, values, most=self._most)
        content = steps.tobytes()
        if content not in self._steps:
            self._steps[content] = len(self._written_steps)
            self._written_steps.append(_encoded_steps(steps))
        return self._steps[content], _base64(values.astype("<f4"))


def _summary(metric: str, recipe: Recipe, *, runs_count: int, values: Array) -> str:
    """What a reader of the screen hears instead of the picture."""
    text = f"{metric} by {recipe.step} of {runs_count} runs"
    if not len(values):
        return text
    return f"{text}, from {values.min():.4g} to {values.max():.4g}; arrow keys read values"


def _bands(curves: Sequence[Curve]) -> dict[str, object]:
    steps, values = align(curves)
    edges = quantiles(values)
    places = _places(steps, edges[2])
    return {"x": _numbers(steps[places], 8), "edges": [_numbers(edge[places]) for edge in edges]}


def _places(steps: Array, values: Array, most: int = MOST_OF_A_MEAN) -> NDArray[np.intp]:
    """Places of the points that a line of so many points has."""
    kept, _ = thinned(steps, values, most=most)
    return np.searchsorted(steps, kept)


def _encoded_steps(steps: Array) -> dict[str, object]:
    first = float(steps[0]) if len(steps) else 0.0
    offsets = steps - first
    if len(steps) and (offsets == np.floor(offsets)).all() and offsets[-1] < 1 << 16:
        return {"kind": "u2", "first": first, "data": _base64(offsets.astype("<u2"))}
    return {"kind": "f8", "data": _base64(steps.astype("<f8"))}


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _numbers(values: Array, digits: int = 6) -> list[float | None]:
    return [
        float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values.tolist()
    ]


def _dashes(index: int) -> list[float]:
    dashes = DASHES[index]
    return [] if isinstance(dashes, str) else [float(part) for part in dashes[1]]
