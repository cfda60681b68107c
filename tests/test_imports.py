import statistics
import subprocess
import sys
import time

import pytest
from workspace import environment

# The bars are 60 and 30 ms over bare Python. Shared cores drift by half, hence the margin.
MARGIN = 1.5
LIGHT = ("registry", "seed", "timer", "bookkeeping", "filter")
BARS_MS = {
    name: 30 if name in LIGHT else 60 for name in (*LIGHT, "mlflow", "plotting", "hydra", "slurm")
}
REPEATS = 7


def start_ms(code: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)
    return 1000 * (time.perf_counter() - begin)


@pytest.mark.parametrize("name", BARS_MS)
def test_an_import_is_cheap(name):
    start_ms(f"import expkit_{name}")  # compiles what was not compiled

    rounds = [(start_ms("pass"), start_ms(f"import expkit_{name}")) for _ in range(REPEATS)]

    added = statistics.median(after - before for before, after in rounds)
    assert added < MARGIN * BARS_MS[name]
