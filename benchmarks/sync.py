"""What a point costs on its whole way into MLflow's store, in microseconds.

Measured from the first call of a run until its last point is in the store and the run has ended;
for a grid, until all runs have. MLflow is imported and its tables are created before. How many
points arrived is read from the database itself.
"""

import logging
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import copy

from _mlflow_server import QUIET, mlflow_server
from measuring import Bar, Contender, Row, growth, measure, options, report

VALUES = ("loss", "accuracy", "lr", "norm", "time")  # of one call
BATCH = 1_000  # the most that MLflow takes in one request
EXPERIMENT = "digits"
FLOOR = "MlflowClient.log_batch of 1,000"
KIT = "MLFlowLogger, journal and sync"
SYNC, ASYNC = "mlflow.log_metrics", "mlflow.log_metrics, asynchronous"
CASES = {1_000: 5, 10_000: 5, 100_000: 3}  # points of one run: repeats
QUICK_CASES = {1_000: 2, 10_000: 3}
GRID = (100, 100, 3)  # runs, points of each, repeats
QUICK_GRID = (20, 100, 2)
# MLflow's own functions show their cost with fewer points.
MOST_POINTS = {("SQLite", SYNC): 2_000, ("SQLite", ASYNC): 2_000}
MOST_POINTS |= {("server", SYNC): 500, ("server", ASYNC): 2_000}
QUICK_MOST_POINTS = dict.fromkeys(MOST_POINTS, 500) | {("server", SYNC): 100}
PEERS_UP_TO = 1_000  # the size of the case that has them
ALL_ARRIVE = Bar(at_most=0, figure="lost")
FAST = Bar(at_most=1.25, times=FLOOR)  # 80 % of the points/s
FAST_FROM = 10_000  # points; with fewer, most of the time is what each run costs once
NOTE = (
    "`points` were logged, five per call; `lost` of them were not in the database at the end. "
    "The bar ≤ 1.25 × means ≥ 80 % of the floor's points per second. Once per run, expkit asks "
    "what the store already has and records how far it got: a fourth transaction in addition to "
    "the floor's three, and with a server three more requests, each with the 40 ms that a response "
    "on a kept-alive connection takes."
)


@dataclass(frozen=True)
class Target:
    """Where points go: an experiment's folder with its SQLite store, or a server."""

    folder: Path
    uri: str
    database: Path
    server: str | None


def values(step: int) -> dict[str, float]:
    """Five numbers."""
    return {name: step / (number + 1.5) for number, name in enumerate(VALUES)}


def kit(target: Target, calls: int, name: str) -> None:
    """The whole path in expkit: the run appends to its journal; at its end the rest is sent."""
    from expkit_mlflow import MLFlowLogger

    # No environment, because MLflow's set_tracking_uri leaves a variable that would count here.
    where = {"tracking_uri": target.server, "close_timeout_s": 600.0, "environ": {}}
    with MLFlowLogger(target.folder, name, **where) as run:
        for step in range(calls):
            run.log_metrics(values(step), step)


def kit_grid(target: Target, runs: int, points: int, name: str) -> None:
    """The runs of a grid only write journals; one sync sends them all."""
    from expkit_mlflow import MLFlowLogger, sync

    for number in range(runs):
        run_name = f"{name} {number}"
        with MLFlowLogger(target.folder, run_name, environ={"EXPKIT_GRID": "grids/one"}) as run:
            for step in range(points // len(VALUES)):
                run.log_metrics(values(step), step)
    sync(target.folder)


def log_batch_grid(target: Target, runs: int, points: int, name: str) -> None:
    """As few requests as a client needs, one run after the other."""
    for number in range(runs):
        log_batch(target, points // len(VALUES), f"{name} {number}")


def fluent(target: Target, calls: int, name: str, *, synchronous: bool) -> None:
    """MLflow's own function."""
    import mlflow

    mlflow.set_tracking_uri(target.uri)
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_name=name):
        for step in range(calls):
            mlflow.log_metrics(values(step), step=step, synchronous=synchronous)


def log_batch(target: Target, calls: int, name: str) -> None:
    """The fewest requests with which MLflow's client sends points to a store."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(target.uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    run_id = client.create_run(experiment.experiment_id, run_name=name).info.run_id
    calls_per_batch = BATCH // len(VALUES)
    for first in range(0, calls, calls_per_batch):
        points = [
            Metric(key, value, round(time.time() * 1000), step)
            for step in range(first, min(calls, first + calls_per_batch))
            for key, value in values(step).items()
        ]
        client.log_batch(run_id, metrics=points)
    client.set_terminated(run_id)


CONTENDERS = {
    KIT: kit,
    SYNC: partial(fluent, synchronous=True),
    ASYNC: partial(fluent, synchronous=False),
    FLOOR: log_batch,
}


GRID_CONTENDERS = {KIT: kit_grid, FLOOR: log_batch_grid}


def measure_run(name: str, points: int, target: Target) -> tuple[float, dict[str, float]]:
    """One run: microseconds per point, and other figures."""
    run_name = f"{name} {time.time_ns()}"
    start = time.perf_counter()
    CONTENDERS[name](target, points // len(VALUES), run_name)
    return figures(time.perf_counter() - start, points, target, run_name)


def measure_grid(
    name: str, runs: int, points: int, target: Target
) -> tuple[float, dict[str, float]]:
    """Many short runs: microseconds per point, and other figures."""
    run_name = f"{name} {time.time_ns()}"
    start = time.perf_counter()
    GRID_CONTENDERS[name](target, runs, points, run_name)
    return figures(time.perf_counter() - start, runs * points, target, run_name)


def figures(
    elapsed_s: float, points: int, target: Target, run_name: str
) -> tuple[float, dict[str, float]]:
    """Microseconds per point; points per second, how many were logged, how many were lost."""
    lost = points - stored(target.database, run_name)
    others = {"points/s": points / elapsed_s, "points": points, "lost": lost}
    return 1e6 * elapsed_s / points, others


def stored(database: Path, run_name: str) -> int:
    """How many points the database has of finished runs whose names begin with this one."""
    query = """
        SELECT count(*) FROM metrics JOIN runs ON runs.run_uuid = metrics.run_uuid
        WHERE substr(runs.name, 1, length(?1)) = ?1 AND runs.status = 'FINISHED'
    """
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        return int(connection.execute(query, (run_name,)).fetchone()[0])


def new_store(folder: Path) -> Path:
    """A database with MLflow's tables and the experiment, to copy: creating it takes 2 s."""
    from mlflow import MlflowClient

    path = folder / "template.db"
    MlflowClient(f"sqlite:///{path}").create_experiment(EXPERIMENT, str(folder / "artifacts"))
    return path


@contextmanager
def sqlite_target(folder: Path, template: Path) -> Iterator[Callable[[int], Target]]:
    """An embedded store for each size, which all contenders share."""

    def target(points: int) -> Target:
        experiment = folder / str(points) / EXPERIMENT
        if not experiment.exists():
            (experiment / "training").mkdir(parents=True)
            copy(template, experiment / "mlflow.db")
        database = experiment / "mlflow.db"
        return Target(experiment, f"sqlite:///{database}", database, None)

    yield target


@contextmanager
def server_target(folder: Path, template: Path) -> Iterator[Callable[[int], Target]]:
    """One server, with SQLite behind it."""
    with mlflow_server(folder, template) as (url, database):
        experiment = folder / EXPERIMENT
        (experiment / "training").mkdir(parents=True)
        yield lambda points: Target(experiment, url, database, url)


def main() -> None:
    """Measure growing numbers of points, into SQLite and to a server."""
    settings = options(__doc__)
    settings.json = settings.json.absolute()
    os.environ.update(QUIET)
    logging.disable(logging.WARNING)
    cases = QUICK_CASES if settings.quick else CASES
    most = QUICK_MOST_POINTS if settings.quick else MOST_POINTS
    rows = []
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)  # MLflow writes into the working directory
        template = new_store(Path(name))
        for store, targets in (("SQLite", sqlite_target), ("server", server_target)):
            folder = Path(name, store)
            folder.mkdir()
            with targets(folder, template) as target:
                for points, repeats in cases.items():
                    contenders = contenders_of(store, points, target(points), most)
                    rows += measure(f"{store}, {points:,} points", contenders, repeats)
                if store == "SQLite":
                    rows += grid_rows(*(QUICK_GRID if settings.quick else GRID), target)
            sizes = {f"{store}, {points:,} points": 1.0 for points in list(cases)[1:]}
            rows = growth(rows, KIT, sizes, at_most=1.5)
        os.chdir("/")
    report("sync", "µs", rows, settings.json, NOTE)


def grid_rows(
    runs: int, points: int, repeats: int, target_of: Callable[[int], Target]
) -> list[Row]:
    """Many short runs, as a grid has them."""
    target = target_of(0)
    connect(target)
    contenders = [
        Contender(
            name,
            partial(measure_grid, name, runs, points, target),
            floor=FLOOR if name == KIT else None,
            bars=[ALL_ARRIVE] if name == KIT else (),
        )
        for name in GRID_CONTENDERS
    ]
    return measure(f"SQLite, {runs} runs of {points} points", contenders, repeats)


def contenders_of(
    store: str, points: int, target: Target, most: dict[tuple[str, str], int]
) -> list[Contender]:
    """The contenders with that many points; MLflow's own only in the smallest case, with fewer."""
    connect(target)
    return [
        Contender(
            name,
            partial(measure_run, name, most.get((store, name), points), target),
            floor=None if name == FLOOR else FLOOR,
            peer=SYNC if name == KIT else None,
            bars=[ALL_ARRIVE, *([FAST] if points >= FAST_FROM else [])] if name == KIT else (),
            repeats=3 if name in (SYNC, ASYNC) else None,
        )
        for name in CONTENDERS
        if (store, name) not in most or points <= PEERS_UP_TO
    ]


def connect(target: Target) -> None:
    """Do what is slow once per process before the clock runs: import, and open the store."""
    from mlflow import MlflowClient

    import expkit_mlflow._sync.experiment  # noqa: F401

    MlflowClient(target.uri).search_experiments()


if __name__ == "__main__":
    main()
