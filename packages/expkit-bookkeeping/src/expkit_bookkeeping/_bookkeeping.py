"""`Bookkeeping`: the thin face that training code uses, over functions on a run folder."""

import atexit
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from ._claims import FINAL_STATES, Claim, ClaimLost, claim_run
from ._environment import environment_facts
from ._files import write_file
from ._logs import RunLog
from ._metrics import MetricsFile, metric_rows, numbers, whole_step
from ._ranks import process_rank
from ._records import Liveness, is_alive
from ._settings import Settings, folder_name, plain_config, run_folder, run_settings
from ._signals import stop_requested, stop_signals, termination_requested

WRITE_EVERY_S = 1.0
HEARTBEAT_EVERY_S = 30.0


class Sink(Protocol):
    """Where metrics go besides metrics.jsonl. All methods run on the training thread."""

    def open(self, run: Mapping[str, object], config: Mapping[str, object]) -> None:
        """Begin; `run` is the content of run.json plus `folder`, `config` is plain data."""

    def log_metrics(self, metrics: Mapping[str, float], step: int, time: float) -> None:
        """Take what `Bookkeeping.log_metrics` was given, at `time` seconds since the epoch."""

    def log_artifact(self, path: Path) -> None:
        """Take a file of the run folder."""

    def log_timer(self, name: str, statistics: Mapping[str, float]) -> None:
        """Take one timer's statistics, as timer.yaml names them."""

    def flush(self) -> None:
        """A checkpoint was saved."""

    def close(self, state: str) -> None:
        """End; the state is completed, failed or interrupted."""


class _Savable(Protocol):
    def save(self, path: Path) -> object: ...


class Bookkeeping:
    """One run's folder: claim, state, log, metrics, checkpoints and results.

    Use it as a context manager. Entering claims the folder and starts the heartbeat; leaving
    records `completed`, `failed` (with the error) or `interrupted`. In a notebook, `open` and
    `close` do the same. Only rank 0 claims and writes; on other ranks the same code runs and
    writes nothing.

    Args:
        folder: The run folder. In `EXPERIMENT/training/RUN` it is found by `find_runs` and
            `results`.
        config: The run's configuration, written to config.yaml and handed to the sinks.
        sinks: Where metrics, artifacts and timers go besides the folder; see `Sink`.
        run_name: Name of the run; by default the folder's name.
        experiment_id: Name of the experiment; by default the experiment folder's name.
        settings: Metric to watch, checkpoints to keep, number of epochs; by default those of
            the configuration.
        rank: Rank of this process; by default RANK, else SLURM_PROCID, else 0.
        console: Whether `log` also writes to the console.
        is_alive: Tells whether the present holder of the folder lives.
        clock: Seconds since the epoch.

    Raises:
        TypeError: If the configuration holds something that is not data.
        ValueError: If a setting or the rank is not allowed.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        config: object = None,
        sinks: Sequence[Sink] = (),
        run_name: str | None = None,
        experiment_id: str | None = None,
        settings: Settings | None = None,
        rank: int | None = None,
        console: bool = True,
        is_alive: Liveness = is_alive,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # absolute(), as the training code may change the working directory
        self.folder = Path(folder).absolute()
        self.config = {} if config is None else plain_config(config)
        self.settings = run_settings(self.config) if settings is None else settings
        self.rank = process_rank(rank)
        self.run_name = self.folder.name if run_name is None else folder_name(run_name, "run_name")
        inside = self.folder.parent.name == "training"
        self.experiment_id = experiment_id or (self.folder.parent.parent.name if inside else None)
        for sink in sinks:
            _check_sink(sink)
        self._sinks = list(sinks)
        self._console = console
        self._is_alive = is_alive
        self._clock = clock
        self._claim: Claim | None = None
        self._log: RunLog | None = None
        self._metrics: MetricsFile | None = None
        self._writer: _Writer | None = None
        self._signals: contextlib.AbstractContextManager[bool] | None = None
        self._opened = False
        self._lost: ClaimLost | None = None
        self._completed = False
        self._told_to_stop = False
        self._complaints: set[str] = set()
        self._last: dict[str, float] = {}
        self._best: tuple[float, int] | None = None
        self._step: int | None = None
        self._heartbeat_due = 0.0

    @classmethod
    def from_config(
        cls,
        config: object,
        *,
        sinks: Sequence[Sink] = (),
        rank: int | None = None,
        console: bool = True,
    ) -> Self:
        """Bookkeeping in `results_dir/experiment_id/training/run_name` of a configuration.

        Args:
            config: A DictConfig or plain mapping with `experiment_id`, `run_name` and, if it is
                not `results`, `results_dir`. From `expkit` come `metric`, `direction`,
                `keep_last` and `keep_best`; from `epochs` the total of the progress.
            sinks: See the class.
            rank: See the class.
            console: See the class.

        Raises:
            KeyError: If a key that names the folder is missing.
            TypeError: If the configuration holds something that is not data.
            ValueError: If a name could lead out of its folder, or a setting is not allowed.
        """
        plain = plain_config(config)
        return cls(
            run_folder(plain),
            config=plain,
            sinks=sinks,
            experiment_id=str(plain["experiment_id"]),
            rank=rank,
            console=console,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    # Opening and closing

    def open(self) -> Self:
        """Claim the folder, write config.yaml and environment.yaml, start the heartbeat.

        Raises:
            RunClaimed: If another process holds the run.
            OSError: If the folder cannot be written.
        """
        if self._opened:
            return self
        self._completed = self._told_to_stop = False
        self._lost = None
        if self.rank == 0:
            _close_former(self.folder)
            self._claim = claim_run(
                self.folder,
                run_name=self.run_name,
                experiment_id=self.experiment_id,
                is_alive=self._is_alive,
                clock=self._clock,
            )
            self._log = RunLog(self.folder, console=self._console)
            record = self._claim.record
            self._log.banner(
                f"attempt {record.attempt}, {_iso(self._clock())}, {record.host}, pid {record.pid}"
            )
            self._metrics = MetricsFile(self.folder)
            self._recall_metrics()
            if self.config:
                write_file(self.folder / "config.yaml", _yaml(self.config))
            self._write_environment()
            self._heartbeat_due = self._clock() + HEARTBEAT_EVERY_S
        self._signals = stop_signals()
        self._signals.__enter__()
        self._opened = True
        if self._claim is not None:
            atexit.register(self._at_exit)
            _open_here[self.folder] = self
            run = {**self._claim.record.data, "folder": str(self.folder)}
            self._tell_sinks("open", run, self.config)
            self._writer = _Writer(self._tick)
        return self

    def close(self, state: str | None = None, error: BaseException | None = None) -> None:
        """Record how the run ended, and stop writing.

        Args:
            state: completed, failed or interrupted. By default what the error and
                `should_stop` say.
            error: What ended the run, if it did not end by itself.

        Raises:
            ClaimLost: If somebody else has claimed the run in the meantime.
            ValueError: If the state is not one of the three.
        """
        if state is not None and state not in FINAL_STATES:
            raise ValueError(f"A run cannot end as {state!r}. Known: {', '.join(FINAL_STATES)}.")
        if not self._opened:
            return
        if state is None:
            state = self._final_state(error)
        try:
            if self._claim is not None:
                self._close_claimed(self._claim, state, error)
        finally:
            self._release()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close(error=error)
        except Exception as problem:
            if error is None:
                raise
            # The first error is the one to show: it ended the training.
            error.add_note(f"The run's state could not be recorded: {problem}")

    def complete(self) -> None:
        """Say that the training is done, even if the process is asked to stop afterwards."""
        self._completed = True

    def should_stop(self) -> bool:
        """Whether to save and leave: time limit, preemption, scancel, or the claim was lost.

        Leaving the block after this was true records `interrupted`, and the run is resumed later.
        """
        stop = self._lost is not None or stop_requested() is not None
        self._told_to_stop = self._told_to_stop or stop
        return stop

    # Log and folders

    def log(self, message: object, level: int | str = logging.INFO) -> None:
        """Write a message to the console and to training.log.

        Args:
            message: Anything that has a text.
            level: One of logging's, by number or name.

        Raises:
            ValueError: If there is no such level.
        """
        if self._is_writing() and self._log is not None:
            self._log.write(message, level, console=True)

    def log_to_file(self, message: object, level: int | str = logging.INFO) -> None:
        """Write a message to training.log only. See `log`."""
        if self._is_writing() and self._log is not None:
            self._log.write(message, level, console=False)

    def create_folder(self, name: str | Path) -> Path:
        """Make a folder inside the run folder.

        Args:
            name: Relative path; parents are made too.

        Returns:
            The folder. On ranks other than 0 it is not made.

        Raises:
            ValueError: If the path leads out of the run folder.
        """
        path = self.path(name)
        if self._is_writing():
            path.mkdir(parents=True, exist_ok=True)
        return path

    def path(self, name: str | Path) -> Path:
        """A path inside the run folder.

        Raises:
            ValueError: If the path leads out of the run folder.
        """
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise ValueError(
                f"{str(name)!r} leads out of the run folder {self.folder}. Give a path relative "
                "to it, without '..'."
            )
        return self.folder / name

    # Metrics, timers, artifacts

    def log_metrics(self, metrics: Mapping[str, object], step: int) -> None:
        """Log numbers to metrics.jsonl and to every sink. Takes microseconds.

        Args:
            metrics: Names and numbers; numpy and torch scalars are numbers too.
            step: Epoch or batch, from 0. Two calls with one step make one row.

        Raises:
            TypeError: If a value is not one number, or the step not a whole one. Nothing is
                logged then.
            ValueError: If the step is negative.
            ClaimLost: If somebody else has claimed the run.
        """
        values = numbers(metrics)
        if type(step) is not int or step < 0:
            step = whole_step(step)
        if not self._is_writing() or self._metrics is None:
            return
        now = self._clock()
        self._metrics.add(step, now, values)
        self._count(step, values)
        for sink in self._sinks:
            try:
                sink.log_metrics(values, step, now)
            except Exception as problem:
                self._complain(sink, "log_metrics", problem)

    @property
    def best(self) -> dict[str, object] | None:
        """Best value of `expkit.metric` so far: metric, direction, value, step; else None."""
        if self._best is None:
            return None
        value, step = self._best
        settings = self.settings
        names = {"metric": settings.metric, "direction": settings.direction}
        return {**names, "value": value, "step": step}

    def save_timer(self, timer: _Savable) -> Path:
        """Save a timer to timer.yaml and hand its statistics to the sinks.

        Args:
            timer: A `Timer` or `Timers` of expkit-timer, or what else has `save(path)` and
                writes the same file.

        Returns:
            The file.

        Raises:
            TypeError: If the timer cannot be saved.
        """
        save = getattr(timer, "save", None)
        if not callable(save):
            raise TypeError(
                f"save_timer takes a timer with a method save(path), not "
                f"{type(timer).__name__}: {timer!r}."
            )
        path = self.folder / "timer.yaml"
        if self._is_writing():
            save(path)
            for name, statistics in _timer_statistics(path).items():
                self._tell_sinks("log_timer", name, statistics)
        return path

    def log_artifact(self, path: Path | str) -> None:
        """Hand a file of the run folder to the sinks.

        Args:
            path: Relative to the run folder, or absolute inside it.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not inside the run folder.
        """
        inside = self.path(path)
        if not self._is_writing():
            return
        if not inside.exists():
            raise FileNotFoundError(f"There is no {inside} to log as an artifact.")
        self._tell_sinks("log_artifact", inside)

    # Checkpoints, states, summary and values: thin methods over _checkpoints, _states, _values

    # Inner parts

    def _is_writing(self) -> bool:
        """Whether this rank writes; complains where nothing is open or the claim is lost."""
        if self._lost is not None:
            raise self._lost
        if self._opened:
            return self.rank == 0
        if self.rank != 0:
            return False
        raise RuntimeError(
            f"The run {self.run_name!r} is not open. Use `with Bookkeeping(…) as run:`, or "
            "run.open() and, at the end, run.close()."
        )

    def _sync(self) -> int:
        """Everything logged so far onto the disk; returns the size of metrics.jsonl."""
        if self._metrics is None or self._claim is None:
            return 0
        size = self._metrics.write(sync=True)
        self._claim.update(**self._progress())
        self._heartbeat_due = self._clock() + HEARTBEAT_EVERY_S
        self._tell_sinks("flush")
        return size

    def _cut_metrics(self, step: int, size: int | None = None) -> None:
        """Forget what was logged at or after `step`, which the run will now log again."""
        if self._metrics is not None:
            self._metrics.cut(step, size)
            self._recall_metrics()

    def _count(self, step: int, values: Mapping[str, float]) -> None:
        self._last.update(values)
        self._step = step
        metric = self.settings.metric
        if metric is not None and metric in values:
            value = values[metric]
            if not math.isnan(value) and (self._best is None or self._is_better(value)):
                self._best = (value, step)

    def _is_better(self, value: float) -> bool:
        if self._best is None:
            return True
        if self.settings.direction == "maximize":
            return value > self._best[0]
        return value < self._best[0]

    def _recall_metrics(self) -> None:
        """Last and best values from what metrics.jsonl holds, after opening or cutting it."""
        self._last, self._best, self._step = {}, None, None
        for step, values in metric_rows(self.folder).items():
            self._count(step, values)

    def _progress(self) -> dict[str, object]:
        total = self.settings.epochs
        return {
            "progress": None if self._step is None else {"step": self._step, "total": total},
            "metrics": dict(self._last),
            "best": self.best,
        }

    def _tick(self) -> None:
        """What the background thread does each second."""
        if self._claim is None or self._metrics is None or self._lost is not None:
            return
        try:
            if not self._claim.is_highest():
                self._claim.heartbeat()  # finds the words for what happened
            self._metrics.write()
            if self._clock() >= self._heartbeat_due:
                self._heartbeat_due = self._clock() + HEARTBEAT_EVERY_S
                self._claim.update(**self._progress())
        except ClaimLost as lost:
            self._lost = lost
        except Exception as problem:  # a full disk today may have room tomorrow
            self._complain_once(
                f"writing {type(problem).__name__}", f"{self.folder} cannot be written: {problem}"
            )

    def _final_state(self, error: BaseException | None) -> str:
        if error is None:
            stopped = self._told_to_stop and not self._completed
            return "interrupted" if stopped else "completed"
        if isinstance(error, SystemExit) and error.code in (None, 0):
            return self._final_state(None)
        if isinstance(error, KeyboardInterrupt) or termination_requested():
            # After SIGTERM any error may be its echo, such as a DataLoader worker that it killed.
            return "completed" if self._completed else "interrupted"
        if isinstance(error, SystemExit) and error.code in (130, 143):
            return "completed" if self._completed else "interrupted"
        return "failed"

    def _close_claimed(self, claim: Claim, state: str, error: BaseException | None) -> None:
        if self._writer is not None:
            self._writer.stop()
        if self._lost is not None:
            raise self._lost
        shown = error if state != "completed" else None
        if self._log is not None and state == "failed" and error is not None:
            import traceback

            text = "".join(traceback.format_exception(error)).rstrip()
            self._log.write(text, logging.ERROR, console=False)
        try:
            if self._metrics is not None:
                self._metrics.write(sync=True)
            self._write_environment()
        finally:
            claim.update(**self._progress())
            claim.finish(state, shown)
        # Last, as a sink may take its time: if it is killed now, the state stands.
        self._tell_sinks("close", state)
        self.log_to_file(f"Run {self.run_name!r} {state}.")

    def _release(self) -> None:
        """Let go of threads, files, handlers; nothing is written from here on."""
        self._opened = False
        if self._writer is not None:
            self._writer.stop()
        if self._log is not None:
            self._log.close()
        if self._signals is not None:
            self._signals.__exit__(None, None, None)
            self._signals = None
        atexit.unregister(self._at_exit)
        if _open_here.get(self.folder) is self:
            del _open_here[self.folder]

    def _at_exit(self) -> None:
        """The process ends, and nobody closed the run: nobody said that it was done."""
        with contextlib.suppress(Exception):
            self.close("interrupted")

    def _write_environment(self) -> None:
        write_file(self.folder / "environment.yaml", _yaml(environment_facts()))

    def _tell_sinks(self, method: str, *args: object) -> None:
        for sink in list(self._sinks):
            try:
                getattr(sink, method)(*args)
            except Exception as problem:
                self._complain(sink, method, problem)
                if method == "open":  # it would fail again at each step
                    self._sinks.remove(sink)

    def _complain(self, sink: object, method: str, problem: Exception) -> None:
        name = type(sink).__name__
        self._complain_once(
            f"sink {id(sink)}",
            f"{name}.{method} failed and the training goes on: {type(problem).__name__}: "
            f"{problem}. Further errors of {name} are not shown.",
        )

    def _complain_once(self, key: str, text: str) -> None:
        if key not in self._complaints and self._log is not None:
            self._complaints.add(key)
            with contextlib.suppress(OSError):
                self._log.write(text, logging.WARNING, console=True)


class _Writer:
    """A thread that calls a function each second."""

    def __init__(self, tick: Callable[[], None], period_s: float = WRITE_EVERY_S) -> None:
        self._tick = tick
        self._period_s = period_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="expkit-bookkeeping", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(self._period_s):
            self._tick()

    def stop(self) -> None:
        self._stopping.set()
        # Not forever: the thread may hang in a file system that is gone.
        self._thread.join(timeout=10.0)


_open_here: dict[Path, Bookkeeping] = {}


def _close_former(folder: Path) -> None:
    """Silence the object that an earlier run of a notebook cell left open for this folder."""
    former = _open_here.pop(folder, None)
    if former is not None:
        with contextlib.suppress(Exception):
            if former._metrics is not None:
                former._metrics.write(sync=True)
        former._release()


def _check_sink(sink: object) -> None:
    names = [name for name in vars(Sink) if not name.startswith("_")]
    missing = [name for name in names if not callable(getattr(sink, name, None))]
    if missing:
        raise TypeError(
            f"{type(sink).__name__} is not a sink: it has no method {', '.join(missing)}. "
            f"A sink has {', '.join(names)}."
        )


def _timer_statistics(path: Path) -> dict[str, dict[str, float]]:
    import yaml

    with contextlib.suppress(OSError, yaml.YAMLError):
        timers = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(timers, dict):
            return {
                str(name): {
                    key: value for key, value in entry.items() if isinstance(value, (int, float))
                }
                for name, entry in timers.items()
                if isinstance(entry, dict)
            }
    return {}


def _yaml(value: object) -> str:
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100))


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
