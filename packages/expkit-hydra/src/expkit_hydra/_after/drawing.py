"""`plot` beside the runs, now and then, and once after them; `report` once after them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from .._console.command_lines import command_line, short_path
from .processes import VerbStarter, has_metrics

_MOST_COMPLAINTS = 5  # of the last lines of stderr
_STOP_TIMEOUT_S = 5  # a drawing that is to end saves what it has, which takes milliseconds
_FIRST_S = 5.0  # a short sweep is drawn once, after its runs
_FIRST_OF_MANY_S = 60.0  # where a sweeper makes many short batches
_LONGEST_PAUSE_S = 600.0
_PAUSE_GROWTH = 1.5
_SHARE = 0.03  # of one processor
_NICENESS = 10  # the runs come first
_NOT_INSTALLED = 69  # exit code: the verb lacks a package, and not everybody wants a report


class Drawing:
    """`expkit plot`, or another verb that draws, during the runs and after them: one at a time.

    During the runs its priority is low, and pauses between two drawings grow and are long beside
    the time that one takes. What it says counts only after the runs.
    """

    def __init__(
        self,
        experiment: Path,
        package: str | None,
        starter: VerbStarter,
        *,
        verb: str = "plot",
        is_last_batch: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._experiment = experiment
        self._package = package
        self._starter = starter
        self._verb = verb
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._problem: str | None = None
        self._pause_s = _FIRST_S if is_last_batch else _FIRST_OF_MANY_S
        self._due_s = clock() + self._pause_s
        self._began_s = 0.0

    def poll(self) -> None:
        """Start a drawing if it is due."""
        now_s = self._clock()
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._process = None
            self._pause_s = min(_PAUSE_GROWTH * self._pause_s, _LONGEST_PAUSE_S)
            self._due_s = now_s + max(self._pause_s, (now_s - self._began_s) / _SHARE)
        if now_s >= self._due_s:
            self._began_s = now_s
            self.start(is_nice=True)

    def start(self, *, is_nice: bool = False) -> None:
        """Start a drawing, if a run has metrics to be drawn."""
        if self._package is None or not has_metrics(self._experiment):
            return
        arguments = [self._package, self._verb, str(self._experiment)]
        try:
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - read when all is over
            self._process = self._starter.start(arguments, stderr=self._stderr)
        except OSError as error:
            self._problem = f"could not be started ({error})"
            return
        self._problem = None
        if is_nice:
            with contextlib.suppress(OSError, AttributeError):  # it has ended; on Windows
                os.setpriority(os.PRIO_PROCESS, self._process.pid, os.nice(0) + _NICENESS)

    def stop(self) -> None:
        """End what is being drawn: it is outdated, or not wanted any more."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process, self._problem = None, "was stopped"

    def wait(self) -> list[str]:
        """Wait for the drawing after the runs; returns its complaints and whether it failed."""
        notes: list[str] = []
        if self._process is not None and self._stderr is not None:
            self._process.wait()
            self._stderr.seek(0)
            lines = self._stderr.read().decode(errors="replace").strip().splitlines()
            if self._process.returncode == _NOT_INSTALLED and self._verb == "report":
                return []
            notes += [f"{self._verb}: {line}" for line in lines[-_MOST_COMPLAINTS:]]
            if self._process.returncode != 0:
                self._problem = f"ended with exit code {self._process.returncode}"
        if self._problem is not None:
            again = command_line(self._verb, short_path(self._experiment))
            notes.append(f"{self._verb} {self._problem}; the runs are not affected. Again: {again}")
        return notes

    @property
    def succeeded(self) -> bool:
        """Whether the figures show all runs, after `wait`."""
        return self._problem is None
