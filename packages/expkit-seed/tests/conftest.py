import os
import random
import subprocess
import sys

import pytest


@pytest.fixture
def torch():
    """PyTorch if it is installed; if not, a failure where `EXPKIT_REQUIRE` names it."""
    try:
        import torch
    except ImportError:
        if "torch" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
            raise
        pytest.skip("torch is not installed")
    return torch


@pytest.fixture
def draws():
    """A function that draws one number from every global generator in use."""
    return draw_from_all


def draw_from_all():
    numbers = [random.random()]
    if "numpy" in sys.modules:
        numbers.append(float(sys.modules["numpy"].random.rand()))
    if "torch" in sys.modules:
        numbers.append(float(sys.modules["torch"].rand(())))
    return numbers


@pytest.fixture
def run_python(tmp_path):
    """A function that runs a script in a process of its own and returns what it prints."""

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
