"""All runs of an experiment together: rows, results.csv, frames."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from .._files.durable import write_file
from .._runs.records import RunRecord, collector_paused, find_runs, iter_runs
from .columns import Columns
from .swept import UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pandas as pd

    from .frames import Results

FILE_NAME = "results.csv"
STATES = ("completed", "failed", "interrupted", "running", "lost", "unknown")


def result_rows(
    experiment: str | PathLike[str], runs: Sequence[RunRecord] | None = None
) -> list[dict[str, object]]:
    """The rows of results.csv: one per run, with plain values.

    Args:
        experiment: The experiment's folder.
        runs: Its runs; None: `find_runs(experiment)`.

    Returns:
        For each run its name, swept keys, state, attempt, how its configuration changed while it
        was trained (only if any run's did), seconds, final and best metrics, what
        the task function returned, the scalars of `save_results`, code (commit, with `+` when
        dirty) and path relative to the experiment. All rows have the same keys in the same order;
        None if a run has no such value, or nothing tells it.
    """
    experiment = Path(experiment)
    with collector_paused():
        columns = Columns(_records_of_a_table(experiment) if runs is None else runs)
        return [
            {name: None if value is UNKNOWN else value for name, value in row.items()}
            for row in columns.rows(experiment)
        ]


def write_results_csv(
    experiment: str | PathLike[str], runs: Sequence[RunRecord] | None = None
) -> Path:
    """Write `results.csv` into the experiment's folder.

    Args:
        experiment: The experiment's folder.
        runs: Its runs; None: `find_runs(experiment)`.

    Returns:
        The file.
    """
    experiment = Path(experiment)
    path = experiment / FILE_NAME
    write_file(path, results_csv(experiment, runs))
    return path


def results_csv(experiment: Path, runs: Sequence[RunRecord] | None = None) -> str:
    """What `results.csv` says about the runs of an experiment.

    Swept values that are None are written as `None`; a cell is empty if a run has no value.

    Args:
        experiment: The experiment's folder.
        runs: Its runs; None: `find_runs(experiment)`.
    """
    columns = Columns(_records_of_a_table(experiment) if runs is None else runs)
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns.names)
    for swept, row in zip(columns.values, columns.rows(experiment), strict=True):
        has = {columns.swept[key] for key in swept}
        writer.writerow([_cell(value, name in has) for name, value in row.items()])
    return text.getvalue()


def results(
    experiment: str | PathLike[str],
    state: str | None = None,
    *,
    runs: Sequence[RunRecord] | None = None,
) -> Results:
    """All runs of an experiment as one DataFrame, with the columns of results.csv.

    Args:
        experiment: The experiment's folder.
        state: Only runs in this state; None: all.
        runs: The experiment's runs; None: `find_runs(experiment)`.

    Returns:
        One row per run; its `table` gives mean and standard deviation over groups of runs.

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
    from .frames import results_frame

    frame = results_frame(records, experiment)
    return frame if state is None else frame[frame["state"] == state].reset_index(drop=True)


def load_metrics(folder: str | PathLike[str]) -> pd.DataFrame:
    """The metric history of one run, or of all runs of an experiment.

    Args:
        folder: A run folder, or an experiment's folder.

    Returns:
        One row per value, with the columns run_name, step, metric, value.

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
    from .frames import metrics_frame

    return metrics_frame(folders)


def _records_of_a_table(experiment: Path) -> list[RunRecord]:
    """All runs, sorted by name, with only what `Columns` reads.

    The rest of a run.json is released before the next ones are read: for a hundred thousand runs
    whole records take 450 MB, these 270 MB.
    """
    choices: dict[str, Mapping[str, object]] = {}  # the runs of a grid share them
    with collector_paused():
        records = [
            RunRecord(
                folder=record.folder,
                run_name=record.run_name,
                state=record.state,
                attempt=record.attempt,
                continued=record.continued,
                swept=record.swept,
                choices=choices.setdefault(repr(record.choices), record.choices),
                metrics=record.metrics,
                best=record.best,
                returned=record.returned,
                started_at=record.started_at,
                elapsed_s=record.elapsed_s,
                code=record.code,
            )
            for record in iter_runs(experiment)
        ]
    records.sort(key=lambda record: record.run_name)
    return records


def _cell(value: object, has_value: bool) -> object:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if value is UNKNOWN:
        return None
    return "None" if value is None and has_value else value
