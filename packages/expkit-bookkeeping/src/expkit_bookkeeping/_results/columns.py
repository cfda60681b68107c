"""The columns of an experiment's table, and the row of each run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .._files.plain_data import SPECIAL_NUMBERS
from .._runs.records import collector_paused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._runs.records import RunRecord

# Columns that every row has; a swept key or a metric with such a name gets a prefix.
_LARGEST = 2**63  # a column of larger whole numbers holds objects, which have no mean
_FIXED = ("run_name", "state", "attempt", "seconds", "best_step", "code", "path")


class Columns:
    """The columns that the runs of an experiment need together, in the order of results.csv.

    Attributes:
        swept: Column of each swept key.
        metrics: Column of each metric.
        best: Column of the best value of each watched metric.
    """

    def __init__(
        self, swept: Iterable[str], metrics: Iterable[str], watched: Iterable[str]
    ) -> None:
        taken = set(_FIXED)
        self.swept = _unique(swept, "swept", taken)
        self.metrics = _unique(metrics, "metric", taken)
        self.best = _unique([f"best_{metric}" for metric in watched], "best", taken)
        best_step = ["best_step"] if self.best else []
        self.names = ["run_name", *self.swept.values(), "state", "attempt", "seconds"]
        self.names += [*self.metrics.values(), *self.best.values(), *best_step, "code", "path"]

    @classmethod
    def of(cls, records: Sequence[RunRecord]) -> Columns:
        """The columns that these runs need."""
        # dicts as sets that keep the order of the grid
        swept: dict[str, object] = {}
        metrics: dict[str, object] = {}
        watched: dict[str, None] = {}
        for record in records:
            swept.update(record.swept)
            metrics.update(record.metrics)
            best = _best(record)
            if best:
                watched[str(best["metric"])] = None
        return cls(swept, metrics, watched)

    def rows(self, records: Sequence[RunRecord], experiment: Path) -> list[dict[str, object]]:
        """The values of each run."""
        root = Path(experiment).as_posix() + "/"
        with collector_paused():  # it would search all records again every few thousand rows
            return [self._row(record, root) for record in records]

    def _row(self, record: RunRecord, root: str) -> dict[str, object]:
        row: dict[str, object] = dict.fromkeys(self.names)
        row["run_name"] = record.run_name
        row["state"] = record.state
        row["attempt"] = record.attempt
        row["seconds"] = record.elapsed_s
        row["code"] = _code(record)
        row["path"] = _relative(record.folder, root)
        for key, value in record.swept.items():
            row[self.swept[key]] = value
        for key, value in record.metrics.items():
            row[self.metrics[key]] = _number(value)
        best = _best(record)
        if best:
            row[self.best[f"best_{best['metric']}"]] = _number(best.get("value"))
            row["best_step"] = _number(best.get("step"))
        return row


def _unique(names: Iterable[str], prefix: str, taken: set[str]) -> dict[str, str]:
    columns = {}
    for name in names:
        column = name
        while column in taken:
            column = f"{prefix}.{column}"
        taken.add(column)
        columns[name] = column
    return columns


def _best(record: RunRecord) -> Mapping[str, object] | None:
    best = record.best
    return best if best is not None and best.get("metric") is not None else None


def _number(value: object) -> object:
    """The number that a metric has; None for anything else, with which no table could be made."""
    if isinstance(value, str):
        return SPECIAL_NUMBERS.get(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if -_LARGEST < value < _LARGEST else float(value)


def _code(record: RunRecord) -> str | None:
    code = record.code or {}
    commit = code.get("commit")
    if not isinstance(commit, str):
        return None
    return commit[:7] + ("+" if code.get("dirty") else "")


def _relative(folder: Path, root: str) -> str:
    path = folder.as_posix()
    if path.startswith(root):  # several times as fast as Path.relative_to
        return path[len(root) :]
    # one of the two was given relative to the working directory
    return f"{folder.parent.name}/{folder.name}"
