"""What logging five values costs the calling thread, in microseconds per call, and its memory.

Each repeat is a process of its own, so its peak memory is its own. What happens in other threads
(the file, MLflow's store) is not in the figure unless it holds up the calling thread.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType

from _mlflow_server import QUIET, mlflow_server
from measuring import Bar, Contender, Row, growth, measure, options, report

Log = Callable[[dict[str, float], int], object]
FLOOR = "append of a JSON line, flushed"
SYNC, ASYNC = "mlflow.log_metrics, SQLite", "mlflow.log_metrics, SQLite, asynchronous"
SERVER = "mlflow.log_metrics, server"
SERVER_ASYNC = "mlflow.log_metrics, server, asynchronous"
BOOKKEEPING, LOGGER = "Bookkeeping.log_metrics", "MLFlowLogger.log_metrics"
WITH_PEERS = 1_000  # calls; larger cases are for what costs microseconds
CASES = {WITH_PEERS: 5, 10_000: 5, 100_000: 5, 1_000_000: 3}  # calls: repeats
QUICK_CASES = {WITH_PEERS: 3, 10_000: 3, 100_000: 3}
# At milliseconds per call, these show their cost with fewer calls.
MOST_CALLS = {SYNC: 1_000, ASYNC: 1_000, SERVER: 100, SERVER_ASYNC: 200}
QUICK_MOST_CALLS = {SYNC: 200, ASYNC: 200, SERVER: 40, SERVER_ASYNC: 100}
BARS = {
    BOOKKEEPING: [Bar(at_most=10.0)],
    LOGGER: [Bar(at_most=10.0), Bar(at_most=10.0, figure="peak growth MB")],
}
NOTE = (
    "`to 1,000` and so on: µs per call of the calls since the previous column, in one process. "
    "`close s` is how long the end of the block takes; in MLflow's asynchronous mode it waits for "
    "the queue. MLflow's own functions are called as often as `calls` says."
)


@contextmanager
def bookkeeping(folder: Path, server: str) -> Iterator[Log]:
    """`Bookkeeping.log_metrics` without sinks."""
    from expkit_bookkeeping import Bookkeeping

    with Bookkeeping(folder / "results" / "digits" / "training" / "run") as run:
        yield lambda values, step: run.log_metrics(values, step=step)


@contextmanager
def journal(folder: Path, server: str) -> Iterator[Log]:
    """`MLFlowLogger.log_metrics`; offline, because sending is not the calling thread's work."""
    from expkit_mlflow import MLFlowLogger

    where = {"results_dir": folder / "results", "mode": "offline"}
    with MLFlowLogger("digits", run_name="run", **where) as run:
        yield lambda values, step: run.log_metrics(values, step=step)


@contextmanager
def fluent(folder: Path, server: str, *, to_server: bool, synchronous: bool) -> Iterator[Log]:
    """MLflow's own function, with a store of its own or a server."""
    import mlflow

    mlflow.set_tracking_uri(server if to_server else f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment("digits")
    with mlflow.start_run():
        yield lambda values, step: mlflow.log_metrics(values, step=step, synchronous=synchronous)


@contextmanager
def append(folder: Path, server: str) -> Iterator[Log]:
    """The least that survives the process: one line, handed to the system at once."""
    with (folder / "metrics.jsonl").open("a") as file:

        def log(values: dict[str, float], step: int) -> None:
            file.write(json.dumps({"step": step, "time": time.time(), "metrics": values}) + "\n")
            file.flush()

        yield log


OURS = {BOOKKEEPING: bookkeeping, LOGGER: journal}
CONTENDERS = {
    **OURS,
    SYNC: partial(fluent, to_server=False, synchronous=True),
    ASYNC: partial(fluent, to_server=False, synchronous=False),
    SERVER: partial(fluent, to_server=True, synchronous=True),
    SERVER_ASYNC: partial(fluent, to_server=True, synchronous=False),
    FLOOR: append,
}


def one_process(name: str, calls: int, server: str) -> None:
    """Log that often and print the figures; runs in a process of its own."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # MLflow writes into the working directory
        with CONTENDERS[name](Path(folder), server) as log:
            before_mb = peak_mb()
            elapsed_s = 0.0
            for first, end in decades(calls):
                part_s = logged(log, first, end)
                elapsed_s += part_s
                if name in OURS or name == FLOOR:
                    figures[f"to {end:,}"] = 1e6 * part_s / (end - first)
            start = time.perf_counter()
        figures["close s"] = time.perf_counter() - start
        figures["peak growth MB"] = peak_mb() - before_mb
    print(json.dumps([1e6 * elapsed_s / calls, {**figures, "calls": calls}]))


def logged(log: Log, first: int, end: int) -> float:
    """How many seconds these calls take."""
    start = time.perf_counter()
    for step in range(first, end):
        x = step / end
        log({"loss": x, "accuracy": 1 - x, "lr": 0.1 * x, "norm": 2 * x, "time": x}, step)
    return time.perf_counter() - start


def decades(calls: int) -> list[tuple[int, int]]:
    """The calls in parts, whose ends grow tenfold.

    >>> decades(10_000)
    [(0, 1000), (1000, 10000)]
    """
    ends = [end for end in (1_000, 10_000, 100_000) if end < calls]
    return list(zip([0, *ends], [*ends, calls], strict=True))


def peak_mb() -> float:
    """The most memory that this process ever had (Linux counts in kB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def in_process(name: str, calls: int, server: str) -> tuple[float, dict[str, float]]:
    """Microseconds per call, and other figures."""
    command = [sys.executable, __file__, "--one", name, str(calls), server]
    done = subprocess.run(
        command,
        env={**os.environ, **QUIET},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    value, others = json.loads(done.stdout.splitlines()[-1])
    return value, others


def main() -> None:
    """Measure growing numbers of calls, to show whether the cost grows with them."""
    settings = options(__doc__)
    rows = []
    cases = dict(QUICK_CASES if settings.quick else CASES)
    most = QUICK_MOST_CALLS if settings.quick else MOST_CALLS
    with tempfile.TemporaryDirectory() as folder, mlflow_server(Path(folder)) as (server, _):
        rows += measure_case(WITH_PEERS, cases.pop(WITH_PEERS), server, most, quick=settings.quick)
    for calls, repeats in cases.items():  # without the server, whose idle workers use the CPU too
        rows += measure_case(calls, repeats)
    sizes = {f"{calls:,} calls": 1.0 for calls in cases}
    for name in OURS:
        rows = growth(rows, name, sizes, at_most=1.5)
    report("log_metrics", "µs", rows, settings.json, NOTE)


def measure_case(
    calls: int,
    repeats: int,
    server: str = "",
    most: Mapping[str, int] = MappingProxyType({}),
    *,
    quick: bool = False,
) -> list[Row]:
    """One number of calls; those in `most` log less often, and only if there is a server."""
    contenders = [
        Contender(
            name,
            partial(in_process, name, most.get(name, calls), server),
            floor=None if name == FLOOR else FLOOR,
            peer=SYNC if name in OURS else None,
            bars=BARS.get(name, ()),
            repeats=1 if quick and name in most else None,
        )
        for name in CONTENDERS
        if server or name not in MOST_CALLS
    ]
    return measure(f"{calls:,} calls", contenders, repeats)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one_process(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main()
