"""The drain of one journal to one store, which sends only what the store lacks."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from .._addresses.errors import StoreDownError, in_words, log_traceback
from .._journal.entries import Entry, json_number
from .._journal.reading import read_entries
from .._journal.reconciling import is_void, read_cuts
from .._store.client import Store, milliseconds
from .._store.entities import FOLDER_TAG, POSITION_TAG, RUN_ID_TAG, Point, StoredRun
from .._store.limits import clean_key, shorten
from .artifacts import ArtifactUploads
from .point_history import Comparison, PointHistory

logger = logging.getLogger(__name__)

BATCH = 1000  # entities, MLflow's limit; if it has another, `Store.send` splits again
BATCHES_PER_POSITION = 10  # each position is a transaction of its own, as slow as 100 points


@dataclass
class DrainReport:
    """What one pass over a journal sent."""

    points: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class _Batch:
    points: list[Point] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, tuple[str | None, int]] = field(default_factory=dict)
    status: str | None = None
    status_time: float | None = None


class JournalDrain:
    """Sends the new entries of one run's journal, as often as it is called.

    A tag of the MLflow run, updated after every few batches, says how much of the journal the store
    has. After a kill in between, the next pass sends these batches again, and MLflow stores a point
    with the same (key, step, time, value) only once. A refused artifact holds nothing else back,
    but the tag's position stays before it, so that a later process tries again.

    What a `cut` entry makes void is not sent to the embedded store, and removed if it was. A server
    has no way to remove it, so there the first value of each step stays.

    Args:
        path: The journal, in its run's folder.
        store: The store to send to.
        follow_links: Whether artifacts that are links out of the run's folder are sent.
    """

    def __init__(self, path: Path, store: Store, *, follow_links: bool = False) -> None:
        self.path = path
        self.stored: StoredRun | None = None
        self.run_id = self.experiment = self.run_name = ""  # in the journal
        self.status: str | None = None
        self._store = store
        self._position = 0
        self._batches_since_position = 0
        self._artifacts = ArtifactUploads(path, store, follow_links=follow_links)
        self._refused: int | None = None  # position of the first artifact that was refused
        self._params: dict[str, str] = {}
        self._attempt = 1
        self._history: PointHistory | None = None
        self._nonfinite: set[str] = set()
        self._changed: set[str] = set()

    @property
    def has_new_entries(self) -> bool:
        """Whether the journal has grown since the last pass."""
        return self.stored is None or self.path.stat().st_size > self._position

    def attach(self, stored: StoredRun, head: Entry) -> None:
        """Continues a run that the store already has.

        Args:
            stored: The run in the store.
            head: The journal's `run` entry.
        """
        self.stored = stored
        self.run_id, self.experiment = str(head["id"]), str(head["experiment"])
        self.run_name = str(head["run_name"])
        self.status = stored.status
        self._position = min(stored.position, self.path.stat().st_size)
        self._params = dict(stored.params)

    def create(self, head: Entry) -> None:
        """Creates the run that the journal's `run` entry describes."""
        tags = {**_texts(head.get("tags")), RUN_ID_TAG: str(head["id"]), POSITION_TAG: "0"}
        if not self._store.embedded:
            tags[FOLDER_TAG] = str(self.path.parent.absolute())
        stored = self._store.create_run(
            str(head["experiment"]), str(head["run_name"]), tags, _number(head.get("time"))
        )
        self.attach(stored, head)

    def restore(self) -> None:
        """Restores the run, which was marked as deleted when its folder was removed."""
        assert self.stored is not None
        self.stored = self._store.restore_run(self.stored)

    def drain(self) -> DrainReport:
        """Sends the entries that the store lacks.

        Raises:
            Exception: Whatever MLflow raises if the store cannot be reached. A later call
                continues.
        """
        if self.stored is None:
            raise RuntimeError("attach() or create() the run first")
        report = DrainReport()
        start = self._position
        history = self._history
        # Nobody can remove points from a server: there the first value of a step stays.
        cuts = read_cuts(self.path, start) if self._store.embedded else []
        if any(cut.start < start for cut in cuts):
            self._remove_void(start)
            history = None
        if history is None:
            history = PointHistory()
            if start:
                for key, step, value in self._points_before(start):
                    history.add(key, step, value, lambda: self._points_before(start))
        self._history = None  # after an error in between it would hold points that were not sent
        batch = _Batch()
        offset = line_start = start
        for entry, offset in read_entries(self.path, start):
            kind = entry.get("kind")
            if kind == "metrics":
                if batch.points and len(batch.points) + _size(entry) > self._room(batch):
                    self._send(batch, line_start, report, last=False)
                    batch = _Batch()
                if not is_void(line_start, cuts):
                    self._add_points(entry, line_start, history, batch)
            elif kind == "params":
                self._add_params(entry, batch)
            elif kind == "tags":
                batch.tags.update(_texts(entry.get("tags")))
            elif kind == "artifact" and isinstance(entry.get("path"), str):
                target = entry.get("artifact_path")
                batch.artifacts[str(entry["path"])] = (
                    None if target is None else str(target),
                    line_start,
                )
            elif kind == "run":
                self._attempt = int(_number(entry.get("attempt"), 1))
                batch.tags.update(_texts(entry.get("tags")))
                batch.tags["expkit.attempt"] = str(self._attempt)
                batch.status, batch.status_time = "RUNNING", None
            elif kind == "end":
                batch.status = str(entry.get("status"))
                batch.status_time = _number(entry.get("time"))
            line_start = offset
        if offset > self._position:
            self._send(batch, offset, report, last=True)
        self._history = history
        return report

    def close(self, status: str, time_s: float | None) -> None:
        """Ends a run whose journal has no `end` entry."""
        if self.stored is not None:
            self._store.set_status(self.stored, status, time_s)
            self.status = status

    def _send(self, batch: _Batch, offset: int, report: DrainReport, *, last: bool) -> None:
        run = self.stored
        assert run is not None
        for path, (target, line) in batch.artifacts.items():
            try:
                report.problems += self._artifacts.upload(run, path, target, before=line)
            except StoreDownError:
                raise
            except Exception as error:  # of any library that an artifact store uses
                log_traceback(logger)
                report.problems.append(f"artifact {path!r}: {in_words(error)}")
                self._refused = line if self._refused is None else min(line, self._refused)
        if batch.status is not None and batch.status != self.status:
            self._store.set_status(run, batch.status, batch.status_time)
            self.status = batch.status
        tags = {**batch.tags, **self._artifacts.shortened_tags()}
        if last or self._sends_position(batch):
            tags[POSITION_TAG] = str(offset if self._refused is None else self._refused)
            self._batches_since_position = 0
        else:
            self._batches_since_position += 1
        report.problems += self._store.send(run, batch.points, batch.params, tags)
        report.points += len(batch.points)
        self._position = offset

    def _sends_position(self, batch: _Batch) -> bool:
        return bool(batch.tags) or self._batches_since_position + 1 >= BATCHES_PER_POSITION

    def _room(self, batch: _Batch) -> int:
        """How many points fit into one request, beside the rest of the batch."""
        return BATCH - len(batch.params) - len(batch.tags) - self._sends_position(batch)

    def _add_params(self, entry: Entry, batch: _Batch) -> None:
        from mlflow.utils import validation

        for key, value in _texts(entry.get("params")).items():
            # MLflow never changes a parameter, so the new value of a resumed run becomes a tag.
            name = clean_key(key, validation.MAX_ENTITY_KEY_LENGTH)
            text = shorten(value, validation.MAX_PARAM_VAL_LENGTH)
            old = self._params.setdefault(name, text)
            if old == text:
                batch.params[key] = value
            else:
                batch.tags[f"attempt{self._attempt}.{key}"] = value

    def _add_points(self, entry: Entry, start: int, history: PointHistory, batch: _Batch) -> None:
        step, timestamp = _step(entry), milliseconds(_number(entry.get("time")))
        earlier = partial(self._points_before, start)
        add, points, new = history.add, batch.points, Comparison.NEW
        for key, value in _values(entry):
            comparison = add(key, step, value, earlier)
            if comparison is new and math.isfinite(value):
                points.append(Point(key, value, step, timestamp))
            elif comparison is Comparison.CHANGED:
                self._warn_of_change(key, step, value, batch)
            elif comparison is Comparison.SAME:
                continue
            elif key not in self._nonfinite:
                # MLflow stores NaN as 0 and Inf as 1.8e308; the journal has the exact values.
                self._nonfinite.add(key)
                batch.tags[f"nonfinite.{key}"] = f"{json_number(value)} at step {step}"
                logger.warning(
                    "%s: %s is %s at step %d; MLflow gets the tag nonfinite.%s instead.",
                    self.path.parent.name,
                    key,
                    json_number(value),
                    step,
                    key,
                )

    def _warn_of_change(self, key: str, step: int, value: float, batch: _Batch) -> None:
        if not self._changed:
            logger.warning(
                "%s: %s at step %d has another value (%r) in attempt %d. MLflow keeps the first, "
                "the journal has both. For a new MLflow run, choose another run_name or move this "
                "folder away.",
                self.path.parent.name,
                key,
                step,
                value,
                self._attempt,
            )
        if key not in self._changed:
            self._changed.add(key)
            text = f"step {step}: {json_number(value)} in attempt {self._attempt}"
            batch.tags[f"changed.{key}"] = text

    def _remove_void(self, end: int) -> None:
        """Remove from the store what a resume has made void, of the journal before byte `end`."""
        assert self.stored is not None
        cuts = read_cuts(self.path)
        void: dict[Point, None] = {}
        valid: set[tuple[str, int]] = set()
        start = 0
        for entry, offset in read_entries(self.path):
            if offset > end:
                break
            if entry.get("kind") == "metrics":
                step, timestamp = _step(entry), milliseconds(_number(entry.get("time")))
                for key, value in _values(entry):
                    if is_void(start, cuts):
                        void[Point(key, value, step, timestamp)] = None
                    else:
                        valid.add((key, step))
            start = offset
        self._store.remove_points(
            self.stored, [point for point in void if (point.key, point.step) not in valid]
        )

    def _points_before(self, end: int) -> Iterable[tuple[str, int, float]]:
        cuts = read_cuts(self.path) if self._store.embedded else []
        start = 0
        for entry, offset in read_entries(self.path):
            if offset > end:
                return
            if entry.get("kind") == "run":
                self._attempt = int(_number(entry.get("attempt"), 1))
            elif entry.get("kind") == "metrics" and not is_void(start, cuts):
                step = _step(entry)
                for key, value in _values(entry):
                    yield key, step, value
            start = offset


def _values(entry: Entry) -> Iterable[tuple[str, float]]:
    metrics = entry.get("metrics")
    if isinstance(metrics, dict):
        for key, value in metrics.items():
            try:
                yield key, float(value)
            except (TypeError, ValueError, OverflowError):
                continue  # a damaged line: not a value that MLflow could store


def _texts(value: object) -> dict[str, str]:
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, Mapping) else {}


def _step(entry: Entry) -> int:
    step = entry.get("step")
    return step if isinstance(step, int) else int(_number(step))


def _size(entry: Entry) -> int:
    metrics = entry.get("metrics")
    return len(metrics) if isinstance(metrics, dict) else 0


def _number(value: object, default: float = 0.0) -> float:
    """A number from a line that may be damaged: never NaN, never one that float() refuses."""
    if isinstance(value, (int, float)) and abs(value) < 1e300:
        return float(value)
    return default
