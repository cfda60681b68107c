"""Commands of sibling packages during and after the runs: `sync` and `plot`.

They are run as subprocesses if they are installed; none of their failures is fatal, because the
runs are what counts.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .command_lines import command_line, installed_verbs, short_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console


_MOST_COMPLAINTS = 5  # of the last lines of a command's stderr
_LEFT_TO_ANOTHER = 75  # exit code: another process sends, and says so in one line
_DRAIN_TIMEOUT_S = 120  # a tracking server that hangs must not keep the prompt forever


def _subprocess_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    environ = os.environ if environ is None else environ
    return {
        key: value for key, value in environ.items() if key not in ("EXPKIT_GRID", "EXPKIT_RUN")
    }


class TrackingSync:
    """`expkit sync --follow` during the runs: one writer for the embedded tracking store.

    A context manager. The subprocess starts as soon as there is something to synchronise:
    starting it costs a second of imports, which a script without tracking should not pay.
    """

    def __init__(self, experiment: Path, *, wanted: bool) -> None:
        self._experiment = experiment
        self._package = installed_verbs().get("sync") if wanted else None
        self._process: subprocess.Popen[bytes] | None = None
        self._was_stopped = False
        self._next_poll_s = 0.0

    def __enter__(self) -> TrackingSync:
        # A script that has imported the sibling is about to use it.
        if self._package is not None and self._package in sys.modules:
            self._start()
        else:
            self.poll()
        return self

    def poll(self) -> None:
        """Start the subprocess if a run has a journal by now.

        Called after each run, this asks about all of them: the longer it takes, the less often.
        """
        begin_s = time.monotonic()
        if self._package is None or self._process is not None or begin_s < self._next_poll_s:
            return
        if has_journal(self._experiment):
            self._start()
        end_s = time.monotonic()
        self._next_poll_s = end_s + 20 * (end_s - begin_s)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._next_poll_s = 0.0
        self.poll()
        if self._process is None:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # the subprocess drains what is left, and ends
        try:
            self._process.wait(_DRAIN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._was_stopped = True
            self._process.terminate()
            self._process.wait()

    @property
    def synchronised(self) -> bool | None:
        """Whether everything was synchronised when the block ended.

        None if there was nothing to synchronise; False also if another process does it.
        """
        return None if self._process is None else self._process.returncode == 0

    def failure(self) -> str | None:
        """Why tracking is not synchronised, after the block; None if it is, or if another does."""
        if self._process is None or self._process.returncode in (0, _LEFT_TO_ANOTHER):
            return None
        ending = f"ended with exit code {self._process.returncode}"
        if self._was_stopped:
            ending = f"was not done after {_DRAIN_TIMEOUT_S} s and was stopped"
        again = command_line("sync", short_path(self._experiment))
        return f"sync {ending}; the journals are complete. Again: {again}"

    def _start(self) -> None:
        assert self._package is not None
        command = [sys.executable, "-m", self._package, "sync", str(self._experiment), "--follow"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=_subprocess_environment(),
            # Ctrl-C goes to the whole foreground group, and this process has to drain first.
            start_new_session=True,
        )


def run_verbs(verbs: Sequence[str], folder: Path, *, screen: Console) -> tuple[list[str], bool]:
    """Run commands one after another; returns their complaints, and whether all succeeded."""
    installed = installed_verbs()
    notes = []
    succeeded = True
    for verb in verbs:
        has_work = {"sync": has_journal, "plot": _has_metrics}[verb]
        if verb not in installed or not has_work(folder):
            continue
        # It leaves the work to another sweep that is at it, instead of waiting for it.
        options = ["--follow"] if verb == "sync" else []
        with screen.status(f"{verb} …"):
            completed = subprocess.run(
                [sys.executable, "-m", installed[verb], verb, str(folder), *options],
                env=_subprocess_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        complaints = completed.stderr.strip().splitlines()[-_MOST_COMPLAINTS:]
        notes += [f"{verb}: {line}" for line in complaints]
        succeeded &= completed.returncode == 0
        if completed.returncode not in (0, _LEFT_TO_ANOTHER):
            notes.append(
                f"{verb} ended with exit code {completed.returncode}; the runs are not affected. "
                f"Again: {command_line(verb, short_path(folder))}"
            )
    return notes, succeeded


def has_journal(experiment: Path) -> bool:
    return _some_run_has("tracking.jsonl", experiment)


def _has_metrics(experiment: Path) -> bool:
    return _some_run_has("metrics.jsonl", experiment)


def _some_run_has(name: str, experiment: Path) -> bool:
    with contextlib.suppress(OSError), os.scandir(experiment / "training") as entries:
        return any(os.path.exists(f"{entry.path}/{name}") for entry in entries)  # noqa: PTH110
    return False
