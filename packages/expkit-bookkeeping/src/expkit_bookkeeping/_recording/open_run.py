"""A run folder while this process owns it, from opening to closing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from .._files.durable import sync_folder, write_file
from .._files.yaml_files import yaml_text
from .._runs.claims import Claim, ClaimLost
from .._runs.environment import environment_facts
from .log import RunLog
from .metrics import MetricsFile, metric_lines, metric_rows
from .periodic import PeriodicThread
from .progress import Progress
from .timers import TimerFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._runs.settings import RunSettings
    from .protocols import PendingSaves
    from .sinks import Sinks

WRITE_EVERY_S = 1.0
HEARTBEAT_EVERY_S = 30.0


class OpenRun:
    """Claim, log, metrics and heartbeat of one run, and the order in which they begin and end.

    Attributes:
        folder: The run folder.
        claim: The right to write in it.
        settings: Metric to watch, checkpoints to keep, number of epochs.
        log: The run's log.
        metrics: Its metrics.jsonl.
        progress: What it has logged so far.
        timers: Its timers and their file.
        lost: Why nothing may be written any more; None while the run is ours.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        settings: RunSettings,
        sinks: Sinks,
        console: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = claim.folder
        self.claim = claim
        self.settings = settings
        self.log = RunLog(claim.folder, console=console)
        self.metrics = MetricsFile(claim.folder)
        self.progress = Progress(settings)
        self.timers = TimerFile(claim.folder)
        self.lost: ClaimLost | None = None
        self._saves: PendingSaves | None = None  # from the first checkpoint on
        self._name = claim.folder.name
        self._sinks = sinks
        self._clock = clock
        self._thread = PeriodicThread(self.tick, WRITE_EVERY_S)
        self._heartbeat_at = 0.0
        self._environment: dict[str, object] = {}
        self._warned: set[str] = set()
        self._has_durable_names = False
        self._timers_are_logged = False
        self._earlier_metrics: set[str] = set()  # of earlier attempts, not yet logged by this one

    def start(self, config: Mapping[str, object]) -> None:
        """Write what is known at the start, and begin to write in the background."""
        record = self.claim.record
        self._name = record.run_name
        now = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        self.log.write_banner(f"attempt {record.attempt}, {now}, {record.host}, pid {record.pid}")
        lines = list(metric_lines(self.folder))
        self._earlier_metrics = {name for line in lines for name in line.metrics}
        self.progress.restore(lines)
        if config:
            _write_changed(self.folder / "config.yaml", yaml_text(config))
        self._write_environment()
        self._heartbeat_at = self._clock()
        self._thread.start()
        self._sinks.open({**record.data, "folder": str(self.folder)}, config)
        if lines:  # an earlier attempt may have been killed before a sink had them
            self._sinks.reconcile(lines, cut=False)

    def log_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Queue one line, and hand it to the sinks."""
        if self._earlier_metrics and not self._earlier_metrics.isdisjoint(values):
            self._replace_earlier_metrics(step, values)
        now = self._clock()
        self.metrics.add(step, now, values)
        self.progress.count(step, values)
        self._sinks.log_metrics(values, step, now)

    def request_heartbeat(self) -> None:
        """Let the background thread update run.json at its next turn."""
        self._heartbeat_at = float("inf")

    def await_before_end(self, saves: PendingSaves) -> None:
        """Wait for these saves before the run ends, and let them stop with it."""
        self._saves = saves

    def flush_sinks(self) -> None:
        """Make durable what the sinks have, and once the names of the files in the folder."""
        self._sinks.call("flush")
        if not self._has_durable_names:
            sync_folder(self.folder)  # states/, metrics.jsonl and journals may be new
            self._has_durable_names = True

    def save_timers(self) -> str | None:
        """Update timer.yaml; an error is reported and stops no checkpoint.

        Returns:
            Its content, for the checkpoint; None if there are no timers or it was not saved.
        """
        try:
            if self.timers.has_timers and self.claim.is_highest():
                return self.timers.save()
        except Exception as problem:
            self.warn_once("timers", f"{self.timers.path} was not saved: {problem}")
        return None

    def wait_for_files(self) -> None:
        """Wait until everything saved in the background is written or has failed."""
        if self._saves is not None:
            self._saves.wait()

    def wait_for_checkpoints(self) -> None:
        """Wait until everything saved in the background is written.

        Raises:
            OSError: If that failed.
        """
        if self._saves is not None:
            self._saves.wait()
            self._saves.raise_failed()

    def cut_metrics(self, step: int, size: int | None) -> None:
        """Forget what was logged at or after `step`, which the run will now log again."""
        self.metrics.cut(step, size)
        self._earlier_metrics.clear()
        lines = list(metric_lines(self.folder))
        self.progress.restore(lines)
        self._sinks.reconcile(lines, cut=True)

    def _replace_earlier_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Drop what earlier attempts logged: an attempt that did not resume has its own curves."""
        names = self._earlier_metrics.intersection(values)
        self._earlier_metrics -= names
        rows = metric_rows(self.folder)
        replaced = [at for at, row in rows.items() if at >= step and not names.isdisjoint(row)]
        if not replaced:
            return
        self.metrics.replace(names, step)
        self.progress.restore(metric_lines(self.folder))
        self.warn_once(
            "replaced",
            f"This attempt logs {', '.join(sorted(names))} from step {step} again without "
            f"resume(): what an earlier one logged up to step {replaced[-1]} is replaced, and "
            "kept in metrics.jsonl.replaced.",
        )

    def tick(self) -> None:
        """What the background thread does each second."""
        if self.lost is not None:
            return
        try:
            if not self.claim.is_highest():
                self.claim.heartbeat()  # raises, and says what happened
            self.metrics.write()
            now = self._clock()
            # Two comparisons, as a clock that is set back must not silence the heartbeat.
            if not self._heartbeat_at <= now < self._heartbeat_at + HEARTBEAT_EVERY_S:
                self._heartbeat_at = now
                self.claim.update(**self.progress.facts())
        except ClaimLost as lost:
            self.lost = lost
        except Exception as problem:  # a full disk today may have room tomorrow
            self.warn_once(
                f"writing {type(problem).__name__}", f"{self.folder} cannot be written: {problem}"
            )

    def finish(self, state: str, error: BaseException | None) -> None:
        """Record how the run ended.

        Raises:
            ClaimLost: If somebody else has claimed the run.
            OSError: If the state could not be written, or the metrics or a checkpoint, which makes
                the run a failed one.
        """
        try:
            state, unwritten = self._record(state, error)
        except (KeyboardInterrupt, SystemExit):
            # Ctrl-C or SIGTERM at this point does not change how the training ended.
            self._record(state, error)
            raise
        # Last, as a sink may be slow: if the process is killed now, the state is recorded.
        self._sinks.call("close", state)
        self.log.write(f"Run {self._name!r} {state}.", "info", console=False)
        if unwritten is not None:
            raise unwritten

    def abandon(self) -> None:
        """Keep what was logged and stop: another object of this process takes over."""
        self.wait_for_files()
        self.save_timers()
        with contextlib.suppress(Exception):
            self.metrics.write(sync=True)
        self.release()

    def release(self) -> None:
        """Stop the threads and close the log file; nothing is written from here on."""
        if self._saves is not None:
            self._saves.stop()
        self._thread.stop()
        self.log.close()

    def warn(self, text: str) -> None:
        """Log a warning; an error of the disk is ignored."""
        with contextlib.suppress(OSError):
            self.log.write(text, "warning", console=True)

    def report_error(self, text: str) -> None:
        """Log an error that will be raised later."""
        with contextlib.suppress(OSError):
            self.log.write(text, "error", console=True)

    def warn_once(self, key: str, text: str) -> None:
        """Log a warning, unless there was one under this key."""
        if key not in self._warned:
            self._warned.add(key)
            self.warn(text)

    def _record(self, state: str, error: BaseException | None) -> tuple[str, BaseException | None]:
        self.wait_for_files()  # before the heartbeat stops, as the disk may be slow
        unsaved = None if self._saves is None else self._saves.error()
        self._thread.stop()
        if self.lost is not None:
            raise self.lost
        if state == "failed" and error is not None:
            import traceback

            text = "".join(traceback.format_exception(error)).rstrip()
            self.log.write(text, "error", console=False)
        unwritten = unsaved
        if unsaved is not None and state == "completed":  # its last checkpoint is missing
            state = "failed"
        try:
            self.metrics.write(sync=True)
        except OSError as problem:  # a run whose metrics are lost is not completed
            unwritten, state = problem, "failed"
        self.save_timers()
        self._complete_sinks()  # a completed run is never resumed, which would complete them
        with contextlib.suppress(OSError):
            self._write_environment()
        recorded_error = None if state == "completed" else error or unwritten
        self.claim.finish(state, recorded_error, **self.progress.facts())
        return state, unwritten

    def _complete_sinks(self) -> None:
        """Give the sinks the timers, once, and make durable what they have."""
        if self.timers.has_timers and not self._timers_are_logged:
            self._timers_are_logged = True
            for name, statistics in self.timers.statistics().items():
                self._sinks.call("log_timer", name, statistics)
        self._sinks.call("flush")

    def _write_environment(self) -> None:
        """Write environment.yaml: at the start and, with what was imported since, at the end."""
        facts = environment_facts()
        if facts != self._environment:
            _write_changed(self.folder / "environment.yaml", yaml_text(facts))
            self._environment = facts


def _write_changed(path: Path, text: str) -> None:
    """Write a file if its text changed; each heartbeat makes moves in this folder durable."""
    with contextlib.suppress(OSError, UnicodeError):
        if path.read_text(encoding="utf-8") == text:
            return
    write_file(path, text, sync_parent=False)
