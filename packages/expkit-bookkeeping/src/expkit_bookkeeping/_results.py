"""All runs of an experiment together: rows, results.csv, frames."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ._files import write_file
from ._records import RunRecord, collector_paused, find_runs, iter_runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pandas as pd

    from ._frames import Results

FILE_NAME = "results.csv"
STATES = ("completed", "failed", "interrupted", "running", "lost", "unknown")
_SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
# Columns that every row has; a swept key or a metric of such a name gets a prefix.
_FIXED = ("run_name", "state", "attempt", "seconds", "best_step", "code", "path")


def result_rows(
    experiment: Path, runs: Sequence[RunRecord] | None = None
) -> list[dict[str, object]]:
    """The rows of results.csv: one a run, with plain values.

    Args:
        experiment: The experiment's folder.
        runs: Its runs; None: `find_runs(experiment)`.

    Returns:
        For each run its name, swept keys, state, attempt, seconds, final and best metrics, code
        (commit, with `+` when dirty) and path relative to the experiment. All rows have the same
        keys in the same order; None where a run has no such value.
    """
    with collector_paused():
        records = _records_of_a_table(experiment) if runs is None else runs
        rows = Columns.of(records).rows(records, experiment)
        del records  # else the collector would begin with all of them
        return rows


def write_results_csv(experiment: Path, runs: Sequence[RunRecord] | None = None) -> Path:
    """Write `results.csv` into the experiment's folder.

    Swept values that are None are written as `None`; a cell is empty where a run has no value.

    Args:
        experiment: The experiment's folder.
        runs: Its runs; None: `find_runs(experiment)`.

    Returns:
        The file.
    """
    records = _records_of_a_table(experiment) if runs is None else runs
    columns = Columns.of(records)
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns.names)
    for record, row in zip(records, columns.rows(records, experiment), strict=True):
        swept = {columns.swept[key] for key in record.swept}
        writer.writerow([_cell(value, name in swept) for name, value in row.items()])
    path = Path(experiment) / FILE_NAME
    write_file(path, text.getvalue())
    return path


def results(
    experiment: Path, state: str | None = None, *, runs: Sequence[RunRecord] | None = None
) -> "Results":
    """All runs of an experiment as one DataFrame, with the columns of results.csv.

    Args:
        experiment: The experiment's folder.
        state: Only runs in this state; None: all.
        runs: The experiment's runs; None: `find_runs(experiment)`.

    Returns:
        One row a run; its `table` gives mean and standard deviation over groups of runs.

    Raises:
        FileNotFoundError: If there is no such folder.
        ImportError: If pandas is missing.
        ValueError: If there is no such state.
    """
    experiment = Path(experiment)
    if state is not None and state not in STATES:
        raise ValueError(f"There is no state {state!r}. Known: {', '.join(STATES)}.")
    if runs is None and not (experiment / "training").is_dir():
        raise FileNotFoundError(
            f"There is no {experiment / 'training'}. Give the experiment's folder, such as "
            "results/digits."
        )
    records = _records_of_a_table(experiment) if runs is None else runs
    from ._frames import results_frame

    return results_frame([each for each in records if state in (None, each.state)], experiment)


def load_metrics(folder: Path) -> "pd.DataFrame":
    """The metric history of one run, or of all runs of an experiment.

    Args:
        folder: A run folder, or an experiment's folder.

    Returns:
        One row a value, with the columns run_name, step, metric, value.

    Raises:
        FileNotFoundError: If the folder is neither.
        ImportError: If pandas is missing.
    """
    folder = Path(folder)
    if (folder / "training").is_dir():
        folders = [record.folder for record in find_runs(folder)]
    elif folder.is_dir():
        folders = [folder]
    else:
        raise FileNotFoundError(f"There is no run folder and no experiment at {folder}.")
    from ._frames import metrics_frame

    return metrics_frame(folders)


def _records_of_a_table(experiment: Path) -> list[RunRecord]:
    """All runs, sorted by name, with only what `Columns` looks at.

    The rest of a run.json is let go before the next ones are read: of a hundred thousand runs
    whole records take 450 MB, these 270 MB.
    """
    with collector_paused():
        records = [
            RunRecord(
                folder=each.folder,
                run_name=each.run_name,
                state=each.state,
                attempt=each.attempt,
                swept=each.swept,
                metrics=each.metrics,
                best=each.best,
                elapsed_s=each.elapsed_s,
                code=each.code,
            )
            for each in iter_runs(experiment)
        ]
    records.sort(key=lambda record: record.run_name)
    return records


class Columns:
    """Which columns the runs of an experiment need together, in the order of results.csv.

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
    def of(cls, records: Sequence[RunRecord]) -> "Columns":
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
        with collector_paused():  # it would look at all records again for each few thousand rows
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
            row["best_step"] = best.get("step")
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
    return _SPECIAL.get(value, value) if isinstance(value, str) else value


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


def _cell(value: object, swept: bool) -> object:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return "None" if value is None and swept else value
