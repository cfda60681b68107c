"""What importing the package costs."""

import json
import subprocess
import sys

HEAVY = ("torch", "numpy", "pandas", "yaml", "omegaconf", "hydra", "mlflow", "matplotlib")
SCRIPT = """
import json, sys, time
start = time.perf_counter()
{statement}
print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))
"""


def cost(statement: str) -> tuple[float, set[str]]:
    """Least seconds of five, and the modules that are then imported."""
    command = [sys.executable, "-c", SCRIPT.format(statement=statement)]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    ]
    return min(seconds for seconds, _ in runs), set(runs[0][1])


def test_importing_the_package_takes_less_than_thirty_milliseconds():
    seconds, modules = cost("import expkit_bookkeeping")

    assert seconds < 0.03
    assert not modules & set(HEAVY)


def test_touching_every_public_name_loads_nothing_heavy():
    seconds, modules = cost("from expkit_bookkeeping import *")

    assert not modules & set(HEAVY)
    assert seconds < 0.12  # about 30 ms where byte code is cached; here it may not be
