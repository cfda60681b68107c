"""Runs that start at the same moment and log into one experiment in a store that does not exist.

This is the first minute of an array job. Times are in seconds from the start signal until the last
process has ended; what counts is how many runs survive and whether their points are in the
database.
"""

import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from _mlflow_server import QUIET
from measuring import Bar, Contender, measure, options, report

EPOCHS = 20
VALUES = ("loss", "accuracy", "lr", "norm", "time")
POINTS = EPOCHS * len(VALUES)  # of one run
ALONE, GRID = "MLFlowLogger, each run alone", "MLFlowLogger in a grid, and one sync"
PLAIN, PREPARED = "mlflow alone", "mlflow, store and experiment created before"
CASES = {4: 3, 8: 3, 16: 3}  # processes: repeats
QUICK_CASES = {4: 1, 8: 1}
QUICK_FROM_8_ON = (ALONE, PLAIN)  # the others import MLflow in each process and survive
NOTE = (
    f"Each run logs {EPOCHS} epochs of {len(VALUES)} values and ends. It survives if its process "
    "ends with 0 and the database has it as FINISHED with all its points; the points of other runs "
    "are lost. `usable`: whether MLflow can open the store afterwards. MLflow is imported before "
    "the start signal; expkit imports it only when a run ends. Runs that die are quick, so only "
    "the seconds of those that survive mean anything."
)


@dataclass(frozen=True)
class Kind:
    """How runs log."""

    code: str
    environ: dict[str, str]
    is_prepared: bool = False
    sync: bool = False


OURS = """
import sys
from pathlib import Path
from expkit_mlflow import MLFlowLogger
print("ready", flush=True)
sys.stdin.readline()
with MLFlowLogger(Path(sys.argv[1]), sys.argv[2]) as run:
    for epoch in range(int(sys.argv[3])):
        run.log_metrics({name: epoch + 0.5 for name in sys.argv[4:]}, step=epoch)
"""
THEIRS = """
import sys
from pathlib import Path
import mlflow
print("ready", flush=True)
sys.stdin.readline()
mlflow.set_tracking_uri(f"sqlite:///{Path(sys.argv[1]) / 'mlflow.db'}")
mlflow.set_experiment("digits")
with mlflow.start_run(run_name=sys.argv[2]):
    for epoch in range(int(sys.argv[3])):
        mlflow.log_metrics({name: epoch + 0.5 for name in sys.argv[4:]}, step=epoch)
"""
SYNC_COMMAND = ["-m", "expkit_mlflow", "sync"]
CONTENDERS = {
    ALONE: Kind(OURS, {}),
    GRID: Kind(OURS, {"EXPKIT_GRID": "grids/one"}, sync=True),
    PLAIN: Kind(THEIRS, {}),
    PREPARED: Kind(THEIRS, {}, is_prepared=True),
}


def together(name: str, processes: int) -> tuple[float, dict[str, float]]:
    """Start that many runs at once: seconds, and how many survive."""
    kind = CONTENDERS[name]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "digits")
        (folder / "training").mkdir(parents=True)
        environ = {**os.environ, **kind.environ}
        call = partial(
            subprocess.run,
            env=environ,
            cwd=place,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if kind.is_prepared:
            create_store(folder / "mlflow.db")
        arguments = [str(EPOCHS), *VALUES]
        runs = [
            subprocess.Popen(
                [sys.executable, "-c", kind.code, str(folder), f"run{number}", *arguments],
                env=environ,
                cwd=place,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for number in range(processes)
        ]
        try:
            elapsed_s = start_together(runs)
        finally:
            for run in runs:
                run.kill()
                run.wait()
        if kind.sync:
            start = time.perf_counter()
            call([sys.executable, *SYNC_COMMAND, str(folder)], check=True)
            elapsed_s += time.perf_counter() - start
        succeeded = {f"run{number}" for number, run in enumerate(runs) if run.returncode == 0}
        points = stored(folder / "mlflow.db")
        survived = sum(points.get(run, 0) == POINTS for run in succeeded)
        usable = is_usable(folder / "mlflow.db")
    return elapsed_s, {
        "runs survived": survived,
        "points lost": processes * POINTS - sum(points.values()),
        "usable": usable,
    }


def start_together(runs: list[subprocess.Popen[bytes]]) -> float:
    """Give the signal when all are ready; seconds until the last one has ended."""
    for run in runs:
        assert run.stdout is not None
        if run.stdout.readline() != b"ready\n":
            raise RuntimeError("a run did not get as far as its imports")
    start = time.perf_counter()
    for run in runs:
        assert run.stdin is not None
        run.stdin.write(b"\n")
        run.stdin.close()
    for run in runs:
        run.wait()
    return time.perf_counter() - start


def stored(database: Path) -> dict[str, int]:
    """Points of each run that is FINISHED in the database, by the run's name."""
    query = """
        SELECT runs.name, count(*) FROM metrics JOIN runs ON runs.run_uuid = metrics.run_uuid
        WHERE runs.status = 'FINISHED' GROUP BY runs.run_uuid
    """
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return {str(name): int(count) for name, count in connection.execute(query)}
    except sqlite3.Error:  # a store without tables, or none
        return {}


def create_store(database: Path) -> None:
    """Create the store and the experiment, as a careful user does before the array starts."""
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{database}").create_experiment("digits")


def is_usable(database: Path) -> bool:
    """Whether MLflow can open the store."""
    from mlflow import MlflowClient

    try:
        return bool(MlflowClient(f"sqlite:///{database}").search_experiments())
    except Exception:  # its migrations may raise anything
        return False


def main() -> None:
    """Measure growing numbers of processes."""
    settings = options(__doc__)
    os.environ.update(QUIET)
    logging.disable(logging.CRITICAL)  # MLflow logs each table that it creates or cannot create
    rows = []
    for processes, repeats in (QUICK_CASES if settings.quick else CASES).items():
        bars = [
            Bar(at_least=processes, figure="runs survived"),
            Bar(at_most=0, figure="points lost"),
        ]
        contenders = [
            Contender(
                name,
                partial(together, name, processes),
                peer=PREPARED if name in (ALONE, GRID) else None,
                bars=bars if name in (ALONE, GRID) else (),
                repeats=1 if name == PREPARED else None,  # up to a minute
            )
            for name in CONTENDERS
            if not settings.quick or processes < 8 or name in QUICK_FROM_8_ON
        ]
        rows += measure(f"{processes} runs at once", contenders, repeats)
    report("concurrent_runs", "s", rows, settings.json, NOTE)


if __name__ == "__main__":
    main()
