"""A run folder while this process owns it: what is held between opening and closing."""

import contextlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from ._background import Background
from ._claims import Claim, ClaimLost
from ._environment import environment_facts
from ._files import write_file
from ._logs import RunLog
from ._metrics import MetricsFile, metric_rows
from ._progress import Progress
from ._settings import RunSettings
from ._sinks import Sinks
from ._timer_files import TimerFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._saver import CheckpointSaver

WRITE_EVERY_S = 1.0
HEARTBEAT_EVERY_S = 30.0


class OpenRun:
    """Claim, log, metrics and heartbeat of one run, and the order in which they begin and end.

    Attributes:
        log: The run's log.
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
        self.log = RunLog(claim.folder, console=console)
        self.progress = Progress(settings)
        self.timers = TimerFile(claim.folder)
        self._settings = settings
        self._saver: CheckpointSaver | None = None  # from the first checkpoint on
        self.lost: ClaimLost | None = None
        self._claim = claim
        self._name = claim.folder.name
        self._sinks = sinks
        self._clock = clock
        self._metrics = MetricsFile(claim.folder)
        self._background = Background(self.tick, WRITE_EVERY_S)
        self._beat_at = 0.0
        self._environment: dict[str, object] = {}
        self._complaints: set[str] = set()
        self._of_earlier_attempts: set[str] = set()  # metrics that this one has not logged yet

    def start(self, config: Mapping[str, object]) -> None:
        """Write what is known at the start, and begin to write in the background."""
        record = self._claim.record
        self._name = record.run_name
        now = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        self.log.banner(f"attempt {record.attempt}, {now}, {record.host}, pid {record.pid}")
        rows = metric_rows(self.folder)
        self._of_earlier_attempts = {name for row in rows.values() for name in row}
        self.progress.recall(rows)
        if config:
            _write_changed(self.folder / "config.yaml", _yaml(config))
        self._write_environment()
        self._beat_at = self._clock()
        self._background.start()
        self._sinks.open({**record.data, "folder": str(self.folder)}, config)

    def log_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Queue one line, and hand it to the sinks."""
        if self._of_earlier_attempts and not self._of_earlier_attempts.isdisjoint(values):
            self._replace_earlier(step, values)
        now = self._clock()
        self._metrics.add(step, now, values)
        self.progress.count(step, values)
        self._sinks.log_metrics(values, step, now)

    def beat_soon(self) -> None:
        """Let run.json tell what was logged at the background thread's next turn."""
        self._beat_at = float("inf")

    @property
    def checkpoints(self) -> "CheckpointSaver":
        """What saves them, made for the first one, as its modules take their time."""
        if self._saver is None:
            from ._saver import CheckpointSaver

            self._saver = CheckpointSaver(self, self._claim, self._metrics, self._settings)
        return self._saver

    def flush(self) -> None:
        """Let the sinks write what they have."""
        self._sinks.tell("flush")

    def save_timers(self) -> str | None:
        """Bring timer.yaml up to date; what goes wrong is reported and stops no checkpoint.

        Returns:
            What it holds, for the checkpoint; None where there are no timers or it is not known.
        """
        try:
            if self.timers.has_timers and self._claim.is_highest():
                return self.timers.save()
        except Exception as problem:
            self.complain_once("timers", f"{self.timers.path} was not saved: {problem}")
        return None

    def wait_for_files(self) -> None:
        """Until what is saved in the background is written, or could not be."""
        if self._saver is not None:
            self._saver.wait()

    def wait_for_checkpoints(self) -> None:
        """Until what is saved in the background is written.

        Raises:
            OSError: If that failed.
        """
        if self._saver is not None:
            self._saver.wait()
            self._saver.raise_failed()

    def cut_metrics(self, step: int, size: int | None) -> None:
        """Forget what was logged at or after `step`, which the run will now log again."""
        self._metrics.cut(step, size)
        self._of_earlier_attempts.clear()
        self.progress.recall(metric_rows(self.folder))

    def _replace_earlier(self, step: int, values: Mapping[str, float]) -> None:
        """An attempt that did not resume logs its own curves: two attempts make no one curve."""
        names = self._of_earlier_attempts.intersection(values)
        self._of_earlier_attempts -= names
        rows = metric_rows(self.folder)
        replaced = [at for at, row in rows.items() if at >= step and not names.isdisjoint(row)]
        if not replaced:
            return
        self._metrics.replace(names, step)
        self.progress.recall(metric_rows(self.folder))
        self.complain_once(
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
            if not self._claim.is_highest():
                self._claim.heartbeat()  # finds the words for what happened
            self._metrics.write()
            now = self._clock()
            # Two comparisons, as a clock that is set back must not silence the heartbeat.
            if not self._beat_at <= now < self._beat_at + HEARTBEAT_EVERY_S:
                self._beat_at = now
                self._claim.update(**self.progress.facts())
        except ClaimLost as lost:
            self.lost = lost
        except Exception as problem:  # a full disk today may have room tomorrow
            self.complain_once(
                f"writing {type(problem).__name__}", f"{self.folder} cannot be written: {problem}"
            )

    def finish(self, state: str, error: BaseException | None) -> None:
        """Record how the run ended.

        Raises:
            ClaimLost: If somebody else has claimed the run.
            OSError: If the metrics or a checkpoint, which makes the run a failed one, or the
                state could not be written.
        """
        try:
            state, unwritten = self._record(state, error)
        except (KeyboardInterrupt, SystemExit):
            # Ctrl-C or SIGTERM meanwhile does not change how the training ended.
            self._record(state, error)
            raise
        # Last, as a sink may take its time: if it is killed now, the state stands.
        if self.timers.has_timers:
            for name, statistics in self.timers.statistics().items():
                self._sinks.tell("log_timer", name, statistics)
        self._sinks.tell("close", state)
        self.log.write(f"Run {self._name!r} {state}.", "info", console=False)
        if unwritten is not None:
            raise unwritten

    def abandon(self) -> None:
        """Keep what was logged and stop, as another object of this process goes on here."""
        self.wait_for_files()
        self.save_timers()
        with contextlib.suppress(Exception):
            self._metrics.write(sync=True)
        self.release()

    def release(self) -> None:
        """Let go of the threads and the log file; nothing is written from here on."""
        if self._saver is not None:
            self._saver.stop()
        self._background.stop()
        self.log.close()

    def warn(self, text: str) -> None:
        """Tell the user, and go on."""
        with contextlib.suppress(OSError):
            self.log.write(text, "warning", console=True)

    def report_error(self, text: str) -> None:
        """Tell the user of what will be raised later."""
        with contextlib.suppress(OSError):
            self.log.write(text, "error", console=True)

    def complain_once(self, key: str, text: str) -> None:
        """Warn, unless it was done before under this key."""
        if key not in self._complaints:
            self._complaints.add(key)
            self.warn(text)

    def _record(self, state: str, error: BaseException | None) -> tuple[str, BaseException | None]:
        self.wait_for_files()  # with the heartbeat going on, as the disk may be slow
        unsaved = None if self._saver is None else self._saver.error()
        self._background.stop()
        if self.lost is not None:
            raise self.lost
        if state == "failed" and error is not None:
            import traceback

            text = "".join(traceback.format_exception(error)).rstrip()
            self.log.write(text, "error", console=False)
        unwritten = unsaved
        if unsaved is not None and state == "completed":  # without the state that it ends with
            state = "failed"
        try:
            self._metrics.write(sync=True)
        except OSError as problem:  # a run whose metrics are lost is not completed
            unwritten, state = problem, "failed"
        self.save_timers()
        with contextlib.suppress(OSError):
            self._write_environment()
        shown = None if state == "completed" else error or unwritten
        self._claim.finish(state, shown, **self.progress.facts())
        return state, unwritten

    def _write_environment(self) -> None:
        """At the start and, with what was imported meanwhile, at the end."""
        facts = environment_facts()
        if facts != self._environment:
            _write_changed(self.folder / "environment.yaml", _yaml(facts))
            self._environment = facts


def _write_changed(path: Path, text: str) -> None:
    """Write a file for the reader; each heartbeat makes moves in this folder durable."""
    with contextlib.suppress(OSError, UnicodeError):
        if path.read_text(encoding="utf-8") == text:
            return
    write_file(path, text, sync_parent=False)


def _yaml(value: object) -> str:
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100))
