import os
import random
import subprocess
import sys

import pytest


@pytest.fixture
def torch():
    """PyTorch where it is installed; a failure where `EXPKIT_REQUIRE` says that it must be."""
    try:
        import torch
    except ImportError:
        if "torch" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
            raise
        pytest.skip("torch is not installed")
    return torch


@pytest.fixture
def draws():
    """One number from every global generator there is."""
    return draw_from_all


def draw_from_all():
    drawn = [random.random()]
    if "numpy" in sys.modules:
        drawn.append(float(sys.modules["numpy"].random.rand()))
    if "torch" in sys.modules:
        drawn.append(float(sys.modules["torch"].rand(())))
    return drawn


@pytest.fixture
def run_python(tmp_path):
    """Runs a script in a process of its own, and gives what it printed."""

    def run(code, *, blocked=()):
        block = f"import sys\nfor name in {list(blocked)}: sys.modules[name] = None\n"
        script = tmp_path / "script.py"
        script.write_text(block + code)
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
