"""MLFlowLogger: the sink that writes a run's journal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Protocol, SupportsFloat, runtime_checkable

from ._addresses.errors import TrackingError, first_line, log_traceback
from ._addresses.secrets import (
    public_config,
    remember_secrets,
    secret_patterns,
    secret_values,
    uri_secrets,
    uri_without_secrets,
    without_credentials,
    without_known_secrets,
)
from ._addresses.uris import absolute_uri, check_uri, is_server
from ._journal.configuration import IGNORED, flatten, resolved, yaml_text
from ._journal.entries import JOURNAL_NAME, SCHEMA, STATUS, is_artifact_folder
from ._journal.experiments import experiment_folder
from ._journal.metrics import add_numbers, timings, whole_step
from ._journal.processes import this_process
from ._journal.run_files import Check, claim_check, copy_into
from ._journal.run_folders import (
    is_folder_name,
    name_from_time,
    open_run_folder,
    owns_config,
)
from ._journal.writing import ImplicitStep, Journal
from ._ranks import process_rank
from ._run_lifetime import sigterm_as_exit, state_after
from ._sync.outcomes import has_outcome, outcome_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._sync.background import BackgroundDrain

logger = logging.getLogger(__name__)

MODES = ("auto", "online", "offline", "disabled")
NODE_KEYS = ("tracking_uri", "mode", "tags")


@runtime_checkable
class TimerLike(Protocol):
    """What `log_timer` needs of a timer; `Timer` and `Timers` of expkit-timer have it."""

    def to_dict(self) -> Mapping[str, object]:
        """Statistics by name, or by the names of several timers; numbers are logged."""


class MLFlowLogger:
    """Logs parameters, metrics, artifacts and timers of one run, for MLflow.

    Every call appends to the run's journal, `tracking.jsonl`, and returns. If the store is a
    server, a thread drains the journal while the run is still going. If it is the embedded SQLite
    store (the default, `results/<experiment>/mlflow.db`), a run on its own drains its journal at
    the end, and a run of a grid leaves that to the grid's process.

    Pass it to `Bookkeeping(sinks=[…])`, or use it alone as a context manager: exceptions then end
    the run as FAILED, SIGTERM and Ctrl-C as KILLED.

    Args:
        experiment: Name of a folder in `results_dir`, or the folder itself, if it is a `Path` or
            contains a separator. Needed when the logger is used alone.
        run_name: Folder of the run in `experiment/training`; by default made from the time. An
            unfinished run is continued; a finished one is left alone, and the new run's name gets
            a number.
        results_dir: Parent folder of experiments that are given by name.
        tracking_uri: A server (http://…) or a database; None means `MLFLOW_TRACKING_URI`, if set,
            else the embedded store.
        mode: `auto`; `online`, which requires a server; `offline`, which only writes the journal,
            for `expkit sync` later; `disabled`, which writes nothing.
        tags: Tags of the run.
        rank: This process's rank in a distributed training; by default that of torch.distributed,
            RANK, SLURM_PROCID, OMPI_COMM_WORLD_RANK or LOCAL_RANK. Only rank 0 writes.
        close_timeout_s: How long the end of a run waits for a server.
        environ: The environment, from which MLFLOW_TRACKING_URI, the rank and EXPKIT_GRID are read;
            by default that of this process.
        clock: Returns the time in seconds since the epoch.

    Raises:
        TypeError: If `experiment` is neither text nor a path, or `tags` no mapping.
        ValueError: For an unknown mode, `online` without a server, or a URI that MLflow no longer
            supports.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "digits"
        >>> with MLFlowLogger(folder, "first", mode="offline") as tracking:
        ...     tracking.log_params({"optimizer": {"lr": 0.1}})
        ...     tracking.log_metrics({"loss": 2.3}, step=0)
        >>> len((folder / "training" / "first" / "tracking.jsonl").read_text().splitlines())
        5
    """

    def __init__(
        self,
        experiment: str | PathLike[str] | None = None,
        run_name: str | None = None,
        *,
        results_dir: str | PathLike[str] = "results",
        tracking_uri: str | None = None,
        mode: str = "auto",
        tags: Mapping[str, object] | None = None,
        rank: int | None = None,
        close_timeout_s: float = 30.0,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if mode not in MODES:
            raise ValueError(_unknown("mode", mode, MODES))
        self._mode = mode if process_rank(rank, environ) == 0 else "disabled"
        environ = os.environ if environ is None else environ
        if tracking_uri is None and mode != "disabled":
            tracking_uri = environ.get("MLFLOW_TRACKING_URI") or None
        if tracking_uri is not None and mode != "disabled":
            try:
                check_uri(tracking_uri)
            except TrackingError as error:
                raise ValueError(str(error)) from None
            tracking_uri = absolute_uri(tracking_uri)
            remember_secrets(uri_secrets(tracking_uri))
        if mode == "online" and (tracking_uri is None or not is_server(tracking_uri)):
            shown = None if tracking_uri is None else uri_without_secrets(tracking_uri)
            raise ValueError(
                f"mode 'online' sends to a server while the run is still going, but tracking_uri "
                f"is {shown!r}. Set it to a server (http://…), or use mode 'auto'."
            )
        if run_name is not None and not is_folder_name(run_name):
            raise ValueError(f"run_name {run_name!r} cannot name a folder in training/.")
        if tags is not None and not isinstance(tags, Mapping):
            raise TypeError(f"tags must be a mapping, got {type(tags).__name__}")
        self._folder = experiment_folder(experiment, results_dir)
        self._experiment = None if self._folder is None else self._folder.name
        self._run_name = run_name
        self._uri = tracking_uri
        self._tags = _public_tags(tags or {})
        self._close_timeout_s = close_timeout_s
        self._in_grid = bool(environ.get("EXPKIT_GRID"))
        self._clock = clock
        self._journal: Journal | None = None
        self._background_drain: BackgroundDrain | None = None
        self._run_folder: Path | None = None
        self._check: Check | None = None  # that the folder is still ours, if somebody claims it
        self._config: dict[str, object] | None = None  # the content of config.yaml, if it is ours
        self._closed = False
        self._start_lock = threading.RLock()
        self._handlers = contextlib.ExitStack()

    @classmethod
    def from_config(cls, cfg: Mapping[str, object]) -> MLFlowLogger:
        """The logger that a configuration describes.

        Args:
            cfg: Mapping or DictConfig with `experiment_id`; optionally with `results_dir`,
                `run_name` and `mlflow: {tracking_uri: null, mode: auto, tags: {}}`.

        Raises:
            ValueError: For an unknown or missing key.
            TypeError: If `cfg` or its node `mlflow` is not a mapping.
        """
        if not hasattr(cfg, "get") or not hasattr(cfg, "keys"):
            raise TypeError(f"cfg must be a mapping or a DictConfig, got {type(cfg).__name__}")
        experiment = cfg.get("experiment_id")
        if experiment is None:
            raise ValueError(
                "cfg has no experiment_id, the name of the experiment. Set it, e.g. "
                "`experiment_id: digits`, or take it from expkit-hydra with "
                "`defaults: [expkit, …, _self_]`."
            )
        node = resolved(cfg.get("mlflow"))
        if node is None:
            node = {}
        if not isinstance(node, Mapping):
            raise TypeError(
                f"cfg.mlflow must be a mapping with {', '.join(NODE_KEYS)}, got {node!r}"
            )
        for key in node:
            if key not in NODE_KEYS:
                raise ValueError(_unknown("key in cfg.mlflow", str(key), NODE_KEYS))
        results_dir, run_name = cfg.get("results_dir"), cfg.get("run_name")
        uri, tags = node.get("tracking_uri"), node.get("tags")
        if tags is not None and not isinstance(tags, Mapping):
            raise TypeError(f"cfg.mlflow.tags must be a mapping, got {tags!r}")
        tracking = cls(
            Path(str(results_dir or "results")) / str(experiment),
            None if run_name is None else str(run_name),
            tracking_uri=None if uri is None else str(uri),
            mode=str(node.get("mode") or "auto"),
            tags=tags,
        )
        tracking._experiment = str(experiment)
        return tracking

    @property
    def run_folder(self) -> Path | None:
        """The folder with the journal; None before the run is open, and in mode `disabled`."""
        return self._run_folder

    # The methods of a sink (docs/formats.md); all but open also serve a logger used alone.

    def open(self, run: Mapping[str, object], config: Mapping[str, object]) -> None:
        """Begins or continues a run of Bookkeeping, which calls this.

        Args:
            run: The content of run.json, and `folder`.
            config: The resolved configuration.

        Raises:
            ValueError: If `run` lacks its id, name or folder.
        """
        if self._mode == "disabled":
            return
        missing = {"id", "run_name", "folder"} - run.keys()
        if missing:
            raise ValueError(f"run lacks {', '.join(sorted(missing))}")
        folder = Path(str(run["folder"]))
        tags = {f"expkit.{key}": run[key] for key in ("config_hash", "grid_id") if run.get(key)}
        code = run.get("code")
        if isinstance(code, Mapping) and code.get("commit"):
            tags["mlflow.source.git.commit"] = code["commit"]
        self._check = claim_check(run)
        self._begin(
            Journal(folder / JOURNAL_NAME, check=self._check),
            run_id=str(run["id"]),
            experiment=str(run.get("experiment_id") or folder.parent.parent.name),
            run_name=str(run["run_name"]),
            attempt=int(str(run.get("attempt") or 1)),
            tags=tags,
        )
        self._log_flat(config)
        if config:
            self._append({"kind": "artifact", "path": "config.yaml", "artifact_path": None})

    def log_metrics(
        self,
        metrics: Mapping[str, SupportsFloat],
        step: int | None = None,
        time: float | None = None,
    ) -> None:
        """Logs values of one step; returns at once.

        Args:
            metrics: Numbers by name; the names of nested mappings are joined by dots. NaN and Inf
                are kept in the journal and become a tag in MLflow.
            step: Epoch or batch; by default one after the last step of these metrics.
            time: Seconds since the epoch; now by default.

        Raises:
            TypeError: If a value is not a number, or two have one name, such as those of
                `{"a.b": 1.0, "a": {"b": 2.0}}`; the others are logged.
        """
        if self._mode == "disabled":
            return
        if step is not None and type(step) is not int:
            step = whole_step(step)
        problem = None
        values: dict[str, float] = {}
        for key, value in metrics.items():
            if type(value) is float and type(key) is str and key not in values:
                values[key] = value
            else:
                problem = add_numbers(str(key), value, values) or problem
        journal = self._journal or self._start()
        if values:  # the good ones are kept, even if another is bad
            journal.append_point(
                values,
                ImplicitStep.NEXT if step is None else step,
                self._clock() if time is None else time,
            )
        if problem is not None:
            raise TypeError(problem)

    def reconcile(
        self, points: Sequence[tuple[Mapping[str, float], int, float]], *, cut: bool
    ) -> None:
        """Completes the journal of a run that is continued; Bookkeeping calls this.

        Args:
            points: Metrics, step and time of all that the run has logged and kept.
            cut: Whether the metrics after the last of them are void, as they will be logged again.
        """
        if self._journal is not None:
            self._journal.reconcile(points, cut=cut)

    def log_artifact(self, path: str | PathLike[str], artifact_path: str | None = None) -> None:
        """Keeps a file or folder with the run.

        Args:
            path: The file or folder. If it is outside the run's folder, it is copied there first,
                because it may be gone when the journal is drained.
            artifact_path: Folder among the run's artifacts.

        Raises:
            FileNotFoundError: If nothing exists at `path`.
            ValueError: If `artifact_path` is absolute or leads out of the run's artifacts.
            RuntimeError: If it has to be copied, and another process has taken the run over.
        """
        if self._mode == "disabled":
            return
        self._journal or self._start()
        folder = self._run_folder
        assert folder is not None
        source = Path(path).absolute()
        if not source.exists():
            raise FileNotFoundError(f"There is no artifact {source} to log.")
        if not is_artifact_folder(artifact_path):
            raise ValueError(f"artifact_path {artifact_path!r} is outside the run's artifacts.")
        if not source.resolve().is_relative_to(folder.resolve()):
            target = folder / "logged" / str(artifact_path or "").strip("/") / source.name
            copy_into(source, target, self._check)
            source = target
        relative = source.resolve().relative_to(folder.resolve()).as_posix()
        self._append({"kind": "artifact", "path": relative, "artifact_path": artifact_path})

    def log_timer(
        self, timer: str | TimerLike, statistics: Mapping[str, object] | None = None
    ) -> None:
        """Logs a timer's numbers as the metrics `time.<name>.<statistic>`.

        Args:
            timer: A timer or a group of timers with `to_dict()`, or the name of one.
            statistics: Its statistics, if `timer` is a name. Values that are not numbers are left
                out.

        Raises:
            TypeError: If there are no statistics.
        """
        if self._mode == "disabled":
            return
        if statistics is None:
            if isinstance(timer, str) or not isinstance(timer, TimerLike):
                raise TypeError(
                    "log_timer needs a timer with a method to_dict(), or a name and statistics; "
                    f"got {timer!r}."
                )
            statistics = timer.to_dict()
        name = timer if isinstance(timer, str) else getattr(timer, "name", None)
        values = timings("time" if name is None else f"time.{name}", statistics)
        journal = self._journal or self._start()
        if values:
            journal.append_point(values, ImplicitStep.LATEST, self._clock())

    def flush(self) -> None:
        """Writes the journal to disk, so that it survives a power cut."""
        if self._journal is not None:
            self._journal.flush()

    def close(self, state: str = "completed") -> None:
        """Ends the run and drains its journal; a second call does nothing.

        If the store cannot be reached, it warns and does not raise.

        Args:
            state: `completed`, `failed` or `interrupted`.

        Raises:
            ValueError: For an unknown state.
        """
        status = STATUS.get(state)
        if status is None:
            raise ValueError(_unknown("state", state, tuple(STATUS)))
        journal, self._journal = self._journal, None
        if journal is None:
            return
        self._closed = True
        numbers = outcome_of(journal.path.parent)
        if numbers and not has_outcome(journal.path, numbers):
            journal.append_point(numbers, ImplicitStep.NEXT, self._clock())
        journal.append({"kind": "end", "status": status, "time": self._clock()})
        journal.close()
        try:
            self._drain_rest()
        except Exception as error:
            # The run's own work is done and on disk; draining can be repeated at any time.
            log_traceback(logger)
            text = str(error) if isinstance(error, TrackingError) else first_line(error)
            logger.warning("MLflow: %s Nothing is lost: `expkit sync` sends it later.", text)

    # For a logger used alone, without Bookkeeping.

    def log_params(self, params: Mapping[str, object]) -> None:
        """Logs a configuration: as parameters, with keys joined by dots, and whole as config.yaml.

        Args:
            params: Mapping or DictConfig. Keys that only say where the run is kept (`hydra`,
                `results_dir`, …) do not become parameters.

        Raises:
            TypeError: If `params` is not a mapping.
        """
        if self._mode == "disabled":
            return
        config = resolved(params)
        if not isinstance(config, Mapping):
            raise TypeError(f"log_params needs a mapping, got {type(params).__name__}")
        self._journal or self._start()
        self._log_flat(config)
        if self._config is not None:
            self._config.update({str(key): value for key, value in config.items()})
            self._write_config(self._config)
            self._append({"kind": "artifact", "path": "config.yaml", "artifact_path": None})

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Sets tags of the run."""
        if self._mode == "disabled":
            return
        texts = _public_tags(tags)
        self._journal or self._start()
        self._append({"kind": "tags", "tags": texts})

    def __enter__(self) -> MLFlowLogger:
        if self._mode != "disabled" and self._journal is None:
            self._start()
            self._handlers.enter_context(sigterm_as_exit())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            with contextlib.suppress(Exception):
                text = without_known_secrets(f"{type(error).__name__}: {error}")
                self.set_tags({"expkit.error": text[:500]})
        try:
            self.close(state_after(error))
        finally:  # even after Ctrl-C while it waits for a server
            self._handlers.close()

    def _start(self) -> Journal:
        """Opens the run of a logger used alone, at its first call or when its block begins."""
        with self._start_lock:
            if self._journal is not None:
                return self._journal
            if self._closed:
                raise TrackingError(
                    f"The run {self._run_folder} is closed; what is logged now would be lost. "
                    "Log before the block ends, or create another MLFlowLogger."
                )
            if self._folder is None or self._experiment is None:
                raise ValueError(
                    "MLFlowLogger has no experiment: give it one (`MLFlowLogger('digits')`), or "
                    "pass it to Bookkeeping(sinks=[…]), which opens it; for a completed run at the "
                    "end, with what run.log_artifact() was given."
                )
            journal, run_id, attempt = open_run_folder(
                self._folder / "training", self._run_name or name_from_time(self._clock())
            )
            self._config = {} if owns_config(journal.path) else None
            if self._config is None:
                config = journal.path.with_name("config.yaml")
                logger.warning("MLflow: %s is somebody else's, and stays as it is.", config)
            self._begin(
                journal,
                run_id=run_id,
                experiment=self._experiment,
                run_name=journal.path.parent.name,
                attempt=attempt,
                tags={},
            )
            return journal

    def _begin(
        self,
        journal: Journal,
        *,
        run_id: str,
        experiment: str,
        run_name: str,
        attempt: int,
        tags: Mapping[str, object],
    ) -> None:
        if self._journal is not None:  # a notebook's cell that is run again continues its run
            self._journal.close()
        if self._background_drain is not None:
            self._background_drain.close(0.0)
        self._background_drain = None
        self._closed = False
        self._run_folder = journal.path.parent
        self._journal = journal
        all_tags = {**_source_tags(), **{k: str(v) for k, v in tags.items()}, **self._tags}
        self._append(
            {
                "kind": "run",
                "schema": SCHEMA,
                "id": run_id,
                "experiment": experiment,
                "run_name": run_name,
                "attempt": attempt,
                "time": self._clock(),
                "tracking_uri": None if self._uri is None else without_credentials(self._uri),
                "mode": self._mode,
                "tags": all_tags,
                **this_process(),
            }
        )
        journal.flush(durable=False)
        if self._uri is not None and is_server(self._uri) and self._mode != "offline":
            from ._sync.background import BackgroundDrain

            self._background_drain = BackgroundDrain(journal.path, self._uri, check=self._check)

    def _drain_rest(self) -> None:
        assert self._run_folder is not None
        if self._mode == "offline":
            return
        if self._background_drain is not None:
            self._background_drain.close(self._close_timeout_s)
        elif not self._in_grid:
            from ._sync.experiment import Synchronizer  # a run of a grid never needs it

            synchronizer = Synchronizer(
                self._run_folder.parent.parent,
                credentials=[] if self._uri is None else [self._uri],
            )
            report = synchronizer.once(only=self._run_folder / JOURNAL_NAME)
            for problem in report.problems:
                logger.warning("MLflow: %s", problem)

    def _append(self, entry: dict[str, object]) -> None:
        if self._journal is not None:
            self._journal.append(entry)

    def _log_flat(self, config: Mapping[str, object]) -> None:
        patterns = secret_patterns(config)
        remember_secrets(secret_values(config, patterns))
        values = {key: value for key, value in config.items() if key not in IGNORED}
        if values:
            params = flatten(public_config(values, patterns))
            self._append({"kind": "params", "params": params})

    def _write_config(self, config: Mapping[str, object]) -> None:
        assert self._run_folder is not None
        path = self._run_folder / "config.yaml"
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(yaml_text(public_config(config, secret_patterns(config))))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def _public_tags(tags: Mapping[str, object]) -> dict[str, str]:
    texts = {str(key): str(value) for key, value in tags.items()}
    remember_secrets(secret_values(texts))
    return {key: str(value) for key, value in public_config(texts).items()}


def _unknown(kind: str, value: str, allowed: tuple[str, ...]) -> str:
    import difflib

    matches = difflib.get_close_matches(value, allowed, 1)
    hint = f" Did you mean {matches[0]!r}?" if matches else ""
    return f"Unknown {kind}: {value!r}.{hint} Allowed: {', '.join(allowed)}."


def _source_tags() -> dict[str, str]:
    """The tags that MLflow's own client would set in this process, for columns of the UI."""
    tags = {"mlflow.source.type": "LOCAL", "mlflow.source.name": sys.argv[0] if sys.argv else ""}
    with contextlib.suppress(ImportError, KeyError, OSError):
        import getpass

        tags["mlflow.user"] = getpass.getuser()
    return tags
