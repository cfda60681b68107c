"""The commands in messages can be run as they are."""

import os
import shlex
import subprocess
import sys

import pytest

from expkit_mlflow._addresses.command_lines import command_line


@pytest.mark.parametrize("in_environment", [True, False])
def test_without_the_command_expkit_the_module_is_named(tmp_path, monkeypatch, in_environment):
    folder = tmp_path / "my results"
    (folder / "training").mkdir(parents=True)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(python.parent))
    if in_environment:
        monkeypatch.setattr(sys, "executable", str(python))

    command = command_line("sync", folder)

    program = "python" if in_environment else shlex.quote(sys.executable)
    assert command == f"{program} -m expkit_mlflow sync '{folder}'"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
