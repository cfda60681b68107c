"""Fixtures of the integration tests."""

import json
import os
import shutil
import subprocess
import sys
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


@pytest.fixture(scope="module")
def trainer():
    """Trains as killed_training.py does; returns how each training ended."""
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("killed_training.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def train(folder, options=None, **strike):
        print(json.dumps([str(folder), options or {}, strike]), file=process.stdin, flush=True)
        return json.loads(process.stdout.readline())

    yield train
    process.stdin.close()
    process.wait()
