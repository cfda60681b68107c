"""Fixtures of the integration tests."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from workspace import REPOSITORY, Workspace

# Programs of users, and a module that makes Python take its machine for a Mac: no tests.
collect_ignore = ["macos", "projects"]

CLUSTER = REPOSITORY / "packages/expkit-slurm/tests/slurm_cluster.py"


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


@pytest.fixture(scope="module")
def cluster(slurm_cluster: Any) -> dict[str, str]:
    """The environment in which Slurm's commands find a cluster of four nodes."""
    return slurm_cluster.environment


@pytest.fixture(scope="module")
def slurm_cluster() -> Iterator[Any]:
    """A real Slurm of four nodes, as the tests of expkit-slurm have it."""
    module = _module()
    if missing := module.missing_programs(module.Options()):
        advice = f"needs a Slurm on this machine; missing: {', '.join(missing)}"
        if "slurm" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
            pytest.fail(advice)
        pytest.skip(advice)
    with module.SlurmCluster(module.Options(max_array_size=1001)) as cluster:
        yield cluster


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("slurm_cluster", CLUSTER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["slurm_cluster"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module
