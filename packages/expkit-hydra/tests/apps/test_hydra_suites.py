"""Hydra's own suites for launchers and sweepers, with the sweeper and the launcher `expkit`."""

import pytest
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

PAIRS = [("basic", "expkit"), ("expkit", "basic"), ("expkit", "expkit")]  # sweeper, launcher
# The suites' apps set no version_base, whose default still changes the directory.
pytestmark = pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change")


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [
        pytest.param(launcher, [f"hydra/sweeper={sweeper}"], id=f"{sweeper}-{launcher}")
        for sweeper, launcher in PAIRS
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
            launcher,
            [f"hydra/sweeper={sweeper}", "hydra.sweeper.max_batch_size=2"],
            id=f"{sweeper}-{launcher}",
        )
        for sweeper, launcher in PAIRS
    ],
)
class TestBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [
        pytest.param(
            {},
            ["-m", f"hydra/sweeper={sweeper}", f"hydra/launcher={launcher}"],
            id=f"{sweeper}-{launcher}",
        )
        for sweeper, launcher in PAIRS
    ],
)
class TestIntegration(IntegrationTestSuite):
    pass
