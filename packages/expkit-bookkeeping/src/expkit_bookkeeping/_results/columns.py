"""The columns of an experiment's table, and the row of each run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from .._runs.records import collector_paused
from .._runs.takeover import continuation_text
from .outcomes import SavedNumbers, names_of_saved, number, returned_numbers, saved_numbers
from .swept import swept_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._runs.records import RunRecord

# Columns that every row has; a swept key or a metric with such a name gets a prefix.
_FIXED = ("run_name", "state", "attempt", "continued", "seconds", "best_step", "code", "path")


class Columns:
    """The columns that the runs of an experiment need together, in the order of results.csv.

    Args:
        records: The runs.

    Attributes:
        swept: Column of each swept key.
        metrics: Column of each metric.
        best: Column of the best value of each watched metric.
        returned: Column of each number that task functions returned.
        saved: Column of each saved number, by file and key.
        names: All columns.
        values: For each run its values of the swept keys, see `swept_values`.
    """

    def __init__(self, records: Sequence[RunRecord]) -> None:
        self._records = records
        with collector_paused():  # it would search all records again every few thousand rows
            self.values = swept_values(records)
            self._saved: list[SavedNumbers] = [saved_numbers(run.folder) for run in records]
            self._returned = [returned_numbers(run) for run in records]
        watched = [str(best["metric"]) for best in map(_best, records) if best]
        taken = set(_FIXED)
        self.swept = _unique((key for values in self.values for key in values), "swept", taken)
        self.metrics = _unique((key for run in records for key in run.metrics), "metric", taken)
        self.best = _unique((f"best_{metric}" for metric in watched), "best", taken)
        self.returned = _unique((key for run in self._returned for key in run), "result", taken)
        names = names_of_saved(self._saved, taken)
        unique = _unique(names.values(), "result", taken)
        self.saved = {place: unique[name] for place, name in names.items()}
        self.names = ["run_name", *self.swept.values(), "state", "attempt"]
        self.names += ["continued"] if any(run.continued for run in records) else []
        self.names += ["seconds"]
        self.names += [*self.metrics.values(), *self.best.values()]
        self.names += ["best_step"] if self.best else []
        self.names += [*self.returned.values(), *self.saved.values(), "code", "path"]

    @property
    def measured(self) -> list[str]:
        """The columns of numbers that a table can summarise."""
        columns = (self.metrics, self.best, self.returned, self.saved)
        return [column for names in columns for column in names.values()]

    def rows(self, experiment: Path) -> Iterator[dict[str, object]]:
        """The values of each run; a swept value of which nothing tells is `UNKNOWN`."""
        root = Path(experiment).as_posix() + "/"
        runs = zip(self._records, self.values, self._saved, self._returned, strict=True)
        for record, swept, saved, returned in runs:
            row: dict[str, object] = dict.fromkeys(self.names)
            row["run_name"] = record.run_name
            row["state"] = record.state
            row["attempt"] = record.attempt
            if record.continued:
                row["continued"] = continuation_text(record.continued)
            row["seconds"] = record.elapsed_s
            row["code"] = _code(record)
            row["path"] = _relative(record.folder, root)
            for key, value in swept.items():
                row[self.swept[key]] = value
            for key, value in record.metrics.items():
                row[self.metrics[key]] = number(value)
            best = _best(record)
            if best:
                row[self.best[f"best_{best['metric']}"]] = number(best.get("value"))
                row["best_step"] = number(best.get("step"))
            for key, value in returned.items():
                row[self.returned[key]] = value
            for file, values in saved.items():
                for key, value in values.items():
                    row[self.saved[file, key]] = value
            yield row


def _unique(names: Iterable[str], prefix: str, taken: set[str]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for name in names:
        if name in columns:
            continue
        column = name
        while column in taken:
            column = f"{prefix}.{column}"
        taken.add(column)
        columns[name] = column
    return columns


def _best(record: RunRecord) -> Mapping[str, object] | None:
    best = record.best
    return best if best is not None and best.get("metric") is not None else None


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
