"""All journals of an experiment, brought to MLflow by the one process that holds the lock."""

import contextlib
import gc
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ._addresses import check_uri, is_server
from ._database import (
    KnownRun,
    exists,
    forget_connections,
    known_runs,
    open_store,
    relocate,
)
from ._drain import JournalDrain
from ._endings import how_it_ended, sends_itself
from ._errors import TrackingError, first_line, log_trace
from ._folders import ended_with, experiment_at, find_journals
from ._journal import NAME, Entry, attempts, read
from ._lock import NAME as LOCK_NAME
from ._lock import one_writer
from ._report import SyncReport
from ._secrets import without_secrets
from ._store import REMOVED_TAG, Store, StoredRun
from ._superseded import remove_superseded, tag_superseded

logger = logging.getLogger(__name__)

WAIT_S = 120.0  # for the lock: eight runs that end together take a few seconds each


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
        credentials: URIs with user and password, which the journals have without.
            MLFLOW_TRACKING_URI is always among them.
        environ: Stands in for the environment.

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
        credentials: Iterable[str] = (),
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        folder = Path(experiment_folder)
        self.folder = experiment_at(folder) if exists else folder.absolute()
        if tracking_uri is not None:
            check_uri(tracking_uri)
        self._tracking_uri = tracking_uri
        self._wait_s = wait_s
        whole = [environ.get("MLFLOW_TRACKING_URI", ""), *credentials]
        self._credentials = {without_secrets(uri): uri for uri in whole}
        self._stores: dict[str, Store] = {}
        self._drains: dict[Path, JournalDrain] = {}
        self._heads: dict[Path, tuple[tuple[int, int], Entry]] = {}
        self._known: dict[str, KnownRun] | None = None  # in the embedded store; None: ask MLflow
        self._names: set[str] = set()  # of these
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
            self._known = None
            self._reached.clear()
            self._check_database()
            try:  # first, or a run in a removed one's place would pass for one without tombstone
                self._delete(tombstones, heads, report)
            except Exception as error:
                log_trace(logger)
                report.problems.append(f"removed runs: {first_line(error)}")
            if only is not None and self._missing(heads):
                heads = self._read_heads([only, *ended_with(only, find_journals(self.folder))])
            with _few_full_collections():
                self._send_all(self._missing(heads), report)
        return report

    def _missing(self, heads: Mapping[Path, Entry]) -> dict[Path, Entry]:
        """Without the runs of which the embedded store has everything."""
        database = self.folder / "mlflow.db"
        if not exists(database):
            self._known, self._names = {}, set()
            return dict(heads)
        self._known = known_runs(database)
        self._names = {run.name for run in (self._known or {}).values()}
        missing = {}
        for path, head in heads.items():
            known = (self._known or {}).get(str(head["id"]))
            size = self._heads[path][0][1]
            if self._uri(head) or known is None or known.is_open or known.position != size:
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
                log_trace(logger)
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
        own = head.get("tracking_uri") == without_secrets(uri) and head.get("mode") != "offline"
        if own and is_server(uri) and sends_itself(path, head):
            report.sending += 1
            return
        self._store(uri)
        drain = self._drains.get(path)
        if drain is None or drain.run_id != head["id"]:
            drain = self._drains[path] = self._start(path, head, uri, report, listed=listed)
        assert drain.stored is not None
        if drain.stored.deleted:
            if REMOVED_TAG not in drain.stored.tags:
                return  # by hand, in MLflow
            drain.restore()  # the folder was moved back
            self._deleted.discard(drain.run_id)
            report.updated += not drain.has_news
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
        known = self._known if store.embedded else None
        if known is not None and run_id not in known:
            stored = None
        elif listed:
            stored = self._runs(uri, experiment).get(run_id)
        else:
            stored = store.find(experiment, run_id)
        if stored is None:
            drain.create(head)
            report.created += 1
            report.updated -= 1
            if not store.embedded:
                report.superseded += tag_superseded(store, drain)
            elif known is None or drain.run_name in self._names:
                report.superseded += remove_superseded(store, drain, self._present)
        else:
            drain.attach(stored, head)
        return drain

    def _present(self) -> set[str]:
        heads = self._read_heads(find_journals(self.folder)).values()
        return {str(head["id"]) for head in heads}

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
            forget_connections(database.resolve())
            self._drains.clear()  # what they remember as sent is not there
        self._inode = inode

    def _uri(self, head: Entry) -> str:
        """Where a journal goes; empty for the embedded store."""
        if self._tracking_uri is not None:
            return self._tracking_uri
        uri = head.get("tracking_uri")
        return self._credentials.get(uri, uri) if isinstance(uri, str) else ""

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
                    self._store(uri).remove_run(stored, str(tombstone.get("reason") or "removed"))
                    report.deleted += 1
            self._deleted.add(run_id)


@contextlib.contextmanager
def _few_full_collections() -> Iterator[None]:
    """Keeps Python from looking for garbage among MLflow's half a million objects again and again.

    It is a fifth of the time otherwise. New objects are looked through as ever.
    """
    before = gc.get_threshold()
    gc.set_threshold(before[0], before[1], max(100, before[2]))
    try:
        yield
    finally:
        gc.set_threshold(*before)
