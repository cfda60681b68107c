"""The columns of a page's table over all its experiments, and the values of each run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .._data.groups import natural_key, short_keys, value_text
from .experiments import ReportedExperiment

EXPERIMENT = "experiment"
_FIXED = ("run_name", "state", "attempt", "continued", "seconds", "best_step", "code", "path")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of runs.

    Attributes:
        name: Its name in results.csv.
        label: What the table's head says: of a swept key its last parts.
        kind: "name", "key", "number" or "text".
        direction: "minimize" or "maximize", if one end is better.
        choices: Of a swept key that holds no numbers its values, in the order of the sweep.
    """

    name: str
    label: str
    kind: str
    direction: str | None = None
    choices: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, object]:
        """What the page's script reads."""
        return {
            "name": self.name,
            "label": self.label,
            "kind": self.kind,
            "direction": self.direction,
            "choices": self.choices,
        }


def table_columns(experiments: Sequence[ReportedExperiment]) -> list[Column]:
    """The columns of all experiments together: the runs' names, swept keys, then the rest."""
    keys = list(dict.fromkeys(key for part in experiments for key in swept_columns(part)))
    measured = list(dict.fromkeys(key for part in experiments for key in measured_columns(part)))
    directions: dict[str, str] = {}
    for part in experiments:
        directions.update(part.frame.attrs.get("directions", {}))
    labels = short_keys(keys)
    columns = [Column("run_name", "run", "name")]
    if len(experiments) > 1:
        names = tuple(part.name for part in experiments)
        columns.append(Column(EXPERIMENT, EXPERIMENT, "key", choices=names))
    columns += [Column(key, labels[key], "key", choices=_choices(key, experiments)) for key in keys]
    columns.append(Column("state", "state", "text"))
    columns += [Column(name, name, "number", direction=directions.get(name)) for name in measured]
    present = {name for part in experiments for row in part.rows[:1] for name in row}
    others = {"best_step": "number", "seconds": "number", "attempt": "number",
              "continued": "text", "code": "text"}  # fmt: skip
    columns += [Column(name, name, kind) for name, kind in others.items() if name in present]
    return columns


def swept_columns(experiment: ReportedExperiment) -> list[str]:
    """The columns of an experiment's swept keys."""
    return [str(name) for name in experiment.frame.attrs.get("swept", {}).values()]


def measured_columns(experiment: ReportedExperiment) -> list[str]:
    """The columns of an experiment's metrics, best values and other numbers."""
    return [str(name) for name in experiment.frame.attrs.get("metrics", ())]


def table_values(columns: Sequence[Column], experiment: ReportedExperiment) -> list[list[object]]:
    """The values of each run, for JSON; None where it has none, "None" where that is its value."""
    swept = {name: experiment.frame[name].tolist() for name in swept_columns(experiment)}
    return [
        [
            experiment.name
            if column.name == EXPERIMENT
            else _swept_value(swept[column.name][place])
            if column.name in swept
            else json_value(row.get(column.name))
            for column in columns
        ]
        for place, row in enumerate(experiment.rows)
    ]


def _swept_value(value: object) -> object:
    """NaN is what the frame has for a key that the run's configuration does not have."""
    if value is None:
        return "None"
    return None if isinstance(value, float) and math.isnan(value) else json_value(value)


def json_value(value: object) -> object:
    """A value that strict JSON can hold: NaN and the infinities as text, others as they look.

    Examples:
        >>> json_value(float("nan")), json_value([1, 2]), json_value(None)
        ('NaN', '[1, 2]', None)
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return value if isinstance(value, str) else value_text(value)


def _choices(key: str, experiments: Sequence[ReportedExperiment]) -> tuple[str, ...] | None:
    values = [row[key] for part in experiments for row in part.rows if row.get(key) is not None]
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return None
    texts = dict.fromkeys(str(json_value(value)) for value in values)
    return tuple(sorted(texts, key=natural_key))
