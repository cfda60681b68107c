"""What an import adds to the start of Python, in milliseconds of a whole process."""

import os
import subprocess
import sys
import time

from measuring import Contender, measure, options, report

PEERS = {  # of each package: what it stands beside or in front of
    "expkit_registry": "hydra",
    "expkit_seed": "torch",
    "expkit_timer": "codetiming",
    "expkit_bookkeeping": "torch",
    "expkit_filter": "hydra",
    "expkit_mlflow": "mlflow",
    "expkit_plotting": "seaborn",
    "expkit_hydra": "hydra",
    "expkit_slurm": "submitit",
    "expkit": "hydra",
}
FLOOR = "bare Python"


def start_ms(code: str) -> float:
    """Start Python, run this, wait for its end."""
    # Python keeps what it has compiled, as it does for users.
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)
    return 1000 * (time.perf_counter() - begin)


def contender(name: str, code: str, peer: str | None = None) -> Contender:
    """One import; the first, which compiles, is not measured."""
    start_ms(code)
    floor = None if name == FLOOR else FLOOR
    return Contender(name, lambda: start_ms(code), floor=floor, peer=peer)


def main() -> None:
    """Measure the import alone, then with every public name touched, which loads the modules."""
    chosen = options(__doc__)
    repeats = 5 if chosen.quick else 15
    bare = contender(FLOOR, "pass")
    peers = [contender(name, f"import {name}") for name in dict.fromkeys(PEERS.values())]
    ours = [contender(name, f"import {name}", peer) for name, peer in PEERS.items()]
    touched = [
        contender(name, f"import {name} as m; [getattr(m, name) for name in m.__all__]", peer)
        for name, peer in PEERS.items()
        if name != "expkit"  # a command, nothing to import
    ]
    rows = measure("import", [bare, *ours, *peers], repeats)
    rows += measure("every public name", [bare, *touched, *peers], repeats)
    report("imports", "ms", rows, chosen.json)


if __name__ == "__main__":
    main()
