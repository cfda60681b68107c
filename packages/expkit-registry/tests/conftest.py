import os
import sys
from pathlib import Path

import pytest

# Hydra imports targets by name, so the modules in this folder must be importable by theirs.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def torch():
    """PyTorch if it is installed; if not, a failure where `EXPKIT_REQUIRE` names it."""
    if "torch" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
        import torch
    else:
        torch = pytest.importorskip("torch")
    return torch
