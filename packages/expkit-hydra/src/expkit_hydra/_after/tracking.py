"""`sync --follow` beside the runs."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from .._console.command_lines import command_line, short_path
from .processes import VerbStarter, has_journal

_LEFT_TO_ANOTHER = 75  # exit code: another process sends, and says so in one line
_DRAIN_TIMEOUT_S = 120  # a tracking server that hangs must not keep the prompt forever


class TrackingSync:
    """`expkit sync --follow` during the runs: one writer for the embedded tracking store.

    The subprocess starts as soon as there is something to synchronise: starting it costs a second
    of imports, which a script without tracking should not pay.
    """

    def __init__(self, experiment: Path, package: str | None, starter: VerbStarter) -> None:
        self._experiment = experiment
        self._package = package
        self._starter = starter
        self._process: subprocess.Popen[bytes] | None = None
        self._problem: str | None = None

    def start_if_imported(self) -> None:
        """Start the subprocess if the script has imported the sibling: it is about to use it."""
        if self._package in sys.modules:
            self._start()

    def poll(self) -> None:
        """Start the subprocess if a run has a journal by now."""
        if self._package is not None and self._process is None and has_journal(self._experiment):
            self._start()

    def drain(self) -> None:
        """Wait until everything is sent, and the subprocess has ended."""
        self.poll()
        if self._process is None:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # the subprocess drains what is left, and ends
        try:
            self._process.wait(_DRAIN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._problem = f"was not done after {_DRAIN_TIMEOUT_S} s and was stopped"
            self._process.terminate()
            self._process.wait()
        if self._problem is None and self._process.returncode not in (0, _LEFT_TO_ANOTHER):
            self._problem = f"ended with exit code {self._process.returncode}"

    @property
    def succeeded(self) -> bool:
        """Whether nothing is left to be sent; False also if another process sends it."""
        has_sent = self._process is None or self._process.returncode == 0
        return has_sent and self._problem is None

    def failure(self) -> str | None:
        """Why something is left to be sent; None if nothing is, or if another process does."""
        if self._problem is None:
            return None
        again = command_line("sync", short_path(self._experiment))
        return f"sync {self._problem}; the journals are complete. Again: {again}"

    def _start(self) -> None:
        assert self._package is not None
        arguments = [self._package, "sync", str(self._experiment), "--follow"]
        try:
            self._process = self._starter.start(arguments, stdin=subprocess.PIPE)
        except OSError as error:
            self._problem = f"could not be started ({error})"
        else:
            self._problem = None
