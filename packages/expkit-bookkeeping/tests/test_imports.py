"""What importing the package costs."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "pandas", "yaml", "omegaconf", "hydra", "mlflow", "matplotlib")
SCRIPT = """
import json, sys, time
start = time.process_time()  # not the clock on the wall: other tests may run beside this one
{statement}
print(json.dumps([time.process_time() - start, sorted(sys.modules)]))
"""


@pytest.fixture
def cost(tmp_path):
    """Least seconds of five, with byte code cached, and the modules that are then imported."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def cost(statement: str) -> tuple[float, set[str]]:
        command = [sys.executable, "-c", SCRIPT.format(statement=statement)]
        runs = []
        for _ in range(5):
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env=environment
            )
            runs.append(json.loads(done.stdout))
        return min(seconds for seconds, _ in runs), set(runs[0][1])

    return cost


def test_importing_the_package_takes_less_than_thirty_milliseconds(cost):
    seconds, modules = cost("import expkit_bookkeeping")

    assert seconds < 0.03
    assert not modules & set(HEAVY)


def test_touching_every_public_name_loads_nothing_heavy(cost):
    seconds, modules = cost("from expkit_bookkeeping import *")

    assert not modules & set(HEAVY)
    assert seconds < 0.06  # 30 ms on an idle machine
