"""What must hold for an experiment's folder after any faults, compared with an undisturbed one."""

import csv
import json
import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE_COLUMNS = {"attempt", "seconds"}  # of results.csv; they may differ


@dataclass(frozen=True)
class Evidence:
    """Two experiments of the same grid, and what was recorded while one was disturbed.

    `completed` holds run.json of each run as it was when the run was first seen completed;
    `last_started_at` is when the sweep was last started, in seconds since the epoch.
    """

    undisturbed: Path
    disturbed: Path
    epochs: int
    last_started_at: float
    completed: Mapping[str, dict[str, object]] = field(default_factory=dict)


def every_run_is_completed(evidence: Evidence) -> Iterator[str]:
    """The disturbed grid has the undisturbed one's runs, and all are completed."""
    expected, actual = runs(evidence.undisturbed), runs(evidence.disturbed)
    if set(expected) != set(actual):
        yield f"runs differ: {sorted(set(expected) ^ set(actual))}"
    for name, run in actual.items():
        if run["state"] != "completed":
            yield f"{name} is {run['state']}"


def nothing_completed_was_trained_again(evidence: Evidence) -> Iterator[str]:
    """A completed run's run.json never changes."""
    records = runs(evidence.disturbed)
    for name, before in evidence.completed.items():
        if records.get(name) != before:
            yield f"{name} was completed in attempt {before['attempt']} and changed afterwards"


def metrics_have_each_step_once(evidence: Evidence) -> Iterator[str]:
    """metrics.jsonl holds the steps 0, 1, 2, … in order."""
    for name in runs(evidence.disturbed):
        steps = [
            row["step"] for row in lines(evidence.disturbed / "training" / name / "metrics.jsonl")
        ]
        if steps != list(range(evidence.epochs)):
            yield f"{name}: {steps}"


def metrics_equal_the_undisturbed(evidence: Evidence) -> Iterator[str]:
    """Every value of every step is equal bit for bit."""
    for name in runs(evidence.undisturbed):
        expected, actual = (
            {
                (row["step"], key): value
                for row in lines(path)
                for key, value in row["metrics"].items()
            }
            for path in paths(evidence, name, "metrics.jsonl")
        )
        differences = sorted(key for key in expected if actual.get(key) != expected[key])
        if differences or len(actual) != len(expected):
            yield f"{name}: {len(differences)} of {len(expected)} differ, first {differences[:1]}"


def weights_equal_the_undisturbed(evidence: Evidence) -> Iterator[str]:
    """State dicts and generators in the last and the best checkpoint are equal bit for bit."""
    import torch

    for name in runs(evidence.undisturbed):
        for file in (f"epoch_{evidence.epochs - 1:04d}.pt", "best.pt"):
            expected, actual = (
                torch.load(path, weights_only=True)
                for path in paths(evidence, name, f"states/{file}")
            )
            for key in ("epoch", "metric", "states", "rng", "generators"):
                if not is_identical(expected[key], actual[key]):
                    yield f"{name}: {key} in {file}"


def results_csv_equals_the_undisturbed(evidence: Evidence) -> Iterator[str]:
    """All columns except times and attempts are equal."""
    expected, actual = (
        [
            {key: value for key, value in row.items() if key not in VARIABLE_COLUMNS}
            for row in csv.DictReader((folder / "results.csv").open())
        ]
        for folder in (evidence.undisturbed, evidence.disturbed)
    )
    for one, other in zip(expected, actual, strict=False):
        if one != other:
            yield f"{one['run_name']}: {dict(set(one.items()) ^ set(other.items()))}"
    if len(expected) != len(actual):
        yield f"{len(actual)} rows instead of {len(expected)}"


def mlflow_opens_with_one_run_per_folder(evidence: Evidence) -> Iterator[str]:
    """MLflow's own client reads the store; each run is in it once, and FINISHED."""
    from mlflow.tracking import MlflowClient

    database = evidence.disturbed / "mlflow.db"
    with sqlite3.connect(database) as store:
        verdict = store.execute("pragma integrity_check").fetchone()[0]
    if verdict != "ok":
        yield verdict
        return
    client = MlflowClient(f"sqlite:///{database}")
    experiments = [x.experiment_id for x in client.search_experiments() if x.name != "Default"]
    stored = client.search_runs(experiments, max_results=1000)
    by_id = Counter(run.data.tags["expkit.run_id"] for run in stored)
    expected = {run["id"]: name for name, run in runs(evidence.disturbed).items()}
    for run_id in expected.keys() | by_id.keys():
        if by_id[run_id] != 1 or run_id not in expected:
            yield f"{expected.get(run_id, 'a run without a folder')}: {by_id[run_id]} times"
    for run in stored:
        if run.info.status != "FINISHED":
            yield f"{run.info.run_name} is {run.info.status}"


def mlflow_holds_each_point_once(evidence: Evidence) -> Iterator[str]:
    """Each (run, key, step) has one row, with the journal's value; nothing is missing."""
    with sqlite3.connect(evidence.disturbed / "mlflow.db") as store:
        rows = store.execute(
            "select tags.value, metrics.key, step, metrics.value, is_nan from metrics"
            " join tags using (run_uuid) where tags.key = 'expkit.run_id'"
        ).fetchall()
    stored: dict[str, dict[tuple[str, int], list[float]]] = {}
    for run_id, key, step, value, is_nan in rows:
        points = stored.setdefault(run_id, {})
        points.setdefault((key, step), []).append(math.nan if is_nan else value)
    for name, run in runs(evidence.disturbed).items():
        points = stored.get(str(run["id"]), {})
        repeated = sorted(key for key, values in points.items() if len(values) > 1)
        if repeated:
            yield f"{name}: {len(repeated)} points more than once, first {repeated[0]}"
        journal: dict[tuple[str, int], set[float]] = {}
        for entry in valid_metrics(evidence.disturbed / "training" / name / "tracking.jsonl"):
            for key, value in entry["metrics"].items():
                journal.setdefault((key, entry["step"]), set()).add(float(value))
        missing = sorted(journal.keys() - points.keys())
        if missing:
            yield f"{name}: {len(missing)} points are missing, first {missing[0]}"
        unknown = sorted(
            point for point in points if points[point][0] not in journal.get(point, ())
        )
        if unknown:
            yield f"{name}: {len(unknown)} points that the journal does not have, {unknown[0]}"
        for step in range(evidence.epochs):
            if len(journal.get(("loss", step), ())) != 1:
                yield f"{name}: the journal has {journal.get(('loss', step))} as loss at {step}"


def claims_have_no_holes(evidence: Evidence) -> Iterator[str]:
    """claims/ holds 1, 2, … up to the attempt in run.json."""
    for name, run in runs(evidence.disturbed).items():
        folder = evidence.disturbed / "training" / name / "claims"
        claims = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if claims != [f"{number + 1:04d}.json" for number in range(int(str(run["attempt"])))]:
            yield f"{name}: {claims}, but run.json says attempt {run['attempt']}"


def no_temporary_file_is_left(evidence: Evidence) -> Iterator[str]:
    """What killed attempts have left half-written is gone after the last one."""
    for path in evidence.disturbed.rglob(".*.tmp*"):
        if path.stat().st_mtime < evidence.last_started_at:
            yield str(path.relative_to(evidence.disturbed))


def every_figure_is_whole(evidence: Evidence) -> Iterator[str]:
    """The figures of the undisturbed grid exist, and none is cut off."""
    ends = {".png": b"IEND\xaeB`\x82", ".pdf": b"%%EOF\n"}
    for path in evidence.undisturbed.rglob("plots/*.p*"):
        figure = evidence.disturbed / path.relative_to(evidence.undisturbed)
        if not figure.is_file():
            yield f"{figure.relative_to(evidence.disturbed)} is missing"
        elif not figure.read_bytes().endswith(ends[path.suffix]):
            yield f"{figure.relative_to(evidence.disturbed)} is cut off"


INVARIANTS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    every_run_is_completed,
    nothing_completed_was_trained_again,
    metrics_have_each_step_once,
    metrics_equal_the_undisturbed,
    weights_equal_the_undisturbed,
    results_csv_equals_the_undisturbed,
    mlflow_opens_with_one_run_per_folder,
    mlflow_holds_each_point_once,
    claims_have_no_holes,
    no_temporary_file_is_left,
    every_figure_is_whole,
)


def check_invariants(evidence: Evidence) -> dict[str, list[str]]:
    """Each invariant in words, with its violations; none if it holds."""
    violations_by_invariant = {}
    for invariant in INVARIANTS:
        try:
            violations = list(invariant(evidence))
        except Exception as error:  # an invariant over unreadable files is broken, too
            violations = [f"{type(error).__name__}: {error}"]
        violations_by_invariant[invariant.__name__.replace("_", " ")] = violations
    return violations_by_invariant


def runs(experiment: Path) -> dict[str, dict[str, object]]:
    """run.json of every run, by name."""
    files = sorted(experiment.glob("training/*/run.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in files}


def lines(path: Path) -> list[dict[str, object]]:
    """The objects of a file of JSON lines; any other line raises."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def valid_metrics(journal: Path) -> list[dict[str, object]]:
    """The metrics entries of a journal that no later entry has cut."""
    entries: list[tuple[int, dict[str, object]]] = []
    position = 0
    for line in journal.read_bytes().splitlines(keepends=True):
        entry = json.loads(line)
        if entry["kind"] == "metrics":
            entries.append((position, entry))
        elif entry["kind"] == "cut":
            entries = [(start, kept) for start, kept in entries if start < entry["from"]]
        position += len(line)
    return [entry for _, entry in entries]


def paths(evidence: Evidence, run: str, file: str) -> tuple[Path, Path]:
    """A file of one run in both experiments."""
    return (
        evidence.undisturbed / "training" / run / file,
        evidence.disturbed / "training" / run / file,
    )


def is_identical(one: object, other: object) -> bool:
    """Whether two values of a checkpoint are equal bit for bit, including their types."""
    import torch

    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_identical(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_identical, one, other))
    return one == other
