"""What it costs to know about every run of an experiment, in seconds, with all files in the cache.

autrainer cannot be installed beside our versions, so its `rm-failed` is rebuilt from what it does:
it lists the folder and checks for each entry whether it is a folder, and whether it has the file
of a finished run. It learns one bit about each run; expkit reads each run.json.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from measuring import Bar, Contender, growth, measure, options, report

from expkit_bookkeeping import find_runs, result_rows, results, write_results_csv

FLOOR = "os.scandir, os.path.exists"
PEER = "autrainer rm-failed, rebuilt: stat only"
STATUS = "expkit status, a process"
CASES = {1_000: 7, 10_000: 7, 100_000: 3}  # runs: repeats
BAR_S = 0.6 / 10_000  # per run
NOTE = (
    "Everything that is read is in the system's cache. `find_runs` and all that builds on it read "
    "every run.json again. One run in a hundred is in progress on another machine, so its "
    "heartbeat is checked, too. The bar is 0.6 s per 10,000 runs."
)


def run_json(number: int) -> bytes:
    """A run.json of 1.9 kB, as the example writes it; of 100 runs 90 are completed."""
    state = {0: "running", 1: "interrupted"}.get(number % 100, "completed")
    error = None
    if 2 <= number % 100 < 10:
        state = "failed"
        error = {"type": "ValueError", "message": "loss is NaN", "traceback": "File …\n" * 20}
    sources = ("train", "models", "data", "losses", "evaluation", "plots")
    content = {
        "schema": 1,
        "id": f"{number:032x}",
        "run_name": f"cnn_adam_0.001_{number:06d}",
        "experiment_id": "digits",
        "state": state,
        "attempt": 1,
        "created_at": "2026-11-23T08:00:00.000000+00:00",
        "started_at": "2026-11-23T08:05:00.000000+00:00",
        "heartbeat_at": "2026-11-23T08:05:50.000000+00:00",
        "ended_at": None if state == "running" else "2026-11-23T08:05:52.500000+00:00",
        "elapsed_s": 112.5,
        "host": "node1",  # another machine, as seen from a login node
        "pid": 4711,
        "process_start": "5b0ad9bc-7e5d-4c2a-9e0a-1f0d5b3c9a77:4026531836/123456",
        "slurm": {
            "job_id": str(1230 + number),
            "array_job_id": "1230",
            "array_task_id": str(number),
            "restart_count": 0,
        },
        "config_hash": f"{number:064x}",
        "grid_id": "a1b2c3d4e5f6",
        "swept": {"model": "cnn", "optimizer": "adam", "optimizer.lr": 0.001, "seed": number},
        "progress": {"step": 19, "total": 20},
        "metrics": {"loss": 0.031, "accuracy": 0.99, "val_loss": 0.06, "val_accuracy": 0.981},
        "best": {"metric": "val_accuracy", "direction": "maximize", "value": 0.983, "step": 17},
        "code": {
            "commit": f"{7:040x}",
            "dirty": True,
            "sources": {f"project/{name}.py": f"{len(name):064x}" for name in sources},
        },
        "error": error,
    }
    return json.dumps(content, indent=1).encode()


def make_runs(experiment: Path, runs: int) -> None:
    """The part of a grid's folders that is read."""
    training = experiment / "training"
    training.mkdir(parents=True)
    for number in range(runs):
        folder = f"{training}/cnn_adam_0.001_{number:06d}"
        os.mkdir(folder)  # noqa: PTH102 (a hundred thousand: no Path objects)
        with open(f"{folder}/run.json", "wb") as file:  # noqa: PTH123
            file.write(run_json(number))


def remove(folder: Path) -> None:
    """Remove a folder; `rm` is several times as fast as `shutil.rmtree`."""
    if shutil.which("rm") is None:
        shutil.rmtree(folder)
    else:
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def seconds(work: Callable[[Path], object], experiment: Path) -> float:
    """How long it takes, without freeing what it returns."""
    start = time.perf_counter()
    result = work(experiment)
    elapsed_s = time.perf_counter() - start
    del result
    return elapsed_s


def stat_only(experiment: Path) -> list[str]:
    """`os.listdir`, `os.path.isdir` and `os.path.exists`, as autrainer calls them."""
    training = str(experiment / "training")
    return [
        name
        for name in os.listdir(training)  # noqa: PTH208
        if os.path.isdir(os.path.join(training, name))  # noqa: PTH112, PTH118
        and not os.path.exists(os.path.join(training, name, "run.json"))  # noqa: PTH110, PTH118
    ]


def scan_only(experiment: Path) -> list[str]:
    """The same answer with one system call per run."""
    with os.scandir(experiment / "training") as entries:
        return [
            entry.name
            for entry in entries
            if entry.is_dir() and not os.path.exists(f"{entry.path}/run.json")  # noqa: PTH110
        ]


def read_only(experiment: Path) -> list[object]:
    """The least that it takes to read each run.json."""
    contents = []
    with os.scandir(experiment / "training") as entries:
        for entry in entries:
            with open(f"{entry.path}/run.json", "rb", buffering=0) as file:  # noqa: PTH123
                contents.append(json.loads(file.read()))
    return contents


def status(experiment: Path, *flags: str) -> None:
    """`expkit status` in a process of its own, with its imports and its printing."""
    command = [sys.executable, "-m", "expkit_hydra", "status", *flags, str(experiment)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def status_json(experiment: Path) -> None:
    """The same without a table."""
    status(experiment, "--json")


OURS = {"find_runs": find_runs, "result_rows": result_rows}
OTHERS = {
    "write_results_csv": write_results_csv,
    "results, a DataFrame": results,
    "expkit status --json, a process": status_json,
    STATUS: status,
    "each run.json opened and parsed": read_only,
    PEER: stat_only,
    FLOOR: scan_only,
}


def main() -> None:
    """Measure growing numbers of runs."""
    settings = options(__doc__)
    rows = []
    sizes = {f"{runs:,} runs": float(runs) for runs in CASES if runs >= 10_000}
    for runs, repeats in CASES.items():
        if settings.quick and runs > 10_000:
            continue
        experiment = Path(tempfile.mkdtemp(prefix="expkit-bench-"), "digits")
        try:
            make_runs(experiment, runs)
            contenders = [
                Contender(
                    name,
                    partial(seconds, work, experiment),
                    floor=None if name == FLOOR else FLOOR,
                    peer=PEER if name in OURS else None,
                    bars=[Bar(at_most=BAR_S * runs)] if name in OURS and runs >= 10_000 else [],
                    repeats=1 if name == STATUS and runs > 1_000 else None,  # one line per run
                )
                for name, work in (OURS | OTHERS).items()
                if name != STATUS or runs <= (1_000 if settings.quick else 10_000)
            ]
            rows += measure(
                f"{runs:,} runs", contenders, min(3, repeats) if settings.quick else repeats
            )
        finally:
            remove(experiment.parent)
    for name in OURS:
        rows = growth(rows, name, sizes, at_most=1.3)
    report("results", "s", rows, settings.json, note=NOTE)


if __name__ == "__main__":
    main()
