"""What logging five values costs the calling thread, in microseconds a call, and its memory.

Each repeat is a process of its own, so that its peak memory is its own. What happens behind the
calling thread (the file, MLflow's store) is not in the figure unless it holds the thread up.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from measuring import Contender, measure, options, report

Log = Callable[[dict[str, float], int], object]
FLOOR = "append of a JSON line, flushed"
SYNC, ASYNC = "mlflow.log_metrics, SQLite", "mlflow.log_metrics, SQLite, asynchronous"
CASES = {1_000: 5, 10_000: 5, 100_000: 5, 1_000_000: 3}  # calls: repeats
MOST_CALLS = {SYNC: 1_000, ASYNC: 1_000}  # at several milliseconds a call


@contextmanager
def bookkeeping(folder: Path) -> Iterator[Log]:
    """`Bookkeeping.log_metrics` without sinks."""
    from expkit_bookkeeping import Bookkeeping

    with Bookkeeping(folder / "results" / "digits" / "training" / "run") as run:
        yield lambda values, step: run.log_metrics(values, step=step)


@contextmanager
def journal(folder: Path) -> Iterator[Log]:
    """`MLFlowLogger.log_metrics`; offline, because sending is not the calling thread's work."""
    from expkit_mlflow import MLFlowLogger

    where = {"results_dir": folder / "results", "mode": "offline"}
    with MLFlowLogger("digits", run_name="run", **where) as run:
        yield lambda values, step: run.log_metrics(values, step=step)


@contextmanager
def fluent(folder: Path, *, synchronous: bool) -> Iterator[Log]:
    """MLflow's own function with its own store."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment("digits")
    with mlflow.start_run():
        yield lambda values, step: mlflow.log_metrics(values, step=step, synchronous=synchronous)


@contextmanager
def append(folder: Path) -> Iterator[Log]:
    """The least that survives the process: one line, given to the system at once."""
    with (folder / "metrics.jsonl").open("a") as file:

        def log(values: dict[str, float], step: int) -> None:
            file.write(json.dumps({"step": step, "time": time.time(), "metrics": values}) + "\n")
            file.flush()

        yield log


OURS = {"Bookkeeping.log_metrics": bookkeeping, "MLFlowLogger.log_metrics": journal}
CONTENDERS = {
    **OURS,
    SYNC: partial(fluent, synchronous=True),
    ASYNC: partial(fluent, synchronous=False),
    FLOOR: append,
}


def one_process(name: str, calls: int) -> None:
    """Log that often and print the figures; runs in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # MLflow writes beside it
        with CONTENDERS[name](Path(folder)) as log:
            before_mb = peak_mb()
            begin = time.perf_counter()
            for step in range(calls):
                x = step / calls
                log({"loss": x, "accuracy": 1 - x, "lr": 0.1 * x, "norm": 2 * x, "time": x}, step)
            elapsed_s = time.perf_counter() - begin
            begin = time.perf_counter()
        close_s = time.perf_counter() - begin
        grown_mb = peak_mb() - before_mb
    print(json.dumps([1e6 * elapsed_s / calls, {"peak grows MB": grown_mb, "close s": close_s}]))


def peak_mb() -> float:
    """The most memory that this process ever had (Linux counts in kB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def in_process(name: str, calls: int) -> tuple[float, dict[str, float]]:
    """Microseconds a call, and other figures."""
    command = [sys.executable, __file__, "--one", name, str(calls)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    value, others = json.loads(done.stdout.splitlines()[-1])
    return value, others


def main() -> None:
    """Measure growing numbers of calls; a cost that grows with them would show."""
    chosen = options(__doc__)
    rows = []
    cases = {1_000: 3, 10_000: 3} if chosen.quick else CASES
    for calls, repeats in cases.items():
        contenders = [
            Contender(
                name,
                partial(in_process, name, calls),
                floor=None if name == FLOOR else FLOOR,
                peer=SYNC if name in OURS else None,
            )
            for name in CONTENDERS
            if calls <= MOST_CALLS.get(name, calls)
        ]
        rows += measure(f"{calls:,} calls", contenders, repeats)
    report("log_metrics", "µs", rows, chosen.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one_process(sys.argv[2], int(sys.argv[3]))
    else:
        main()
