"""What must hold of an experiment's folder after any faults, beside an undisturbed one."""

import csv
import json
import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CHANGES = {"attempt", "seconds"}  # columns of results.csv that may differ from run to run


@dataclass(frozen=True)
class Evidence:
    """Two experiments of the same grid, and what was seen while one was disturbed.

    `completed` holds run.json of each run as it was when it was first seen completed;
    `last_start` is the time (seconds since the epoch) of the last attempt.
    """

    undisturbed: Path
    disturbed: Path
    epochs: int
    last_start: float
    completed: Mapping[str, dict[str, object]] = field(default_factory=dict)


def every_run_is_completed(seen: Evidence) -> Iterator[str]:
    """The disturbed grid has the undisturbed one's runs, and all are completed."""
    expected, found = runs(seen.undisturbed), runs(seen.disturbed)
    if set(expected) != set(found):
        yield f"runs differ: {sorted(set(expected) ^ set(found))}"
    for name, run in found.items():
        if run["state"] != "completed":
            yield f"{name} is {run['state']}"


def nothing_completed_was_trained_again(seen: Evidence) -> Iterator[str]:
    """run.json of a completed run never changes."""
    found = runs(seen.disturbed)
    for name, before in seen.completed.items():
        if found.get(name) != before:
            yield f"{name} was completed in attempt {before['attempt']} and changed afterwards"


def metrics_have_each_step_once(seen: Evidence) -> Iterator[str]:
    """metrics.jsonl holds the steps 0, 1, 2, … in order."""
    for name in runs(seen.disturbed):
        steps = [row["step"] for row in lines(seen.disturbed / "training" / name / "metrics.jsonl")]
        if steps != list(range(seen.epochs)):
            yield f"{name}: {steps}"


def metrics_equal_the_undisturbed(seen: Evidence) -> Iterator[str]:
    """Every value of every step, bit for bit."""
    for name in runs(seen.undisturbed):
        expected, found = (
            {
                (row["step"], key): value
                for row in lines(path)
                for key, value in row["metrics"].items()
            }
            for path in paths(seen, name, "metrics.jsonl")
        )
        differ = sorted(key for key in expected if found.get(key) != expected[key])
        if differ or len(found) != len(expected):
            yield f"{name}: {len(differ)} of {len(expected)} differ, first {differ[:1]}"


def weights_equal_the_undisturbed(seen: Evidence) -> Iterator[str]:
    """States and random number generators in the last and in the best checkpoint, bit for bit."""
    import torch

    for name in runs(seen.undisturbed):
        for file in (f"epoch_{seen.epochs - 1:04d}.pt", "best.pt"):
            expected, found = (
                torch.load(path, weights_only=True) for path in paths(seen, name, f"states/{file}")
            )
            for key in ("epoch", "metric", "states", "rng", "generators"):
                if not same(expected[key], found[key]):
                    yield f"{name}: {key} in {file}"


def results_csv_equals_the_undisturbed(seen: Evidence) -> Iterator[str]:
    """All columns but times and attempts."""
    expected, found = (
        [
            {key: value for key, value in row.items() if key not in CHANGES}
            for row in csv.DictReader((folder / "results.csv").open())
        ]
        for folder in (seen.undisturbed, seen.disturbed)
    )
    for one, other in zip(expected, found, strict=False):
        if one != other:
            yield f"{one['run_name']}: {dict(set(one.items()) ^ set(other.items()))}"
    if len(expected) != len(found):
        yield f"{len(found)} rows instead of {len(expected)}"


def mlflow_opens_with_one_run_a_folder(seen: Evidence) -> Iterator[str]:
    """MLflow's own client reads the store; each run is there once, and FINISHED."""
    from mlflow.tracking import MlflowClient

    database = seen.disturbed / "mlflow.db"
    with sqlite3.connect(database) as store:
        verdict = store.execute("pragma integrity_check").fetchone()[0]
    if verdict != "ok":
        yield verdict
        return
    client = MlflowClient(f"sqlite:///{database}")
    experiments = [x.experiment_id for x in client.search_experiments() if x.name != "Default"]
    stored = client.search_runs(experiments, max_results=1000)
    by_id = Counter(run.data.tags["expkit.run_id"] for run in stored)
    expected = {run["id"]: name for name, run in runs(seen.disturbed).items()}
    for run_id in expected.keys() | by_id.keys():
        if by_id[run_id] != 1 or run_id not in expected:
            yield f"{expected.get(run_id, 'a run without folder')}: {by_id[run_id]} times"
    for run in stored:
        if run.info.status != "FINISHED":
            yield f"{run.info.run_name} is {run.info.status}"


def mlflow_holds_each_point_once(seen: Evidence) -> Iterator[str]:
    """A (run, key, step) has one row, with the journal's value; nothing is missing."""
    with sqlite3.connect(seen.disturbed / "mlflow.db") as store:
        rows = store.execute(
            "select tags.value, metrics.key, step, metrics.value, is_nan from metrics"
            " join tags using (run_uuid) where tags.key = 'expkit.run_id'"
        ).fetchall()
    stored: dict[str, dict[tuple[str, int], list[float]]] = {}
    for run_id, key, step, value, is_nan in rows:
        points = stored.setdefault(run_id, {})
        points.setdefault((key, step), []).append(math.nan if is_nan else value)
    for name, run in runs(seen.disturbed).items():
        points = stored.get(str(run["id"]), {})
        twice = sorted(key for key, values in points.items() if len(values) > 1)
        if twice:
            yield f"{name}: {len(twice)} points more than once, first {twice[0]}"
        journal: dict[tuple[str, int], set[float]] = {}
        for entry in lines(seen.disturbed / "training" / name / "tracking.jsonl"):
            if entry["kind"] == "metrics":
                for key, value in entry["metrics"].items():
                    journal.setdefault((key, entry["step"]), set()).add(float(value))
        missing = sorted(journal.keys() - points.keys())
        if missing:
            yield f"{name}: {len(missing)} points are missing, first {missing[0]}"
        foreign = sorted(x for x in points if points[x][0] not in journal.get(x, ()))
        if foreign:
            yield f"{name}: {len(foreign)} points that the journal does not have, {foreign[0]}"
        for step in range(seen.epochs):
            if len(journal.get(("loss", step), ())) != 1:
                yield f"{name}: the journal has {journal.get(('loss', step))} as loss at {step}"


def claims_have_no_holes(seen: Evidence) -> Iterator[str]:
    """claims/ holds 1, 2, … up to the attempt in run.json."""
    for name, run in runs(seen.disturbed).items():
        folder = seen.disturbed / "training" / name / "claims"
        found = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if found != [f"{number + 1:04d}.json" for number in range(int(str(run["attempt"])))]:
            yield f"{name}: {found}, and run.json says attempt {run['attempt']}"


def no_temporary_file_is_left(seen: Evidence) -> Iterator[str]:
    """What a killed attempt left half-written is gone after the last one."""
    for path in seen.disturbed.rglob(".*.tmp*"):
        if path.stat().st_mtime < seen.last_start:
            yield str(path.relative_to(seen.disturbed))


def every_figure_is_whole(seen: Evidence) -> Iterator[str]:
    """The figures of the undisturbed grid are there, and none is cut off."""
    ends = {".png": b"IEND\xaeB`\x82", ".pdf": b"%%EOF\n"}
    for path in seen.undisturbed.rglob("plots/*.p*"):
        drawn = seen.disturbed / path.relative_to(seen.undisturbed)
        if not drawn.is_file():
            yield f"{drawn.relative_to(seen.disturbed)} is missing"
        elif not drawn.read_bytes().endswith(ends[path.suffix]):
            yield f"{drawn.relative_to(seen.disturbed)} is cut off"


INVARIANTS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    every_run_is_completed,
    nothing_completed_was_trained_again,
    metrics_have_each_step_once,
    metrics_equal_the_undisturbed,
    weights_equal_the_undisturbed,
    results_csv_equals_the_undisturbed,
    mlflow_opens_with_one_run_a_folder,
    mlflow_holds_each_point_once,
    claims_have_no_holes,
    no_temporary_file_is_left,
    every_figure_is_whole,
)


def broken(seen: Evidence) -> dict[str, list[str]]:
    """Each invariant in words, and what speaks against it; empty where it holds."""
    verdicts = {}
    for invariant in INVARIANTS:
        try:
            against = list(invariant(seen))
        except Exception as error:  # what cannot even be read is broken too
            against = [f"{type(error).__name__}: {error}"]
        verdicts[invariant.__name__.replace("_", " ")] = against
    return verdicts


def runs(experiment: Path) -> dict[str, dict[str, object]]:
    """run.json of every run, by name."""
    files = sorted(experiment.glob("training/*/run.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in files}


def lines(path: Path) -> list[dict[str, object]]:
    """The objects of a file of JSON lines; a line that is none raises."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def paths(seen: Evidence, run: str, file: str) -> tuple[Path, Path]:
    """A file of one run in both experiments."""
    return (
        seen.undisturbed / "training" / run / file,
        seen.disturbed / "training" / run / file,
    )


def same(one: object, other: object) -> bool:
    """Whether two values of a checkpoint are equal bit for bit, types included."""
    import torch

    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other
