"""A real Slurm for every test that asks for one; slurm_cluster.py tells how it is made."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # what these tests share

from slurm_app import CONFIG, SCRIPT, SlurmApp
from slurm_cluster import Options, SlurmCluster, missing_programs


def _start(options: Options) -> Iterator[SlurmCluster]:
    """CI says EXPKIT_REQUIRE=slurm, and the absence of Slurm is then a failure."""
    if missing := missing_programs(options):
        advice = f"needs a Slurm on this machine; missing: {', '.join(missing)}"
        if "slurm" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
            pytest.fail(advice)
        pytest.skip(advice)
    with SlurmCluster(options) as cluster:
        yield cluster


def _emptied(cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    cluster.reset()
    yield cluster
    cluster.reset()


@pytest.fixture(scope="session")
def _cluster() -> Iterator[SlurmCluster]:
    yield from _start(Options())


@pytest.fixture(scope="session")
def _accounting_cluster() -> Iterator[SlurmCluster]:
    yield from _start(Options(accounting=True))


@pytest.fixture
def cluster(_cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """Four nodes, no jobs, MaxArraySize 51, no accounting."""
    yield from _emptied(_cluster)


@pytest.fixture
def accounting_cluster(_accounting_cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """The same with accounting."""
    yield from _emptied(_accounting_cluster)


def _app(folder: Path, cluster: SlurmCluster) -> SlurmApp:
    app = SlurmApp(folder, cluster)
    app.write("train.py", SCRIPT)
    app.write("conf/config.yaml", CONFIG)
    app.array_script('exec "$@"', "--cpus-per-task=1", "--mem=100M")
    return app


@pytest.fixture
def app(tmp_path: Path, cluster: SlurmCluster) -> SlurmApp:
    """An app of three runs on the cluster without accounting."""
    return _app(tmp_path, cluster)


@pytest.fixture
def impatient_app(tmp_path: Path) -> Iterator[SlurmApp]:
    """The same where commands wait less long for a controller that is away."""
    for cluster in _start(Options(message_timeout_s=4)):
        yield _app(tmp_path, cluster)


@pytest.fixture
def limited_app(tmp_path: Path) -> Iterator[SlurmApp]:
    """The same where a user may have ten tasks in the queue."""
    for cluster in _start(Options(accounting=True, limits=True)):
        cluster.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=10")
        yield _app(tmp_path, cluster)


@pytest.fixture
def accounted_app(tmp_path: Path, accounting_cluster: SlurmCluster) -> SlurmApp:
    """The same on the cluster with accounting."""
    return _app(tmp_path, accounting_cluster)
