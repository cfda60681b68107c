"""Hydra's plugin scan costs little with this package, and `status` does without Hydra."""

import subprocess
import sys


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_hydras_scan_of_plugins_loads_neither_siblings_nor_rich():
    code = """
import sys
from hydra.core.plugins import Plugins
Plugins.instance()
print(*sys.modules)
"""
    loaded = run(code).split()

    for name in ("rich", "torch", "pandas", "mlflow", "expkit_bookkeeping", "expkit_filter"):
        assert name not in loaded
    assert "hydra_plugins.expkit_sweeper" in loaded


def test_plugins_take_less_than_30_ms():
    code = """
import omegaconf, hydra
from hydra.core.plugins import Plugins
times = Plugins.instance().get_stats().modules_import_time
print(sum(seconds for name, seconds in times.items() if "expkit" in name))
"""
    assert min(float(run(code)) for _ in range(3)) < 0.03


def test_status_answers_without_hydra(tmp_path):
    from expkit_bookkeeping.launching import claim_run

    claim_run(tmp_path / "training" / "a").finish("completed")
    code = f"""
import sys
from expkit_hydra.commands import status
status([{str(tmp_path)!r}])
print(*sys.modules)
"""
    output = run(code)

    assert "1 completed" in output
    for name in ("hydra", "omegaconf", "pandas", "torch"):
        assert name not in output.split()
