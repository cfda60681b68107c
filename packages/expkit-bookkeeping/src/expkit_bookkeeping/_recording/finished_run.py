"""A completed run that is read and evaluated: written beside, never claimed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from .._runs.records import Liveness, RunRecord, find_run
from .._runs.refusals import ClaimLost, check_still_completed
from .._runs.settings import read_config
from .log import RunLog
from .timers import TimerFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .sinks import Sinks


class FinishedRun:
    """What may be written to a completed run without an attempt: results, states, log, timers.

    Its run.json, config.yaml and metrics stay as they are, however the block is left. Sinks are
    opened when it ends, and only if there is something for them.

    Attributes:
        folder: The run folder.
        record: The run as it was when it was opened.
        config: Its config.yaml; None if it has none that can be read.
        log: Its log.
        timers: Its timers and their file.
        artifacts: Files that the sinks get at the end.
    """

    def __init__(
        self, record: RunRecord, *, sinks: Sinks, console: bool, is_alive: Liveness
    ) -> None:
        self.folder = record.folder
        self.record = record
        self.config: dict[str, object] | None = None
        with contextlib.suppress(OSError, ValueError):
            self.config = read_config(record.folder)
        self.log = RunLog(record.folder, console=console, check=self.check)
        self.timers = TimerFile(record.folder, self.check)
        self.artifacts: list[Path] = []
        self._sinks = sinks
        self._is_alive = is_alive

    @property
    def best(self) -> dict[str, object] | None:
        """The best value that run.json has."""
        return None if self.record.best is None else dict(self.record.best)

    def check(self) -> None:
        """Check that the folder still holds this run, and that nobody trains it again.

        Raises:
            ClaimLost: If it was moved away, or is being or was run again; nothing is written.
        """
        check_still_completed(find_run(self.folder, is_alive=self._is_alive), self.record)

    def log_artifact(self, path: Path) -> None:
        """Keep a file of the run folder for the sinks."""
        self.artifacts.append(path)

    def wait_for_checkpoints(self) -> None:
        """Return: nothing is saved in the background."""

    def finish(self) -> None:
        """Save the timers, and hand the sinks what there is for them.

        Raises:
            ClaimLost: As `check`, if there is something to write.
        """
        if not self.timers.has_timers and not self.artifacts:
            return
        self.check()
        statistics = {}
        if self.timers.has_timers:
            with contextlib.suppress(OSError):
                self.timers.save()
            statistics = self.timers.statistics()
        self._sinks.open({**self.record.data, "folder": str(self.folder)}, self.config or {})
        for path in self.artifacts:
            self._sinks.call("log_artifact", path)
        for name, numbers in statistics.items():
            self._sinks.call("log_timer", name, numbers)
        self._sinks.call("close", "completed")

    def release(self) -> None:
        """Close the log file; nothing is written from here on."""
        self.log.close()

    def warn(self, text: str) -> None:
        """Log a warning; what became of the run is said where something is written."""
        with contextlib.suppress(OSError, ClaimLost):
            self.check()
            self.log.write(text, "warning", console=True)
