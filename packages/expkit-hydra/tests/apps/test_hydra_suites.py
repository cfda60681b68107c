"""Hydra's own suites for launchers and sweepers, with the sweeper `expkit`."""

import pytest
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

LAUNCHERS = ["basic", "expkit"]
# The suites' apps set no version_base, whose default still changes the directory.
pytestmark = pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change")


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [pytest.param(launcher, ["hydra/sweeper=expkit"], id=launcher) for launcher in LAUNCHERS],
)
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [
        pytest.param(
            launcher, ["hydra/sweeper=expkit", "hydra.sweeper.max_batch_size=2"], id=launcher
        )
        for launcher in LAUNCHERS
    ],
)
class TestBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [
        pytest.param({}, ["-m", "hydra/sweeper=expkit", f"hydra/launcher={launcher}"], id=launcher)
        for launcher in LAUNCHERS
    ],
)
class TestIntegration(IntegrationTestSuite):
    pass
