"""What a figure shows, apart from its style: a recipe (JSON) and its data (CSV).

Drawing needs these two and a style, nothing else. That is why a figure can be redrawn in
another style later, as if it had been drawn in that style at first, without loading a pickle.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np

from .._data.errors import PlottingError
from .._data.runs import Curve, Run

Lines = Literal["auto", "groups", "bands", "all"]
LINES = ("auto", "groups", "bands", "all")
SCHEMA = 1


@dataclass(frozen=True)
class Recipe:
    """What is drawn.

    Attributes:
        kind: "metric": one metric of many runs; "run": all metrics of one run.
        metrics: The metrics drawn.
        step: What the x axis counts.
        title: Drawn where the style has titles.
        group_by: Keys whose values make a group; None draws every run by itself.
        repeat: Keys that only repeat a configuration, the outermost first: values are averaged
            over the others before the mean is taken over the values of the first.
        direction: "minimize" or "maximize".
        top: How many of the best groups are drawn; None for all.
        lines: How many runs become lines, see `PlotMetrics.metric`.
        settings: What was swept, for each run by name.
    """

    kind: Literal["metric", "run"]
    metrics: tuple[str, ...]
    step: str
    title: str
    group_by: tuple[str, ...] | None = None
    repeat: tuple[str, ...] = ()
    direction: str = "maximize"
    top: int | None = None
    lines: Lines = "auto"
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def to_json(self, style: Mapping[str, object]) -> bytes:
        """The recipe with the style that it was drawn in."""
        content = {"schema": SCHEMA, **asdict(self), "style": dict(style)}
        return (json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes, *, origin: str) -> tuple[Recipe, dict[str, object]]:
        """The recipe and the style that it was drawn in.

        Raises:
            PlottingError: If the content is not a recipe.
        """
        try:
            values = json.loads(content)
            style = values.pop("style")
            schema = values.pop("schema")
            values["metrics"] = tuple(values["metrics"])
            if values.get("group_by") is not None:
                values["group_by"] = tuple(values["group_by"])
            values["repeat"] = tuple(values.get("repeat", ()))
            recipe = cls(**values)
            recipe._check()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise PlottingError(f"{origin} is not a figure's recipe: {error!r:.300}.") from None
        if schema != SCHEMA:
            raise PlottingError(
                f"{origin} has schema {schema!r}, but this expkit-plotting reads {SCHEMA}. "
                "Update it."
            )
        return recipe, style

    def _check(self) -> None:
        """Raise ValueError where a key does not hold what it must."""
        texts = (self.step, self.title, *self.metrics, *(self.group_by or ()), *self.repeat)
        is_valid = {
            "kind": self.kind in ("metric", "run"),
            "metrics, step, title, group_by and repeat": all(
                isinstance(text, str) for text in texts
            ),
            "number of metrics": len(self.metrics) == 1 or (self.kind == "run" and self.metrics),
            "direction": self.direction in ("minimize", "maximize"),
            "top": self.top is None or (type(self.top) is int and self.top > 0),
            "lines": self.lines in LINES,
            "settings": isinstance(self.settings, dict)
            and all(isinstance(values, dict) for values in self.settings.values()),
        }
        for key, holds in is_valid.items():
            if not holds:
                raise ValueError(f"its {key} cannot be")


def to_csv(runs: tuple[Run, ...]) -> bytes:
    """All points as rows `run,metric,step,value`; exact, as `repr` writes floats."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("run", "metric", "step", "value"))
    for run in runs:
        for metric, curve in run.metrics.items():
            writer.writerows(
                (run.name, metric, _exact(step), repr(value))
                for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True)
            )
    return text.getvalue().encode()


def from_csv(content: bytes, recipe: Recipe, *, origin: str) -> tuple[Run, ...]:
    """The runs that `to_csv` wrote.

    Raises:
        PlottingError: If the content is not such a table.
    """
    points: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    try:
        rows = csv.reader(io.StringIO(content.decode("utf-8-sig")))
    except ValueError as error:
        raise PlottingError(f"{origin} is no text in UTF-8: {error}.") from None
    try:
        if next(rows, None) != ["run", "metric", "step", "value"]:
            raise PlottingError(f"{origin} must have the columns run, metric, step and value.")
        for run, metric, step, value in rows:
            steps, values = points.setdefault(run, {}).setdefault(metric, ([], []))
            steps.append(float(step))
            values.append(float(value))
    except (ValueError, csv.Error) as error:
        raise PlottingError(f"{origin}, line {rows.line_num}: {error!s:.300}.") from None
    runs = dict.fromkeys([*recipe.settings, *points])  # a run without a point has no row
    if not runs:
        raise PlottingError(f"{origin} holds no run.")
    return tuple(
        Run(
            name,
            recipe.settings.get(name, {}),
            {
                metric: Curve(*map(np.array, points.get(name, {}).get(metric, ([], []))))
                for metric in recipe.metrics
            },
        )
        for name in runs
    )


def _exact(step: float) -> str:
    return str(int(step)) if math.isfinite(step) and step == int(step) else repr(step)
