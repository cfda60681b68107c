"""A run folder while this process owns it, from opening to closing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from .._files.append_files import read_file
from .._files.durable import sync_folder, write_file
from .._files.texts import text_of, traceback_text
from .._files.yaml_files import yaml_text
from .._provenance.environment import environment_facts
from .._runs.claims import Claim
from .._runs.refusals import ClaimLost
from .._runs.takeover import continued_under, resumed_at
from .log import RunLog
from .metrics import MetricsFile, metric_lines, metric_rows
from .periodic import PeriodicThread
from .progress import Progress
from .timers import TimerFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._runs.records import RunRecord
    from .._runs.settings import RunSettings
    from .finished_run import FinishedRun
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
        completed: What this attempt has only added to so far: the completed run as it was. None
            where it trains.
        lost: Why nothing may be written any more; None while the run is ours.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        settings: RunSettings,
        sinks: Sinks,
        console: bool,
        adds: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = claim.folder
        self.claim = claim
        self.completed: RunRecord | None = claim.record if adds else None
        self.lost: ClaimLost | None = None
        self.settings = settings
        self.log = RunLog(claim.folder, console=console, check=self.check)
        self.metrics = MetricsFile(claim.folder, self.check)
        self.progress = Progress(settings)
        self.timers = TimerFile(claim.folder, self.check)
        self._saves: PendingSaves | None = None  # from the first checkpoint on
        self._name = claim.folder.name
        self._sinks = sinks
        self._clock = clock
        self._thread = PeriodicThread(self.tick, WRITE_EVERY_S)
        self._heartbeat_at = 0.0
        self._environment: dict[str, object] = {}
        self._warned: set[str] = set()
        self._config: Mapping[str, object] = {}
        self._has_durable_names = False
        self._timers_are_logged = False
        self._earlier_metrics: set[str] = set()  # of earlier attempts, not yet logged by this one
        self._trained_metrics: set[str] = set()  # of a completed run: what its training logged
        self._added_metrics: set[str] | None = None  # beside those; None if never any
        # For when the training begins: where it was restored, as `resume_at` is told.
        self._cut: tuple[int, int | None, str | None, int | None] | None = None

    def check(self) -> None:
        """Check that the run is still ours: whatever changes a file in its folder asks this first.

        Raises:
            ClaimLost: If somebody else has claimed it, or it was moved away.
        """
        if self.lost is not None:
            raise self.lost
        try:
            self.claim.check()
        except ClaimLost as lost:
            self.lost = lost
            raise

    def start(
        self,
        config: Mapping[str, object],
        *,
        stored_config: Mapping[str, object] | None = None,
        first_metrics: Collection[str] = (),
    ) -> None:
        """Write what is known at the start, and begin to write in the background.

        Args:
            config: The configuration.
            stored_config: What a completed run has in config.yaml, which sinks get if it is only
                added to.
            first_metrics: The metrics that are logged first.
        """
        record = self.claim.record
        self._name = record.run_name
        now = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        self.log.write_banner(f"attempt {record.attempt}, {now}, {record.host}, pid {record.pid}")
        lines = list(metric_lines(self.folder))
        self._earlier_metrics = {name for line in lines for name in line.metrics}
        self.progress.restore(lines, record)
        self._added_metrics = added_metrics(record) or None
        self._config = config
        if self.completed is None:
            self._write_configuration()
        else:
            self._trained_metrics = self._earlier_metrics - added_metrics(record)
            if self._trained_metrics.isdisjoint(first_metrics) and first_metrics:
                config = stored_config or config
        self._heartbeat_at = self._clock()
        self._thread.start()
        self._sinks.open({**record.data, "folder": str(self.folder)}, config)
        if lines:  # an earlier attempt may have been killed before a sink had them
            self._sinks.reconcile(lines, cut=False)

    @property
    def has_changed(self) -> bool:
        """Whether this attempt trains with another configuration than an earlier one."""
        return self.completed is not None or bool(self.claim.record.continued)

    @property
    def best(self) -> dict[str, object] | None:
        """Best value of `expkit.metric`; a completed run's, while it is only added to."""
        if self.completed is not None and self.completed.best is not None:
            return dict(self.completed.best)
        return self.progress.best

    def begin_training(self) -> None:
        """Let this be an attempt like any other, and no longer a completed run with additions."""
        if self.completed is None:
            return
        self.completed = None
        self._added_metrics = self.progress.names - self._trained_metrics
        self._trained_metrics.clear()
        continued = continued_under(
            self.claim.record, self._config or None, attempt=self.claim.attempt
        )
        if self._cut is not None:
            step, size, timers, epoch = self._cut
            until = self.metrics.size_at_start
            self.cut_metrics(step, size if until is not None else None, until=until)
            self.timers.restore(timers)
            continued = resumed_at(continued, epoch)
        self._write_configuration()
        self.claim.begin_training(continued=continued, **self._facts())

    def resume_at(
        self, epoch: int | None, step: int | None, size: int | None, timers: str | None
    ) -> None:
        """Forget what was logged and timed after a checkpoint, once the training goes on from it.

        Args:
            epoch: The epoch to run next; None if there was no checkpoint.
            step: The last step that it covers, -1 for none; None: all that was logged is forgotten.
            size: Bytes of metrics.jsonl that it covers; None if unknown.
            timers: The content of timer.yaml then; see `TimerFile.restore`.
        """
        # Without a checkpoint the run starts at 0 and forgets what an earlier attempt logged.
        step = 0 if step is None else step + 1
        if self.completed is not None:
            self._cut = step, size, timers, epoch
            return
        self.cut_metrics(step, size)
        self.timers.restore(timers)
        if epoch is None:
            self._forget_earlier_uses()
        before = self.claim.record.continued
        if before:
            self.claim.update(continued=resumed_at(before, epoch))

    def log_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Queue one line, and hand it to the sinks."""
        if self._earlier_metrics and not self._earlier_metrics.isdisjoint(values):
            if not self._trained_metrics.isdisjoint(values):
                self.begin_training()
            self._replace_earlier_metrics(step, values)
        if self._added_metrics and self.completed is None:
            self._added_metrics.difference_update(values)
        now = self._clock()
        self.metrics.add(step, now, values)
        self.progress.count(step, values)
        self._sinks.log_metrics(values, step, now)

    def request_heartbeat(self) -> None:
        """Let the background thread update run.json at its next turn."""
        self._heartbeat_at = float("inf")

    def log_artifact(self, path: Path) -> None:
        """Hand a file of the run folder to the sinks."""
        self._sinks.call("log_artifact", path)

    def take_over(self, finished: FinishedRun, act: str) -> None:
        """Take what a completed run was given before this attempt began, and say that it begins.

        Args:
            finished: The completed run, which ends here.
            act: What began the attempt, such as `log_metrics`.
        """
        finished.release()
        begins = "starts" if self.claim.attempt > finished.record.attempt else "continues"
        self.log.write(
            f"The run {self._name!r} was completed: {act} {begins} its attempt "
            f"{self.claim.attempt}.",
            "info",
            console=True,
        )
        self.timers.take_from(finished.timers)
        for path in finished.artifacts:
            self.log_artifact(path)

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
            if self.timers.has_timers:
                return self.timers.save()
        except ClaimLost:  # whoever waits for the checkpoint, or for the end, hears of it
            pass
        except Exception as problem:
            self.warn_once("timers", f"{self.timers.path} was not saved: {text_of(problem)}")
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

    def cut_metrics(self, step: int, size: int | None, *, until: int | None = None) -> None:
        """Forget what was logged at or after `step`, which the run will now log again."""
        self.metrics.cut(step, size, until=until)
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
        self._forget_earlier_uses()
        self.metrics.replace(names, step)
        if step == 0 and self.claim.record.continued:  # nothing of an earlier configuration is left
            self.claim.update(continued=[])
        self.progress.restore(metric_lines(self.folder))
        self.warn_once(
            "replaced",
            f"This attempt logs {', '.join(sorted(names))} from step {step} again without "
            f"resume(): what an earlier one logged up to step {replaced[-1]} is replaced, and "
            "kept in metrics.jsonl.replaced.",
        )

    def _forget_earlier_uses(self) -> None:
        """Forget the runs that earlier attempts were built on: this one starts anew."""
        uses = self.claim.record.data.get("uses")
        if isinstance(uses, list):
            own = {"by_attempt": self.claim.attempt}.items()
            kept = [use for use in uses if isinstance(use, dict) and own <= use.items()]
            self.claim.update(uses=kept)

    def tick(self) -> None:
        """What the background thread does each second."""
        if self.lost is not None:
            return
        try:
            self.check()
            self.metrics.write()
            now = self._clock()
            # Two comparisons, as a clock that is set back must not silence the heartbeat.
            if not self._heartbeat_at <= now < self._heartbeat_at + HEARTBEAT_EVERY_S:
                self._heartbeat_at = now
                self.claim.update(**self._facts())
        except ClaimLost as lost:
            self.lost = lost  # run.json's own check has found it
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
        self.metrics.close()
        self.log.close()
        self.claim.release()

    def warn(self, text: str) -> None:
        """Log a warning; an error of the disk is ignored."""
        with contextlib.suppress(OSError, ClaimLost):
            self.log.write(text, "warning", console=True)

    def report_error(self, text: str) -> None:
        """Log an error that will be raised later."""
        with contextlib.suppress(OSError, ClaimLost):
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
        self.check()
        if self.completed is not None and unsaved is None:
            if error is not None:
                self.warn(
                    f"{type(error).__name__} ended the block, in which the completed run was "
                    "not trained: it stays completed."
                )
            state, error = "completed", None
        if state == "failed" and error is not None:
            self.log.write(traceback_text(error).rstrip(), "error", console=False)
        unwritten = unsaved
        if unsaved is not None and state == "completed":  # its last checkpoint is missing
            state = "failed"
        try:
            self.metrics.write(sync=True)
        except Exception as problem:  # a run whose metrics are lost is not completed
            unwritten, state = problem, "failed"
        self.save_timers()
        self._complete_sinks()  # a completed run is never resumed, which would complete them
        if self.completed is None:
            with contextlib.suppress(Exception):
                self._write_environment()
        # Not `error or unwritten`: an exception of the user's may be false, or raise when asked.
        recorded_error = unwritten if error is None else error
        if state == "completed":
            recorded_error = None
        self.claim.finish(state, recorded_error, **self._facts())
        return state, unwritten

    def _complete_sinks(self) -> None:
        """Give the sinks the timers, once, and make durable what they have."""
        if self.timers.has_timers and not self._timers_are_logged:
            self._timers_are_logged = True
            for name, statistics in self.timers.statistics().items():
                self._sinks.call("log_timer", name, statistics)
        self._sinks.call("flush")

    def _facts(self) -> dict[str, object]:
        """What run.json says of the progress; a completed run's stays where it was."""
        facts = self.progress.facts()
        if self.completed is not None:
            facts["best"] = self.best
            if self.completed.progress is not None:
                facts["progress"] = self.completed.progress
            self._added_metrics = self.progress.names - self._trained_metrics or None
        if self._added_metrics is not None:
            facts["added_metrics"] = sorted(self._added_metrics)
        return facts

    def _write_configuration(self) -> None:
        if self._config:
            self._write_changed("config.yaml", yaml_text(self._config))
        self._write_environment()

    def _write_environment(self) -> None:
        """Write environment.yaml: at the start and, with what was imported since, at the end."""
        facts = environment_facts()
        if facts != self._environment:
            self._write_changed("environment.yaml", yaml_text(facts))
            self._environment = facts

    def _write_changed(self, name: str, text: str) -> None:
        """Write a file if its text changed; each heartbeat makes moves in this folder durable."""
        path = self.folder / name
        with contextlib.suppress(OSError, UnicodeError):
            if read_file(path).decode() == text:
                return
        write_file(path, text, check=self.check, sync_parent=False)


def added_metrics(record: RunRecord) -> set[str]:
    """The metrics that were logged after a run was completed, beside those of its training."""
    names = record.data.get("added_metrics")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
