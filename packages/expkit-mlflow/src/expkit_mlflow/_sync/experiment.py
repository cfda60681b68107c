"""The drain of all journals of an experiment, by the one process that holds its lock."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path

from .._addresses.addresses import NamedAddresses
from .._addresses.command_lines import command_line
from .._addresses.errors import TrackingError, first_line, log_traceback
from .._addresses.secrets import uri_without_secrets
from .._addresses.uris import check_uri, is_server
from .._journal.entries import JOURNAL_NAME, Entry
from .._journal.experiments import ended_together, experiment_at, find_journals
from .._journal.reading import NewerJournalError, read_attempts
from .._store.client import Store
from .._store.database import (
    DatabaseRun,
    check_no_link,
    database_runs,
    forget_connections,
    has_store,
    open_store,
    relocate,
)
from .._store.entities import FOLDER_TAG, REMOVED_TAG, StoredRun
from .._store.lock import LOCK_NAME, one_writer
from .._store.sqlite_health import sqlite_problem
from .drain import JournalDrain
from .endings import inferred_end, is_sending
from .outcomes import Outcomes
from .report import SyncReport
from .siblings import reader_of_runs
from .superseded import remove_superseded, tag_superseded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping.reading import RemovedRun

logger = logging.getLogger(__name__)

ERRORS_IN_A_ROW = 3  # after which a server's errors are not about single runs
WAIT_S = 120.0  # for the lock: eight runs that end together take a few seconds each


def sync(
    experiment_folder: str | PathLike[str],
    *,
    tracking_uri: str | None = None,
    wait_s: float = WAIT_S,
    follow_links: bool = False,
) -> SyncReport:
    """Sends to MLflow what it does not have of an experiment's runs; can be repeated at any time.

    Creates the store, the experiment and the runs if they are missing, drops repeated points,
    closes runs whose owner is gone, and marks removed runs as deleted.

    Args:
        experiment_folder: `results/digits`, with the runs in `training/`.
        tracking_uri: Send everything there instead of where the journals say.
        wait_s: How long to wait for another writer of the same store.
        follow_links: Whether artifacts that are links out of the run's folder are sent, and an
            mlflow.db or a folder of artifacts that is a link is written to.

    Credentials go to a server that `tracking_uri` or MLFLOW_TRACKING_URI names; to one that only
    journals name, what is in the folder is sent without any.

    Raises:
        TrackingError: If another process holds the store, or if it cannot be used.
        FileNotFoundError: If the folder is not an experiment.
    """
    synchronizer = Synchronizer(
        experiment_folder, tracking_uri=tracking_uri, wait_s=wait_s, follow_links=follow_links
    )
    return synchronizer.once()


class Synchronizer:
    """Makes passes over one experiment, each of which continues where the last one stopped.

    Args:
        experiment_folder: `results/digits`, with the runs in `training/`.
        tracking_uri: Send everything there instead of where the journals say.
        wait_s: How long to wait for another writer of the same store.
        must_exist: Whether the folder must already be an experiment; when a grid starts, it is
            not.
        credentials: Tracking URIs that the user has named, with what the journals leave out.
            MLFLOW_TRACKING_URI is always among them, and EXPKIT_TRACKING_URI, the configuration's,
            which a sweep hands on.
        follow_links: Whether artifacts that are links out of the run's folder are sent, and an
            mlflow.db or a folder of artifacts that is a link is written to.
        environ: The environment; by default that of this process.

    Raises:
        FileNotFoundError: If the folder must be an experiment, but is not.
    """

    def __init__(
        self,
        experiment_folder: str | PathLike[str],
        *,
        tracking_uri: str | None = None,
        wait_s: float = WAIT_S,
        must_exist: bool = True,
        credentials: Iterable[str] = (),
        follow_links: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        folder = Path(experiment_folder)
        self.folder = experiment_at(folder) if must_exist else folder.absolute()
        if tracking_uri is not None:
            check_uri(tracking_uri)
        self._wait_s = wait_s
        variables = [environ.get(name) for name in ("EXPKIT_TRACKING_URI", "MLFLOW_TRACKING_URI")]
        self._addresses = NamedAddresses([*variables, *credentials, tracking_uri], self.folder)
        self._tracking_uri = (
            None if tracking_uri is None else self._addresses.full_uri(tracking_uri)
        )
        self._follow_links = follow_links
        self._stores: dict[str, Store] = {}
        self._drains: dict[Path, JournalDrain] = {}
        self._heads: dict[Path, tuple[tuple[int, int], Entry]] = {}  # with inode and size
        self._newer: dict[Path, NewerJournalError] = {}  # journals of a newer version
        self._database_runs: dict[str, DatabaseRun] | None = None  # None: ask MLflow
        self._run_names: set[str] = set()  # of these
        self._stored_runs: dict[tuple[str, str], dict[str, StoredRun]] = {}
        self._deleted_ids: set[str] = set()
        self._reached_uris: set[str] = set()
        self._unusable: dict[str, TrackingError] = {}  # stores that were given up in this pass
        self._errors_in_a_row: dict[str, int] = {}  # of a store, each for another run
        self._told_of_rename = False
        self._outcomes = Outcomes()
        self._inode: int | None = None

    def once(self, *, only: Path | None = None) -> SyncReport:
        """Makes one pass.

        Args:
            only: Drain only this journal, and those that ended just before it: if several runs end
                together, one does the work for the others that wait for it.

        Raises:
            TrackingError: If another process holds the store, or the disk takes no lock.
        """
        report = SyncReport(self.folder)
        journals = [only] if only is not None else find_journals(self.folder)
        heads = self._read_heads(journals)
        tombstones = [] if only is not None else self._tombstones(heads, report)
        report.runs = len(heads)
        report.problems.extend(map(str, self._newer.values()))
        if not heads and not tombstones:
            return report
        with _writer(self.folder, self._wait_s):
            self._stored_runs.clear()  # another process may have written since
            self._database_runs = None
            self._reached_uris.clear()
            self._unusable.clear()
            self._errors_in_a_row.clear()
            if any([self._outcomes.complete(path) for path in heads]):  # of each
                heads = self._read_heads(journals)
            self._check_database()
            # First: a new run in a removed run's place would supersede it otherwise.
            self._delete(tombstones, heads, report)
            if only is not None and self._missing(heads):
                heads = self._read_heads([only, *ended_together(only, find_journals(self.folder))])
                # Within a training nothing is sent to a server that only another journal names.
                is_named = self._addresses.is_named
                heads = {path: head for path, head in heads.items() if is_named(self._uri(head))}
            with _few_full_collections():
                self._send_all(self._missing(heads), report)
        return report

    def _missing(self, heads: Mapping[Path, Entry]) -> dict[Path, Entry]:
        """Leaves out the runs of which the embedded store has everything."""
        database = self.folder / "mlflow.db"
        if not has_store(database):
            self._database_runs, self._run_names = {}, set()
            return dict(heads)
        self._database_runs = None if "" in self._unusable else database_runs(database)
        runs = self._database_runs or {}
        self._run_names = {run.name for run in runs.values()}
        missing = {}
        for path, head in heads.items():
            run = runs.get(str(head["id"]))
            size = self._heads[path][0][1]
            if self._uri(head) or run is None or run.is_open or run.position != size:
                missing[path] = head
        return missing

    def _send_all(self, heads: Mapping[Path, Entry], report: SyncReport) -> None:
        told: set[str] = set()
        for path, head in heads.items():
            uri = self._uri(head)
            if uri in told:
                continue
            try:
                self._send(path, head, uri, report, many=len(heads) > 1)
            except Exception as error:  # one damaged run must not hold the others back
                self._drains.pop(path, None)  # it may count as sent what was not
                self._add_problem(error, uri, path.parent.name, report)
                if uri in self._unusable:
                    told.add(uri)
            else:
                self._errors_in_a_row.pop(uri, None)

    def _add_problem(self, error: Exception, uri: str, what: str, report: SyncReport) -> None:
        """Reports an error, and gives its store up for this pass if it would meet the next run too.

        Args:
            error: The error.
            uri: The store.
            what: What could not be sent.
            report: Gets the problem.
        """
        if isinstance(error, ImportError) and not isinstance(error, TrackingError):
            problem = str(error)  # the same for all runs
        else:
            if not isinstance(error, TrackingError):
                log_traceback(logger)
                error = self._database_problem(error, uri) or error
            if isinstance(error, TrackingError):
                self._unusable[uri] = error
                problem = str(error)
            else:
                problem = f"{what}: {first_line(error)}"
                count = self._errors_in_a_row[uri] = self._errors_in_a_row.get(uri, 0) + 1
                if count == ERRORS_IN_A_ROW:
                    problem += f". So ended {count} in a row; this store is left alone for now."
                    self._unusable[uri] = TrackingError(problem)
        if problem not in report.problems:
            report.problems.append(problem)

    def _database_problem(self, error: Exception, uri: str) -> TrackingError | None:
        if uri and not uri.startswith("sqlite:///"):
            return None
        database = Path(uri.removeprefix("sqlite:///")) if uri else self.folder / "mlflow.db"
        return sqlite_problem(error, database)

    def _read_heads(self, journals: list[Path]) -> dict[Path, Entry]:
        heads = {}
        self._newer.clear()
        for path in journals:
            with contextlib.suppress(FileNotFoundError):  # moved to .trash meanwhile
                stat = path.stat()
                version = (stat.st_ino, stat.st_size)
                if path not in self._heads or self._heads[path][0] != version:
                    try:
                        attempts = read_attempts(path)
                    except NewerJournalError as error:
                        self._newer[path] = error
                        continue
                    if not attempts or not {"id", "experiment", "run_name"} <= attempts[-1].keys():
                        continue
                    head = {**attempts[-1], "time": attempts[0].get("time")}
                    self._heads[path] = (version, head)
                heads[path] = self._heads[path][1]
        return heads

    def _send(self, path: Path, head: Entry, uri: str, report: SyncReport, *, many: bool) -> None:
        named_here = self._addresses.full_uri(str(head.get("tracking_uri") or "")) == uri
        own = named_here and head.get("mode") != "offline"
        if own and is_server(uri) and is_sending(path, head):
            report.sending += 1
            return
        self._store(uri)
        drain = self._drains.get(path)
        if drain is None or drain.run_id != head["id"]:
            drain = self._drains[path] = self._start(path, head, uri, report, many=many)
        assert drain.stored is not None
        if drain.stored.deleted:
            if REMOVED_TAG not in drain.stored.tags:
                return  # deleted by hand, in MLflow
            drain.restore()  # the folder was moved back
            self._deleted_ids.discard(drain.run_id)
            report.updated += not drain.has_new_entries
        if drain.has_new_entries:
            drained = drain.drain()
            report.points += drained.points
            report.updated += 1
            report.problems += [f"{path.parent.name}: {text}" for text in drained.problems]
        if drain.status == "RUNNING":
            end = inferred_end(path, head)
            if end is not None:
                drain.close(*end)
                report.closed += 1

    def _start(
        self, path: Path, head: Entry, uri: str, report: SyncReport, *, many: bool
    ) -> JournalDrain:
        store = self._store(uri)
        drain = JournalDrain(path, store, follow_links=self._follow_links)
        experiment = store.experiment_name(str(head["experiment"]), self.folder.name)
        head = {**head, "experiment": experiment}
        run_id = str(head["id"])
        runs = self._database_runs if store.embedded else None
        if runs is not None and run_id not in runs:
            stored = None
        elif many:
            stored = self._runs(uri, experiment).get(run_id)
        else:
            stored = store.find_run(experiment, run_id)
        if stored is None:
            drain.create(head)
            report.created += 1
            report.updated -= 1
            if not store.embedded:
                report.superseded += tag_superseded(store, drain)
            elif runs is None or drain.run_name in self._run_names:
                report.superseded += remove_superseded(store, drain, self._present)
        else:
            drain.attach(stored, head)
            store.remove_duplicates(run_id)
            self._tell_of_rename(stored, experiment, uri)
        return drain

    def _tell_of_rename(self, stored: StoredRun, experiment: str, uri: str) -> None:
        """Says that a store which others may share still has the former name of this folder."""
        former = Path(stored.tags.get(FOLDER_TAG, "")).parent.parent
        renamed = former.name == experiment != self.folder.name and former != self.folder
        if not renamed or self._told_of_rename or former.is_dir():  # there: this is a copy
            return
        self._told_of_rename = True
        logger.warning(
            "%s was called %s when its runs were sent to MLflow at %s, where they are in the "
            "experiment %r still: others may use that name. To change it there: "
            "`mlflow experiments rename --experiment-id %s --new-name %s`.",
            self.folder,
            former.name,
            uri_without_secrets(uri),
            experiment,
            self._store(uri).experiment_id(experiment),
            shlex.quote(self.folder.name),
        )

    def _present(self) -> set[str]:
        heads = self._read_heads(find_journals(self.folder)).values()
        return {str(head["id"]) for head in heads} | self._newer_ids()

    def _newer_ids(self) -> set[str]:
        """The ids of the runs whose journals are a newer version's: their folders are there."""
        return {error.run_id for error in self._newer.values() if error.run_id is not None}

    def _runs(self, uri: str, experiment: str) -> dict[str, StoredRun]:
        """All runs of an experiment, from one request that is valid while the lock is held."""
        key = (uri, experiment)
        if key not in self._stored_runs:
            self._stored_runs[key] = self._store(uri).runs(experiment)
        return self._stored_runs[key]

    def _store(self, uri: str) -> Store:
        """The store, which answers.

        Raises:
            TrackingError: If it does not, or has not before in this pass.
        """
        if uri in self._unusable:
            raise self._unusable[uri]
        if uri not in self._stores:
            self._stores[uri] = open_store(
                uri,
                self.folder,
                naming_command=self._addresses.naming_command(uri),
                follow_links=self._follow_links,
            )
            if uri == "":
                self._inode = (self.folder / "mlflow.db").stat().st_ino
        if uri not in self._reached_uris:
            self._stores[uri].check()
            self._reached_uris.add(uri)
        return self._stores[uri]

    def _check_database(self) -> None:
        """Notices if the embedded store was moved, or replaced by another one, since."""
        database = self.folder / "mlflow.db"
        inode = None
        if has_store(database):
            inode = database.stat().st_ino
            try:
                if not self._follow_links:
                    check_no_link(database)
                relocate(database, self.folder.resolve() / "artifacts")
            except TrackingError as error:  # reported once there is something to send
                self._unusable[""] = error
        if "" in self._stores and inode != self._inode:
            del self._stores[""]
            forget_connections(database.resolve())
            self._drains.clear()  # what they count as sent is not in the new store
        self._inode = inode

    def _uri(self, head: Entry) -> str:
        """The store of a journal; empty for the embedded one."""
        if self._tracking_uri is not None:
            return self._tracking_uri
        uri = head.get("tracking_uri")
        return self._addresses.full_uri(uri) if isinstance(uri, str) else ""

    def _tombstones(self, heads: Mapping[Path, Entry], report: SyncReport) -> list[RemovedRun]:
        if not (self.folder / ".trash").is_dir():
            return []
        try:
            with reader_of_runs("Marking removed runs as deleted"):
                from expkit_bookkeeping.reading import removed_runs
        except ImportError as error:  # everything else can be sent
            report.problems.append(str(error))
            return []
        # A folder that was moved back is no longer removed.
        ids = {head["id"] for head in heads.values()} | self._newer_ids() | self._deleted_ids
        return [run for run in removed_runs(self.folder) if run.id and run.id not in ids]

    def _delete(
        self, tombstones: list[RemovedRun], heads: Mapping[Path, Entry], report: SyncReport
    ) -> None:
        common_places = {(self._uri(head), str(head["experiment"])) for head in heads.values()}
        if has_store(self.folder / "mlflow.db") and self._tracking_uri is None:
            common_places.add(("", self.folder.name))
        for tombstone in tombstones:
            run_id = str(tombstone.id)
            places = set(common_places)
            journal = None if tombstone.trash is None else tombstone.trash / JOURNAL_NAME
            if journal is not None and journal.is_file():
                try:
                    attempts = read_attempts(journal)
                except NewerJournalError as error:
                    report.problems.append(str(error))
                    continue
                places |= {(self._uri(head), str(head["experiment"])) for head in attempts}
            complete = True
            for uri, experiment in places:
                if uri == "" and not has_store(self.folder / "mlflow.db"):
                    continue
                try:
                    stored = self._runs(uri, experiment).get(run_id)
                    if stored is not None and not stored.deleted:
                        self._store(uri).remove_run(stored, tombstone.reason or "removed")
                        report.deleted += 1
                except Exception as error:  # the runs that are here matter more
                    complete = False
                    self._add_problem(error, uri, "removed runs", report)
            if complete:
                self._deleted_ids.add(run_id)


@contextlib.contextmanager
def _writer(folder: Path, wait_s: float) -> Iterator[None]:
    """Holds the experiment's lock until the block ends."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(one_writer(folder / LOCK_NAME, wait_s=wait_s))
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            why = "the disk is full, or your quota is" if is_full else str(error)
            raise TrackingError(
                f"{folder} cannot be written: {why}. Mend that, then "
                f"`{command_line('sync', folder)}` sends what is missing; the journals have it."
            ) from error
        yield


@contextlib.contextmanager
def _few_full_collections() -> Iterator[None]:
    """Makes full garbage collections rare: MLflow has half a million objects.

    They would take a fifth of the time. New objects are collected as usual.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(thresholds[0], thresholds[1], max(100, thresholds[2]))
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
