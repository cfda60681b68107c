"""What an import adds to Python's start, in milliseconds for a whole process."""

import os
import subprocess
import sys
import time
from typing import Any

from measuring import Bar, Contender, measure, options, report

PEERS = {  # what users would import instead of each package, or what it builds on
    "expkit_registry": "hydra",
    "expkit_seed": "lightning",
    "expkit_timer": "codetiming",
    "expkit_bookkeeping": "lightning",
    "expkit_filter": "hydra_filter_sweeper",
    "expkit_mlflow": "mlflow",
    "expkit_plotting": "seaborn",
    "expkit_hydra": "hydra",
    "expkit_slurm": "submitit",
    "expkit": "hydra",
}
LIGHT = ("registry", "seed", "timer", "bookkeeping", "filter")
FLOOR = "bare Python"
SLOW = ("lightning", "mlflow", "seaborn")  # seconds each


def start_ms(code: str) -> float:
    """Start Python, run this code and wait for the end."""
    # Without this variable Python keeps what it has compiled, as it does for users.
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)
    return 1000 * (time.perf_counter() - start)


def contender(name: str, code: str, **others: Any) -> Contender:
    """A contender that starts a process; the first process, which compiles, is not measured."""
    start_ms(code)
    floor = None if name == FLOOR else FLOOR
    return Contender(name, lambda: start_ms(code), floor=floor, **others)


def main() -> None:
    """Measure the import alone, and with all public names used, which loads the modules."""
    settings = options(__doc__)
    contenders = [contender(FLOOR, "pass")]
    for name, peer in PEERS.items():
        is_light = name.removeprefix("expkit_") in LIGHT
        bars = [Bar(at_most=30 if is_light else 60, over=FLOOR)]
        contenders.append(contender(name, f"import {name}", peer=peer, bars=bars))
        if name == "expkit":  # a command: there is nothing else to import
            continue
        code = f"import {name} as m; [getattr(m, name) for name in m.__all__]"
        contenders.append(contender(f"{name}, all its names", code, peer=peer))
    for name in dict.fromkeys(PEERS.values()):
        repeats = 1 if settings.quick and name in SLOW else None
        contenders.append(contender(name, f"import {name}", repeats=repeats))
    rows = measure("import", contenders, repeats=5 if settings.quick else 15)
    note = (
        "An import alone loads a list of names and nothing else; a script pays for the names that "
        "it uses, at most the second row. The bars are for the import: 30 ms over bare Python for "
        "registry, seed, timer, bookkeeping and filter, 60 ms for the others."
    )
    report("imports", "ms", rows, settings.json, note=note)


if __name__ == "__main__":
    main()
