"""The process of a sibling's verb, and whether the runs have written what it needs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO


def start_verb(
    arguments: Sequence[str], *, stdin: int = subprocess.DEVNULL, stderr: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start `python -m` with these arguments: a package, its verb, what that takes."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        env=_subprocess_environment(),
        # Ctrl-C goes to the whole foreground group, and `sync` has to drain first. In a session of
        # its own, Linux would give it as much time as all of the sweep, however nice it is.
        process_group=0,
    )


def _subprocess_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    environ = os.environ if environ is None else environ
    return {
        key: value for key, value in environ.items() if key not in ("EXPKIT_GRID", "EXPKIT_RUN")
    }


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
