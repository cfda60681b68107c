"""Hydra's own suites for launchers and sweepers, with `expkit_slurm` on a real cluster."""

from collections.abc import Iterator

import pytest
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from slurm_cluster import SlurmCluster

SWEEPERS = ["basic", "expkit"]
QUICK = "hydra.launcher.poll_s=0.1"
pytestmark = [
    pytest.mark.usefixtures("on_the_cluster"),
    # The suites' apps set no version_base, whose default still changes the directory.
    pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change"),
]


@pytest.fixture(scope="module")
def on_the_cluster(
    _cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The suites submit from this process, and from processes that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("nothing"))  # away from this repository's batch script
        for name, value in _cluster.environment.items():
            patch.setenv(name, value)
        _cluster.reset()
        yield
        _cluster.reset()


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [
        pytest.param("expkit_slurm", [f"hydra/sweeper={sweeper}", QUICK], id=sweeper)
        for sweeper in SWEEPERS
    ],
)
class TestLauncher(LauncherTestSuite):
    # Of Hydra 1.4, which wants the error itself: from us there is a RuntimeError that names its
    # type, under every launcher.
    test_failure_preserves_task_traceback = None


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [
        pytest.param(
            "expkit_slurm",
            [f"hydra/sweeper={sweeper}", "hydra.sweeper.max_batch_size=2", QUICK],
            id=sweeper,
        )
        for sweeper in SWEEPERS
    ],
)
class TestBatches(BatchedSweeperTestSuite):
    pass


# Under one sweeper: the launcher is given the same by both, and each of these takes seconds.
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [pytest.param({}, ["-m", "hydra/launcher=expkit_slurm", QUICK], id="basic")],
)
class TestIntegration(IntegrationTestSuite):
    pass
