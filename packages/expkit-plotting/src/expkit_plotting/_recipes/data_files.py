"""The data beside a figure, as CSV: the points of its runs, or the cells of its matrix."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence

import numpy as np

from .._data.errors import PlottingError
from .._data.runs import Curve, Run
from .confusion_matrix import ConfusionMatrix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .recipe import Recipe

FigureData = tuple[Run, ...] | ConfusionMatrix
_POINTS = ["run", "metric", "step", "value"]
_CELLS = ["true", "predicted", "count"]


def to_csv(data: FigureData) -> bytes:
    """The data of a figure, one point or cell per row; exact, as `repr` writes floats."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if isinstance(data, ConfusionMatrix):
        writer.writerow(_CELLS)
        writer.writerows(_cells(data))
    else:
        writer.writerow(_POINTS)
        writer.writerows(_points(data))
    return text.getvalue().encode()


def from_csv(content: bytes, recipe: Recipe, *, origin: str) -> FigureData:
    """The data that `to_csv` wrote.

    Raises:
        PlottingError: If the content is not such a table.
    """
    columns = _CELLS if recipe.kind == "confusion" else _POINTS
    try:
        rows = csv.reader(io.StringIO(content.decode("utf-8-sig")))
    except ValueError as error:
        raise PlottingError(f"{origin} is no text in UTF-8: {error}.") from None
    try:
        if next(rows, None) != columns:
            names = f"{', '.join(columns[:-1])} and {columns[-1]}"
            raise PlottingError(f"{origin} must have the columns {names}.")
        if recipe.kind == "confusion":
            return _matrix(rows)
        return _runs(rows, recipe, origin)
    except PlottingError:
        raise
    except (ValueError, csv.Error) as error:
        raise PlottingError(f"{origin}, line {rows.line_num}: {error!s:.300}.") from None


def _points(runs: Sequence[Run]) -> Iterator[tuple[object, ...]]:
    for run in runs:
        for metric, curve in run.metrics.items():
            for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True):
                yield run.name, metric, _exact(step), repr(value)


def _runs(rows: Iterator[list[str]], recipe: Recipe, origin: str) -> tuple[Run, ...]:
    points: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for run, metric, step, value in rows:
        steps, values = points.setdefault(run, {}).setdefault(metric, ([], []))
        steps.append(float(step))
        values.append(float(value))
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


def _cells(matrix: ConfusionMatrix) -> Iterator[tuple[object, ...]]:
    for true, row in zip(matrix.classes, matrix.counts.tolist(), strict=True):
        for predicted, count in zip(matrix.classes, row, strict=True):
            yield true, predicted, _exact(count)


def _matrix(rows: Iterator[list[str]]) -> ConfusionMatrix:
    counts: dict[tuple[str, str], float] = {}
    for true, predicted, count in rows:
        counts[true, predicted] = float(count)
    classes = tuple(dict.fromkeys(true for true, _ in counts))
    if len(counts) != len(classes) ** 2:
        raise ValueError("the matrix has not one cell for each pair of classes")
    try:
        table = [[counts[true, predicted] for predicted in classes] for true in classes]
    except KeyError as error:
        raise ValueError(f"the matrix has no cell {error}") from None
    return ConfusionMatrix(classes, np.array(table, dtype=float))


def _exact(number: float) -> str:
    is_whole = math.isfinite(number) and number == int(number)
    return str(int(number)) if is_whole else repr(number)
