"""The table of groups: means over what is repeated, with their spread, n, and the best of each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress

from .._data.groups import short_keys
from .columns import EXPERIMENT, json_value, measured_columns, swept_columns
from .experiments import ReportedExperiment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pandas import DataFrame, Series

ABSENT = "–"  # what a table shows for a key that a run's configuration does not have


def page_groups(experiments: Sequence[ReportedExperiment]) -> dict[str, object]:
    """Means of the completed runs of each group, for JSON.

    Args:
        experiments: The experiments; their runs follow one another in the page.

    Returns:
        `keys` with their `labels`; `columns` of numbers; `rows`, each with `labels`, the places of
        its completed `runs`, `n` and, by column, mean, standard deviation and n in `cells`, and
        the columns of which it is the `best`; and `notes`, what the tables warn of.
    """
    is_several = len(experiments) > 1
    tables: list[tuple[ReportedExperiment, DataFrame, int]] = []
    notes: list[str] = []
    first = 0
    for experiment in experiments:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with suppress(ValueError):  # nothing is completed, or nothing was logged
                tables.append((experiment, experiment.frame.table(), first))  # type: ignore[operator]
        notes += [str(warning.message) for warning in caught]
        first += len(experiment.records)
    keys = list(dict.fromkeys(key for _, table, _ in tables for key in _keys(table)))
    names = list(dict.fromkeys(name for part, _, _ in tables for name in measured_columns(part)))
    directions: dict[str, str] = {}
    for part, _, _ in tables:
        directions.update(part.frame.attrs.get("directions", {}))
    rows = [row for entry in tables for row in _rows(*entry, keys, names, is_several=is_several)]
    _mark_best(rows, names, directions)
    labels = short_keys(keys)
    shown = [*([EXPERIMENT] if is_several else ()), *keys]
    return {
        "keys": shown,
        "labels": [labels.get(key, key) for key in shown],
        "columns": [
            {"name": name, "label": name, "direction": directions.get(name)} for name in names
        ],
        "rows": rows,
        "notes": list(dict.fromkeys(notes)),
    }


def _keys(table: DataFrame) -> list[str]:
    return [str(name) for name in table.index.names if name is not None]


def _rows(
    experiment: ReportedExperiment,
    table: DataFrame,
    first: int,
    keys: Sequence[str],
    names: Sequence[str],
    *,
    is_several: bool,
) -> list[dict[str, object]]:
    own = _keys(table)
    completed = experiment.frame["state"] == "completed"
    members: dict[tuple[str, ...], list[int]] = {}
    for place, (_, row) in enumerate(experiment.frame.iterrows()):
        if completed.iloc[place]:
            # Where no key is swept, one row is called "all".
            labels = tuple(_label(row[key]) if key in row.index else "all" for key in own)
            members.setdefault(labels, []).append(first + place)
    rows: list[dict[str, object]] = []
    for label, (_, row) in zip(table.index, table.iterrows(), strict=True):
        values = label if isinstance(label, tuple) else (label,)
        by_key = dict(zip(own, values, strict=True))
        shown = [json_value(_plain(by_key[key])) if key in by_key else None for key in keys]
        rows.append(
            {
                "labels": [*([experiment.name] if is_several else ()), *shown],
                "runs": members.get(tuple(map(_label, values)), []),
                "n": int(row["runs", "count"]),
                "cells": [_cell(row, name) for name in names],
                "best": [],
            }
        )
    return rows


def _cell(row: Series, name: str) -> list[object]:
    if (name, "n") not in row.index:
        return [None, None, 0]
    n = int(row[name, "n"])
    mean, spread = float(row[name, "mean"]), float(row[name, "std"])
    return [
        json_value(mean) if n else None,
        None if n < 2 else json_value(spread),
        n,
    ]


def _mark_best(
    rows: Sequence[dict[str, object]], names: Sequence[str], directions: dict[str, str]
) -> None:
    """Mark the best mean of each column that has a direction; one value is no best mean."""
    for place, name in enumerate(names):
        if name not in directions:
            continue
        cells = [(row, row["cells"][place]) for row in rows]  # type: ignore[index]
        most = max((cell[2] for _, cell in cells), default=0)
        eligible = [
            (cell[0], row)
            for row, cell in cells
            if isinstance(cell[0], (int, float)) and (cell[2] > 1 or most == 1)
        ]
        if len(eligible) < 2:
            continue
        choose = max if directions[name] == "maximize" else min
        best = choose(mean for mean, _ in eligible)
        for mean, row in eligible:
            if mean == best:
                row["best"].append(place)  # type: ignore[attr-defined]


def _plain(value: object) -> object:
    return value.item() if hasattr(value, "item") else value


def _label(value: object) -> str:
    """A value by which a row of the frame and the table's index agree."""
    plain = _plain(value)
    return ABSENT if isinstance(plain, float) and plain != plain else str(plain)


def swept_of(experiments: Sequence[ReportedExperiment]) -> list[str]:
    """All swept keys, in the order of the table."""
    return list(dict.fromkeys(key for part in experiments for key in swept_columns(part)))
