"""All journals of an experiment, brought to MLflow by the one process that holds the lock."""

import contextlib
import json
import logging
import os
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TextIO

from ._addresses import check_uri, is_server
from ._database import exists, journal_positions, open_store, relocate
from ._drain import JournalDrain
from ._errors import TrackingError, first_line
from ._journal import NAME, STATUS, Entry, attempts, ends, is_owned, read
from ._lock import NAME as LOCK_NAME
from ._lock import one_writer
from ._owners import is_gone
from ._store import Store, StoredRun

logger = logging.getLogger(__name__)

WAIT_S = 120.0  # for the lock: eight runs that end together take a few seconds each


@dataclass
class SyncReport:
    """What a pass of `sync` found and did."""

    folder: Path
    runs: int = 0
    created: int = 0
    updated: int = 0
    points: int = 0
    closed: int = 0
    deleted: int = 0
    sending: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line for people."""
        if not self.runs:
            return f"{self.folder}: no run has a journal (training/*/{NAME}), nothing to send"
        facts: list[tuple[int, str]] = [
            (self.created, "new"),
            (self.updated, "updated"),
            (self.points, "points sent"),
            (self.closed, "closed (owner gone)"),
            (self.deleted, "deleted"),
            (self.sending, "still sending themselves"),
            (len(self.problems), "problem" if len(self.problems) == 1 else "problems"),
        ]
        told = ", ".join(f"{count} {what}" for count, what in facts if count) or "nothing missing"
        runs = "1 run" if self.runs == 1 else f"{self.runs} runs"
        return f"{self.folder}: {runs}, {told}"

    def add(self, other: "SyncReport") -> None:
        """Counts a later pass; `runs` and `sending` are its own, the rest are sums."""
        self.runs, self.sending = other.runs, other.sending
        self.created += other.created
        self.updated += other.updated
        self.points += other.points
        self.closed += other.closed
        self.deleted += other.deleted
        self.problems += [text for text in other.problems if text not in self.problems]


def sync(
    experiment_folder: str | Path, *, tracking_uri: str | None = None, wait_s: float = WAIT_S
) -> SyncReport:
    """Sends what MLflow does not have of an experiment's runs; may be repeated at any time.

    Creates store, experiment and runs where they are missing, drops repeated points, closes runs
    whose owner is gone and marks removed runs as deleted.

    Args:
        experiment_folder: `results/digits`, with the runs in `training/`.
        tracking_uri: Send everything there instead of where the journals say.
        wait_s: How long another writer of the same store is waited for.

    Raises:
        TrackingError: If the store is held by somebody else or cannot be used.
        FileNotFoundError: If the folder is no experiment's.
    """
    return Synchronizer(experiment_folder, tracking_uri=tracking_uri, wait_s=wait_s).once()


class Synchronizer:
    """Repeated passes over one experiment that remember how far they came.

    Args:
        experiment_folder: `results/digits`, with the runs in `training/`.
        tracking_uri: Send everything there instead of where the journals say.
        wait_s: How long another writer of the same store is waited for.
        exists: Whether the folder must be an experiment's already; at the start of a grid it is
            not.

    Raises:
        FileNotFoundError: If it must and is not.
    """

    def __init__(
        self,
        experiment_folder: str | Path,
        *,
        tracking_uri: str | None = None,
        wait_s: float = WAIT_S,
        exists: bool = True,
    ) -> None:
        folder = Path(experiment_folder)
        self.folder = experiment_at(folder) if exists else folder.absolute()
        if tracking_uri is not None:
            check_uri(tracking_uri)
        self._tracking_uri = tracking_uri
        self._wait_s = wait_s
        self._stores: dict[str, Store] = {}
        self._drains: dict[Path, JournalDrain] = {}
        self._heads: dict[Path, tuple[tuple[int, int], Entry]] = {}
        self._listed: dict[tuple[str, str], dict[str, StoredRun]] = {}
        self._deleted: set[str] = set()
        self._reached: set[str] = set()
        self._inode: int | None = None

    def once(self, *, only: Path | None = None) -> SyncReport:
        """One pass.

        Args:
            only: Send this journal, and those that ended just before it: of several runs that end
                together the first then works for those that wait for it.

        Raises:
            TrackingError: If somebody else holds the store.
        """
        report = SyncReport(self.folder)
        heads = self._read_heads([only] if only is not None else find_journals(self.folder))
        tombstones = [] if only is not None else self._tombstones(heads)
        report.runs = len(heads)
        if not heads and not tombstones:
            return report
        with one_writer(self.folder / LOCK_NAME, wait_s=self._wait_s):
            self._listed.clear()  # another writer may have been here since
            self._reached.clear()
            self._check_database()
            if only is not None and self._missing(heads):
                heads = self._read_heads([only, *ended_with(only, find_journals(self.folder))])
            self._send_all(self._missing(heads), report)
            try:
                self._delete(tombstones, heads, report)
            except Exception as error:
                logger.debug("%s", self.folder, exc_info=True)
                report.problems.append(f"removed runs: {first_line(error)}")
        return report

    def _missing(self, heads: Mapping[Path, Entry]) -> dict[Path, Entry]:
        """Without the runs of which the embedded store has everything."""
        database = self.folder / "mlflow.db"
        if not exists(database):
            return dict(heads)
        positions = journal_positions(database)
        missing = {}
        for path, head in heads.items():
            at, is_open = positions.get(str(head["id"]), (0, True))
            if self._uri(head) or is_open or at != self._heads[path][0][1]:
                missing[path] = head
        return missing

    def _send_all(self, heads: Mapping[Path, Entry], report: SyncReport) -> None:
        unusable: set[str] = set()
        for path, head in heads.items():
            uri = self._uri(head)
            if uri in unusable:
                continue
            try:
                self._send(path, head, uri, report, listed=len(heads) > 1)
            except TrackingError as error:
                unusable.add(uri)
                report.problems.append(str(error))
                self._drains.pop(path, None)  # it may remember as sent what was not
            except Exception as error:  # one damaged run must not keep the others back
                logger.debug("%s", path, exc_info=True)
                report.problems.append(f"{path.parent.name}: {first_line(error)}")
                self._drains.pop(path, None)

    def _read_heads(self, journals: list[Path]) -> dict[Path, Entry]:
        heads = {}
        for path in journals:
            with contextlib.suppress(FileNotFoundError):  # moved to .trash meanwhile
                stat = path.stat()
                state = (stat.st_ino, stat.st_size)
                if path not in self._heads or self._heads[path][0] != state:
                    lines = attempts(path)
                    if not lines or not {"id", "experiment", "run_name"} <= lines[-1].keys():
                        continue
                    self._heads[path] = (state, {**lines[-1], "time": lines[0].get("time")})
                heads[path] = self._heads[path][1]
        return heads

    def _send(self, path: Path, head: Entry, uri: str, report: SyncReport, *, listed: bool) -> None:
        if is_server(uri) and head.get("mode") != "offline" and sends_itself(path, head):
            report.sending += 1
            return
        self._store(uri)
        drain = self._drains.get(path)
        if drain is None or drain.run_id != head["id"]:
            drain = self._start(path, head, uri, report, listed=listed)
            self._drains[path] = drain
        if drain.stored is not None and drain.stored.deleted:
            return  # by hand, in MLflow
        if drain.has_news:
            done = drain.drain()
            report.points += done.points
            report.updated += 1
            report.problems += [f"{path.parent.name}: {text}" for text in done.problems]
        if drain.status == "RUNNING":
            ended = how_it_ended(path, head)
            if ended is not None:
                drain.close(*ended)
                report.closed += 1

    def _start(
        self, path: Path, head: Entry, uri: str, report: SyncReport, *, listed: bool
    ) -> JournalDrain:
        store = self._store(uri)
        drain = JournalDrain(path, store)
        experiment, run_id = str(head["experiment"]), str(head["id"])
        if listed:
            stored = self._runs(uri, experiment).get(run_id)
        else:
            stored = store.find(experiment, run_id)
        if stored is None:
            drain.create(head)
            report.created += 1
            report.updated -= 1
        else:
            drain.attach(stored, run_id)
        return drain

    def _runs(self, uri: str, experiment: str) -> dict[str, StoredRun]:
        """One question for all runs, valid while the lock is held."""
        key = (uri, experiment)
        if key not in self._listed:
            self._listed[key] = self._store(uri).runs(experiment)
        return self._listed[key]

    def _store(self, uri: str) -> Store:
        if uri not in self._stores:
            self._stores[uri] = open_store(uri, self.folder)
            if uri == "":
                self._inode = (self.folder / "mlflow.db").stat().st_ino
        if uri not in self._reached:
            self._stores[uri].check()
            self._reached.add(uri)
        return self._stores[uri]

    def _check_database(self) -> None:
        """Notices an embedded store that was moved, or deleted and made anew, since."""
        database = self.folder / "mlflow.db"
        inode = None
        if exists(database):
            inode = database.stat().st_ino
            with contextlib.suppress(TrackingError):  # told when something is to be sent there
                relocate(database, self.folder.resolve() / "artifacts")
        if "" in self._stores and inode != self._inode:
            del self._stores[""]
            self._drains.clear()  # what they remember as sent is not there
        self._inode = inode

    def _uri(self, head: Entry) -> str:
        """Where a journal goes; empty for the embedded store."""
        if self._tracking_uri is not None:
            return self._tracking_uri
        uri = head.get("tracking_uri")
        return uri if isinstance(uri, str) else ""

    def _tombstones(self, heads: Mapping[Path, Entry]) -> list[Entry]:
        alive = {head["id"] for head in heads.values()}
        path = self.folder / ".trash" / "removed.jsonl"
        if not path.exists():
            return []
        ids = alive | self._deleted  # a folder that was moved back is no longer removed
        return [entry for entry, _ in read(path) if entry.get("id") and entry["id"] not in ids]

    def _delete(
        self, tombstones: list[Entry], heads: Mapping[Path, Entry], report: SyncReport
    ) -> None:
        places = {(self._uri(head), str(head["experiment"])) for head in heads.values()}
        if exists(self.folder / "mlflow.db") and self._tracking_uri is None:
            places.add(("", self.folder.name))
        for tombstone in tombstones:
            run_id = str(tombstone["id"])
            known = set(places)
            journal = self.folder / str(tombstone.get("trash")) / NAME
            if journal.is_file():
                known |= {(self._uri(head), str(head["experiment"])) for head in attempts(journal)}
            for uri, experiment in known:
                if uri == "" and not exists(self.folder / "mlflow.db"):
                    continue
                stored = self._runs(uri, experiment).get(run_id)
                if stored is not None and not stored.deleted:
                    self._store(uri).delete_run(stored)
                    report.deleted += 1
            self._deleted.add(run_id)


def follow(
    synchronizer: Synchronizer,
    stream: TextIO,
    *,
    interval_s: float = 5.0,
    say: Callable[[str], None] = lambda text: None,
) -> SyncReport:
    """Repeats passes until `stream` is closed by whoever holds its other end, then one last.

    Args:
        synchronizer: What to repeat.
        stream: Usually stdin, a pipe from the sweep. It closes too when the sweep is killed.
        interval_s: Time between passes.
        say: Takes each new problem once.
    """
    total = SyncReport(synchronizer.folder)
    while True:
        closed = _closed_within(stream, interval_s)
        before = len(total.problems)
        try:
            total.add(synchronizer.once())
        except TrackingError as error:
            total.add(SyncReport(synchronizer.folder, total.runs, problems=[str(error)]))
        for text in total.problems[before:]:
            say(text)
        if closed:
            return total


def find_journals(folder: Path) -> list[Path]:
    """The journals of an experiment's runs, by name."""
    return sorted((folder / "training").glob(f"*/{NAME}"))


def ended_with(journal: Path, others: list[Path]) -> list[Path]:
    """Those of `others` that ended at most a minute before `journal`, and wait to be sent."""
    found = []
    since = journal.stat().st_mtime - 60
    for path in others:
        with contextlib.suppress(FileNotFoundError):
            if path != journal and path.stat().st_mtime >= since and ends(path):
                found.append(path)
    return found


def experiment_at(folder: Path) -> Path:
    """The folder, absolute, if it is an experiment's.

    Raises:
        FileNotFoundError: Else, naming the experiments nearby.
    """
    folder = Path(folder).absolute()
    if any((folder / name).exists() for name in ("training", "grids", "mlflow.db")):
        return folder
    if not folder.is_dir():
        import difflib

        parent = folder.parent
        beside = [path.name for path in parent.iterdir()] if parent.is_dir() else []
        near = difflib.get_close_matches(folder.name, beside, 1)
        hint = f" Did you mean {parent / near[0]}?" if near else ""
        raise FileNotFoundError(f"There is no folder {folder}.{hint}")
    inside = sorted(path.parent.name for path in folder.glob("*/training"))
    hint = "Runs are expected in its folder training/."
    if folder.parent.name == "training":
        hint = f"It is a run; its experiment is {folder.parent.parent}."
    elif inside:
        hint = f"Name one of its experiments: {', '.join(inside[:10])}."
    raise FileNotFoundError(f"{folder} is no experiment. {hint}")


def how_it_ended(journal: Path, head: Entry) -> tuple[str, float | None] | None:
    """MLflow's status and the time of the end, for a run whose journal does not say; else None.

    run.json tells; where Bookkeeping does not keep one, the journal's own owner is asked.
    """
    record_path = journal.parent / "run.json"
    try:
        record = json.loads(record_path.read_bytes())
    except (OSError, ValueError):
        record = {}
    if isinstance(record, dict) and record.get("id") == head["id"]:
        status = STATUS.get(str(record.get("state")))
        if status is not None:
            return status, _seconds(record.get("ended_at"))
        if is_gone(record, record_path):
            return "KILLED", _seconds(record.get("heartbeat_at"))
        return None
    if is_owned(journal) or not is_gone(head, journal):
        return None
    return "KILLED", journal.stat().st_mtime


def sends_itself(journal: Path, head: Entry) -> bool:
    """Whether the run's own process is still there to send its journal to a server."""
    if is_owned(journal):
        return True
    return not ends(journal) and how_it_ended(journal, head) is None


def _closed_within(stream: TextIO, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([stream], [], [], left)
        if readable and not os.read(stream.fileno(), 4096):
            return True
    return False


def _seconds(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
