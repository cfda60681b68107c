import os
import sys
from pathlib import Path

import pytest

# Hydra imports targets by name, so that this folder's modules must be importable by theirs.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def torch():
    """PyTorch where it is installed; a failure where `EXPKIT_REQUIRE` says that it must be."""
    if "torch" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
        import torch
    else:
        torch = pytest.importorskip("torch")
    return torch
