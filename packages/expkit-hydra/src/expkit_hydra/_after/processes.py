"""The processes of siblings' verbs, and whether the runs have written what it needs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class VerbStarter:
    """Starts verbs where and as the sweep was, whatever a run does to the process that it is in.

    Attributes:
        folder: The working directory, from which styles and relative addresses are looked for.
        environ: The environment.
    """

    folder: Path
    environ: Mapping[str, str]

    @classmethod
    def of_this_process(cls, environ: Mapping[str, str] | None = None) -> VerbStarter:
        """One that starts verbs as this process is now, which is no run."""
        environ = os.environ if environ is None else environ
        left_out = ("EXPKIT_GRID", "EXPKIT_RUN")
        variables = {key: value for key, value in environ.items() if key not in left_out}
        return cls(Path.cwd(), variables)

    def start(
        self,
        arguments: Sequence[str],
        *,
        stdin: int = subprocess.DEVNULL,
        stderr: IO[bytes] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start `python -m` with these arguments: a package, its verb, what that takes."""
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            cwd=self.folder,
            env=self.environ,
            # Ctrl-C goes to the whole foreground group, and `sync` has to drain first. In a session
            # of its own, Linux would give it as much time as all of the sweep, however nice it is.
            process_group=0,
        )


def has_journal(experiment: Path) -> bool:
    """Whether a run reports to MLflow."""
    return _some_run_has("tracking.jsonl", experiment)


def has_metrics(experiment: Path) -> bool:
    """Whether a run has something to be drawn."""
    return _some_run_has("metrics.jsonl", experiment)


def _some_run_has(name: str, experiment: Path) -> bool:
    with contextlib.suppress(OSError), os.scandir(experiment / "training") as entries:
        return any(os.path.exists(f"{entry.path}/{name}") for entry in entries)  # noqa: PTH110
    return False
