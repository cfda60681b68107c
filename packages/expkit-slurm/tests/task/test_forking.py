"""Whether the runs of a task are forked."""

from pathlib import Path

import pytest

from expkit_slurm._task.forking import start_method


def test_a_process_without_threads_is_forked():
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        pytest.skip("this process has threads of other tests")
    assert start_method()[0] == "fork"
