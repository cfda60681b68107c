"""Whether the runs of a task are forked."""

from pathlib import Path

import pytest

from expkit_slurm._task.forking import forking


def test_a_process_without_threads_is_forked():
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        pytest.skip("this process has threads of other tests")
    assert forking()[0]
