"""Folders like a user's project, and a way to run commands in them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment with few threads, so that two cores are enough."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "140", **changes}


class Workspace:
    """A folder like a user's project, in which commands can be run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(
        self, *command: str, code: int | None = 0, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it; `python` is this interpreter, `expkit` its module."""
        done = subprocess.run(
            self.command(*command),
            cwd=self.folder,
            env=environment(**changes),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if code is not None and done.returncode != code:
            pytest.fail(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *command: str, **changes: str) -> subprocess.Popen[str]:
        """Start a command in it and leave it running."""
        return subprocess.Popen(
            self.command(*command),
            cwd=self.folder,
            env=environment(**changes),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command line with this interpreter."""
        programs = {"python": [sys.executable], "expkit": [sys.executable, "-m", "expkit"]}
        return [*programs[program], *arguments]
