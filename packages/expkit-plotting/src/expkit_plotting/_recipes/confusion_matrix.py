"""Confusion matrices, from what scripts have: a matrix, a table, or labels and predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._data.errors import PlottingError, listed, near_match
from .._data.groups import distinct_texts, natural_key
from .._data.tables import is_dataframe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._data.runs import Array

MOST_CLASSES = 200  # a page has no room for more
# Names of columns and keys, in lower case.
_TRUE = ("true", "y_true", "label", "labels", "target", "targets", "actual", "truth")
_PREDICTED = (
    "predicted",
    "y_pred",
    "pred",
    "preds",
    "prediction",
    "predictions",
    "predicted_label",
)
_MATRIX = ("matrix", "confusion_matrix", "confusion", "counts")
_CLASSES = ("classes", "class_names", "labels", "names")
_FORMS = (
    "a square matrix of counts (rows: true classes), a table with such a matrix and the classes as "
    "its columns and index, or labels and predictions (columns or keys `true` and `predicted`)"
)


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """How often each class was taken for each.

    Attributes:
        classes: Their names, all different.
        counts: Rows are the true classes, columns the predicted ones; (classes, classes).

    Raises:
        ValueError: If a count is negative or not finite, or there are no classes, or too many.
    """

    classes: tuple[str, ...]
    counts: Array

    def __post_init__(self) -> None:
        if not 1 <= len(self.classes) <= MOST_CLASSES:
            raise ValueError(f"it has {len(self.classes)} classes; drawn are 1 to {MOST_CLASSES}")
        if len(set(self.classes)) < len(self.classes):
            repeated = {name for name in self.classes if self.classes.count(name) > 1}
            raise ValueError(f"several classes are called {listed(sorted(repeated))}")
        if not np.isfinite(self.counts).all() or (self.counts < 0).any():
            raise ValueError("counts must be finite and not negative")


def confusion_matrix(
    source: object, *, classes: Sequence[object] | None = None, where: str
) -> ConfusionMatrix:
    """The confusion matrix that some data are or give.

    Args:
        source: A square array or nested list of counts; a DataFrame whose index and columns are
            the classes, as `pandas.crosstab` gives; a DataFrame or mapping with the labels and the
            predictions; or a pair of the two.
        classes: The classes in their order. By default what the data say, sorted; of a bare
            matrix 0, 1, …
        where: What messages call the data.

    Raises:
        PlottingError: If they are no confusion matrix; says what would be one.
    """
    try:
        if is_dataframe(source):
            return _of_table(source, classes)
        if isinstance(source, Mapping):
            return _of_mapping(source, classes)
        if isinstance(source, tuple) and len(source) == 2:
            return _of_labels(*source, classes)
        return _of_counts(source, classes)
    except (ValueError, TypeError, OverflowError) as error:
        raise PlottingError(f"{where} is no confusion matrix: {error}. Give {_FORMS}.") from None


def _of_table(table: Any, classes: Sequence[object] | None) -> ConfusionMatrix:
    columns = {str(column).lower(): column for column in table.columns}
    true, predicted = _first(columns, _TRUE), _first(columns, _PREDICTED)
    if true is not None and predicted is not None:
        return _of_labels(table[true].tolist(), table[predicted].tolist(), classes)
    rows, names = table.index.tolist(), table.columns.tolist()
    counts = table.to_numpy(dtype=float)
    is_numbered = type(table.index).__name__ == "RangeIndex"
    # In a crosstab a class that was never predicted has no column.
    if set(rows) == set(names) or (not is_numbered and set(rows) & set(names)):
        own = _in_order([*names, *rows], classes)
        places = {value: place for place, value in enumerate(own)}
        square = np.zeros((len(own), len(own)))
        square[np.ix_([places[row] for row in rows], [places[name] for name in names])] = counts
        return ConfusionMatrix(tuple(distinct_texts(own)), square)
    if len(rows) == len(names):
        return _of_counts(counts, names if classes is None else classes)
    raise ValueError(f"it is a table of {len(rows)} rows with the columns {listed(names, most=8)}")


def _of_mapping(source: Mapping[Any, Any], classes: Sequence[object] | None) -> ConfusionMatrix:
    keys = {str(key).lower(): key for key in source}
    matrix = _first(keys, _MATRIX)
    if matrix is not None:
        names = _first(keys, _CLASSES)
        own = source[names] if classes is None and names is not None else classes
        return _of_counts(source[matrix], own)
    true, predicted = _first(keys, _TRUE), _first(keys, _PREDICTED)
    if true is None or predicted is None:
        raise ValueError(f"it is a mapping with the keys {listed(source, most=8)}")
    names = _first(keys, [name for name in _CLASSES if keys.get(name) != true])
    own = source[names] if classes is None and names is not None else classes
    return _of_labels(source[true], source[predicted], own)


def _of_labels(
    true: Iterable[object], predicted: Iterable[object], classes: Sequence[object] | None
) -> ConfusionMatrix:
    labels, predictions = _values(true), _values(predicted)
    if len(labels) != len(predictions):
        raise ValueError(f"there are {len(labels)} labels and {len(predictions)} predictions")
    if not labels:
        raise ValueError("there are no labels")
    values = dict.fromkeys([*labels, *predictions])
    in_order: Sequence[object]
    if (
        classes is not None
        and not values.keys() <= set(classes)
        and all(type(value) is int and 0 <= value < len(classes) for value in values)
    ):  # labels are places in the list of classes, as data sets have them
        names, in_order = list(classes), list(range(len(classes)))
    else:
        names = in_order = _in_order(values, classes)
    places = {value: place for place, value in enumerate(in_order)}
    counts = np.zeros((len(names), len(names)))
    np.add.at(
        counts,
        ([places[value] for value in labels], [places[value] for value in predictions]),
        1.0,
    )
    return ConfusionMatrix(tuple(distinct_texts(names)), counts)


def _of_counts(source: object, classes: Sequence[object] | None) -> ConfusionMatrix:
    counts = np.asarray(source, dtype=float)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"its shape is {counts.shape}")
    names = list(range(len(counts)) if classes is None else classes)
    if len(names) != len(counts):
        raise ValueError(f"it has {len(counts)} rows, and there are {len(names)} classes")
    return ConfusionMatrix(tuple(distinct_texts(names)), counts)


def _in_order(values: Iterable[object], classes: Sequence[object] | None) -> list[object]:
    own = list(dict.fromkeys(values))
    if classes is None:
        return sorted(own, key=natural_key)
    missing = [value for value in own if value not in set(classes)]
    if missing:
        raise ValueError(
            f"{missing[0]!r} is none of the classes {listed(classes, most=8)}."
            f"{near_match(missing[0], classes)}"
        )
    return list(classes)


def _values(values: Any) -> list[object]:
    """Labels as plain values: those of arrays, tensors and columns, too."""
    plain = values.tolist() if hasattr(values, "tolist") else list(values)
    if any(isinstance(value, (list, dict)) for value in plain):
        raise ValueError("labels and predictions are lists of classes, not of lists")
    return [int(value) if isinstance(value, float) and value.is_integer() else value
            for value in plain]  # fmt: skip


def _first(keys: Mapping[str, object], names: Sequence[str]) -> Any:
    return next((keys[name] for name in names if name in keys), None)
