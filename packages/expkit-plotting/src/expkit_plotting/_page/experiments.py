"""What a page shows of each experiment, read from its files."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .._data.errors import PlottingError
from .._data.files import read_yaml
from .._data.runs import Experiment
from .._data.siblings import reader_of_grids, reader_of_runs
from .._data.sources import read_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pandas import DataFrame

    from expkit_bookkeeping.reading import RunRecord


@dataclass(frozen=True, slots=True)
class SkippedRun:
    """A run of the grid that a rule left out."""

    name: str
    rule: str


@dataclass(frozen=True, eq=False)
class ReportedExperiment:
    """An experiment as a page shows it.

    Attributes:
        name: What the page calls it; no other experiment of the page is called so.
        folder: Its folder.
        records: Its runs, in the order of its table.
        rows: For each run the row of results.csv.
        frame: The same as a DataFrame, which knows which columns are swept keys and metrics.
        metric: The metric that it optimises, if it has one.
        direction: "minimize" or "maximize", of `metric`.
        command: What started its latest grid, if that is known.
        skipped: What rules left out of its latest grid.
        pending: Names of runs of the latest grid that have not been started.
        trained: When its first run was started, and when its last one was heard of (ISO 8601).
        code: Which commits its runs were trained with, and how many runs each; a commit ends with
            "+" where changes were not committed.
    """

    name: str
    folder: Path
    records: Sequence[RunRecord]
    rows: Sequence[Mapping[str, object]]
    frame: DataFrame
    metric: str | None
    direction: str | None
    command: str | None
    skipped: Sequence[SkippedRun]
    pending: Sequence[str]
    trained: tuple[str, str] | None
    code: Sequence[tuple[str, int]]


def read_experiments(folders: Sequence[Path]) -> list[ReportedExperiment]:
    """All that a page shows but curves and the details of runs.

    Raises:
        ImportError: If expkit-bookkeeping is missing or too old.
        PlottingError: If a folder is no experiment, or holds no run.
    """
    names = _distinct_names(folders)
    return [_read(folder, name) for folder, name in zip(folders, names, strict=True)]


def read_curves(experiments: Sequence[ReportedExperiment]) -> Experiment | None:
    """The curves of all experiments, as the figures have them; None if nothing is logged yet."""
    with reader_of_runs():
        from expkit_bookkeeping.reading import folders_with_metrics

    sources = {
        experiment.name: experiment.folder
        for experiment in experiments
        if folders_with_metrics(experiment.folder)
    }
    if not sources:
        return None
    return read_source(experiments[0].folder if len(experiments) == 1 else sources)


def _read(folder: Path, name: str) -> ReportedExperiment:
    with reader_of_runs():
        from expkit_bookkeeping.reading import find_runs, result_rows, results
    if not folder.is_dir():
        raise PlottingError(
            f"There is no folder {str(folder)!r}. Give an experiment's, such as results/digits."
        )
    records = find_runs(folder)
    if not records:
        raise PlottingError(
            f"{str(folder)!r} holds no runs (training/*/run.json). Give an experiment's folder, "
            "such as results/digits."
        )
    best = next((record.best for record in records if record.best), None) or {}
    metric, direction = best.get("metric"), best.get("direction")
    command: str | None = None
    skipped: list[SkippedRun] = []
    pending: list[str] = []
    if (folder / "grid_search.yaml").is_file():
        try:
            with reader_of_grids("What the grid skipped"):
                from expkit_hydra.reading import grid_runs, grid_settings
            settings = grid_settings(folder)
            runs = grid_runs(folder)
        except (ImportError, OSError, ValueError):  # the runs can be shown without their grid
            settings, runs = None, ()
        if settings is not None:
            metric, direction = settings.metric or metric, settings.direction or direction
        rules = _rules(folder)
        skipped = [
            SkippedRun(run.run_name, rules.get(run.skipped_by, run.skipped_by))
            for run in runs
            if run.skipped_by
        ]
        started = {record.run_name for record in records}
        pending = [
            run.run_name for run in runs if not run.skipped_by and run.run_name not in started
        ]
        command = _command(folder)
    rows = result_rows(folder, records)
    return ReportedExperiment(
        name=name,
        folder=folder,
        records=records,
        rows=rows,
        frame=results(folder, runs=records),
        metric=metric if isinstance(metric, str) else None,
        direction=direction if direction in ("minimize", "maximize") else None,
        command=command,
        skipped=skipped,
        pending=pending,
        trained=_trained(records),
        code=Counter(str(row["code"]) for row in rows if row.get("code")).most_common(),
    )


def _trained(records: Sequence[RunRecord]) -> tuple[str, str] | None:
    starts = [record.started_at for record in records if record.started_at]
    ends = [time for record in records if (time := record.ended_at or record.heartbeat_at)]
    return (min(starts), max(ends)) if starts and ends else None


def _rules(folder: Path) -> dict[str, str]:
    """The texts of the grid's rules by what runs call them: `rule 1`."""
    filters = _description(folder).get("filters")
    entries = filters if isinstance(filters, list) else []
    return {
        f"rule {number}": str(entry.get("rule"))
        for number, entry in enumerate(entries, start=1)
        if isinstance(entry, Mapping)
    }


def _description(folder: Path) -> Mapping[str, object]:
    try:
        return read_yaml(folder / "grid_search.yaml")
    except PlottingError:
        return {}


def _command(folder: Path) -> str | None:
    words = _description(folder).get("command")
    return f"python {shlex.join(map(str, words))}" if isinstance(words, list) and words else None


def _distinct_names(folders: Sequence[Path]) -> list[str]:
    """The folders' names; with those above them where they would be alike."""
    paths = [folder.resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise PlottingError("An experiment is given twice.")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in paths]
