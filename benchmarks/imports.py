"""What an import adds to the start of Python, in milliseconds of a whole process."""

import os
import subprocess
import sys
import time
from typing import Any

from measuring import Bar, Contender, measure, options, report

PEERS = {  # of each package: what one would import instead, or what it stands in front of
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
    """Start Python, run this, wait for its end."""
    # Python keeps what it has compiled, as it does for users.
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)
    return 1000 * (time.perf_counter() - begin)


def contender(name: str, code: str, **others: Any) -> Contender:
    """One process; the first, which compiles, is not measured."""
    start_ms(code)
    floor = None if name == FLOOR else FLOOR
    return Contender(name, lambda: start_ms(code), floor=floor, **others)


def main() -> None:
    """Measure the import alone, and with every public name touched, which loads the modules."""
    chosen = options(__doc__)
    contenders = [contender(FLOOR, "pass")]
    for name, peer in PEERS.items():
        light = name.removeprefix("expkit_") in LIGHT
        bars = [Bar(at_most=30 if light else 60, over=FLOOR)]
        contenders.append(contender(name, f"import {name}", peer=peer, bars=bars))
        if name == "expkit":  # a command, nothing to import
            continue
        code = f"import {name} as m; [getattr(m, name) for name in m.__all__]"
        contenders.append(contender(f"{name}, all its names", code, peer=peer))
    for name in dict.fromkeys(PEERS.values()):
        repeats = 1 if chosen.quick and name in SLOW else None
        contenders.append(contender(name, f"import {name}", repeats=repeats))
    rows = measure("import", contenders, repeats=5 if chosen.quick else 15)
    note = (
        "An import alone loads a list of names and nothing else; a script pays for the names that "
        "it uses, at most the second row. The bars are of the import: 30 ms over bare Python for "
        "registry, seed, timer, bookkeeping and filter, 60 ms for the others."
    )
    report("imports", "ms", rows, chosen.json, note=note)


if __name__ == "__main__":
    main()
