"""Fixtures of the integration tests."""

import os
import shutil
from pathlib import Path

import pytest
from workspace import REPOSITORY, Workspace


@pytest.fixture(scope="session")
def device() -> str:
    """`cuda` in nox's session `gpu`, otherwise `cpu`."""
    device = os.environ.get("EXPKIT_DEVICE", "cpu")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
    return device


@pytest.fixture
def example(tmp_path: Path) -> Workspace:
    """A copy of the example experiment, as after a clone."""
    for name in ("examples", "conf"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    return Workspace(tmp_path)


@pytest.fixture
def empty(tmp_path: Path) -> Workspace:
    """An empty folder."""
    return Workspace(tmp_path)
