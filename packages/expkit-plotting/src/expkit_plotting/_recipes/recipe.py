"""What a figure shows, apart from its style and its data: a recipe, which is kept as JSON.

Drawing needs recipe, data and a style, nothing else. That is why a figure can be redrawn in
another style later, as if it had been drawn in that style at first, without loading a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Literal

from .._data.errors import PlottingError, listed

Kind = Literal["metric", "run", "final", "heatmap", "confusion"]
KINDS = ("metric", "run", "final", "heatmap", "confusion")
Lines = Literal["auto", "groups", "bands", "all"]
LINES = ("auto", "groups", "bands", "all")
Value = Literal["final", "best"]
VALUES = ("final", "best")
Marks = Literal["auto", "bars", "points"]
MARKS = ("auto", "bars", "points")
Normalize = Literal["true", "pred", "all"]
NORMALIZE = ("true", "pred", "all")
SCHEMA = 1


@dataclass(frozen=True)
class Recipe:
    """What is drawn.

    Attributes:
        kind: "metric": one metric of many runs; "run": all metrics of one run; "final": one value
            of many runs; "heatmap": the same over two swept keys; "confusion": a confusion matrix.
        metrics: The metrics drawn; none in a confusion matrix.
        step: What the x axis counts.
        title: Drawn where the style has titles.
        group_by: Keys whose values make a group; None draws every run by itself. In a heat map
            the keys of the x and the y axis.
        repeat: Keys that only repeat a configuration, the outermost first: values are averaged
            over the others before the mean is taken over the values of the first.
        direction: "minimize" or "maximize".
        top: How many of the best groups are drawn; None for all.
        lines: How many runs become lines, see `PlotMetrics.metric`.
        settings: What was swept, for each run by name.
        value: Which value of a run is drawn, its last or its best; None if the metric is no curve.
        marks: Whether values become bars or points.
        order: The values of swept keys in the order of the sweep.
        skipped: What was swept, for each run that a rule skips.
        normalize: Of what the cells of a confusion matrix are shares; None for counts.
    """

    kind: Kind
    metrics: tuple[str, ...]
    step: str
    title: str
    group_by: tuple[str, ...] | None = None
    repeat: tuple[str, ...] = ()
    direction: str = "maximize"
    top: int | None = None
    lines: Lines = "auto"
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    # Not written into the file where they say nothing, as in all figures of curves.
    value: Value | None = None
    marks: Marks | None = None
    order: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    skipped: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    normalize: Normalize | None = None

    def to_json(self, style: Mapping[str, object]) -> bytes:
        """The recipe with the style that it was drawn in."""
        values = {key: value for key, value in asdict(self).items()
                  if key not in _SOME_KINDS or value}  # fmt: skip
        content = {"schema": SCHEMA, **values, "style": dict(style)}
        return (json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes, *, origin: str) -> tuple[Recipe, dict[str, object]]:
        """The recipe and the style that it was drawn in.

        Raises:
            PlottingError: If the content is not a recipe, or one of a newer version.
        """
        try:
            values = json.loads(content)
            style = values.pop("style")
            schema = values.pop("schema")
            kind = values["kind"]
            unknown = values.keys() - {field.name for field in fields(cls)}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise PlottingError(f"{origin} is not a figure's recipe: {error!r:.300}.") from None
        newer = None
        if type(schema) is not int or schema > SCHEMA:
            newer = f"has schema {schema!r:.80}, but this expkit-plotting reads {SCHEMA}"
        elif isinstance(kind, str) and kind not in KINDS:
            newer = f"is of kind {kind!r:.80}, but this expkit-plotting draws {listed(KINDS)}"
        elif unknown:
            newer = f"says {listed(sorted(unknown)):.200}, which this expkit-plotting does not know"
        if newer:
            raise PlottingError(f"{origin} {newer}. Update it.")
        try:
            values["metrics"] = tuple(values["metrics"])
            if values.get("group_by") is not None:
                values["group_by"] = tuple(values["group_by"])
            values["repeat"] = tuple(values.get("repeat", ()))
            values["order"] = {key: tuple(order) for key, order in values.get("order", {}).items()}
            recipe = cls(**values)
            recipe._check()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PlottingError(f"{origin} is not a figure's recipe: {error!r:.300}.") from None
        return recipe, style

    def _check(self) -> None:
        """Raise ValueError where a key does not hold what it must."""
        texts = (self.step, self.title, *self.metrics, *(self.group_by or ()), *self.repeat)
        counts = {"run": len(self.metrics) > 0, "confusion": not self.metrics}
        is_valid = {
            "kind": self.kind in KINDS,
            "metrics, step, title, group_by and repeat": all(
                isinstance(text, str) for text in texts
            ),
            "number of metrics": counts.get(self.kind, len(self.metrics) == 1),
            "group_by": self.kind != "heatmap" or len(self.group_by or ()) == 2,
            "direction": self.direction in ("minimize", "maximize"),
            "top": self.top is None or (type(self.top) is int and self.top > 0),
            "lines": self.lines in LINES,
            "settings": _are_settings(self.settings),
            "value": self.value in (None, *VALUES),
            "marks": self.marks in (None, *MARKS),
            "skipped": _are_settings(self.skipped),
            "normalize": self.normalize in (None, *NORMALIZE),
        }
        for key, holds in is_valid.items():
            if not holds:
                raise ValueError(f"its {key} cannot be")


_SOME_KINDS = ("value", "marks", "order", "skipped", "normalize")


def _are_settings(settings: object) -> bool:
    return isinstance(settings, dict) and all(
        isinstance(values, dict) for values in settings.values()
    )
