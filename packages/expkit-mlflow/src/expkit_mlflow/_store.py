"""One MLflow store, through its client: never the fluent API, never a run without experiment id."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import socket
import sqlite3
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ._errors import TrackingError
from ._lock import one_writer
from ._parameters import clean_key, shorten

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run, RunTag

logger = logging.getLogger(__name__)

RUN_ID_TAG = "expkit.run_id"
POSITION_TAG = "expkit.journal_bytes"  # what the store has of the journal, kept in the store
ARTIFACTS_TAG = "expkit.artifacts"  # of an experiment whose artifacts are in its own folder
REQUEST_TIMEOUT_S = 20
CONNECT_TIMEOUT_S = 5.0

TagMap = Mapping[str, str]
_KIND = {
    "mlflow.experimentKind": "custom_model_development"
}  # else the UI shows prompts and judges


@dataclass(frozen=True)
class StoredRun:
    """What the store says about a run before anything is sent."""

    id: str
    status: str
    deleted: bool
    position: int
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    """One value of one metric; `time` in seconds since the epoch."""

    key: str
    value: float
    step: int
    time: float


class Store:
    """What MLflow holds, and what is added to it.

    Args:
        uri: Tracking URI: a server or a database.
        artifacts: Folder for artifacts of new experiments; None leaves it to the server.
    """

    def __init__(self, uri: str, *, artifacts: Path | None = None) -> None:
        self.uri = uri
        self._artifacts = artifacts
        self._experiments: dict[str, str] = {}
        self._client: MlflowClient | None = None

    @property
    def client(self) -> MlflowClient:
        """The client; imports MLflow when first asked for.

        Raises:
            TrackingError: If the store cannot be used.
        """
        if self._client is None:
            check_uri(self.uri)
            check_installed(self.uri)
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=self.uri)
        return self._client

    def check(self) -> None:
        """Asks a server whether it is there; to be called before each series of requests.

        Raises:
            TrackingError: If it is not.
        """
        check_reachable(self.uri)

    def experiment_id(self, name: str) -> str:
        """The experiment's id; creates it where it is missing.

        Raises:
            TrackingError: If it was deleted in MLflow.
        """
        if name in self._experiments:
            return self._experiments[name]
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            location = None if self._artifacts is None else self._artifacts.as_uri()
            tags = dict(_KIND)
            if location is not None:
                tags[ARTIFACTS_TAG] = location
            try:
                self.client.create_experiment(name, artifact_location=location, tags=tags)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            raise TrackingError(f"Experiment {name!r} was created in {self.uri} and is not there.")
        if experiment.lifecycle_stage != "active":
            raise TrackingError(
                f"Experiment {name!r} was deleted in MLflow. Restore it in the UI or with "
                f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, "
                "or choose another experiment_id."
            )
        experiment_id = str(experiment.experiment_id)
        self._experiments[name] = experiment_id
        return experiment_id

    def runs(self, experiment: str) -> dict[str, StoredRun]:
        """All runs of an experiment that came from a journal, by their id there."""
        return self._search(experiment, "")

    def find(self, experiment: str, run_id: str) -> StoredRun | None:
        """The run with this id in its journal, deleted ones included."""
        quoted = run_id.replace("'", "")
        return self._search(experiment, f"tags.`{RUN_ID_TAG}` = '{quoted}'").get(run_id)

    def _search(self, experiment: str, condition: str) -> dict[str, StoredRun]:
        from mlflow.entities import ViewType

        found: dict[str, StoredRun] = {}
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id(experiment)],
                condition,
                run_view_type=ViewType.ALL,
                max_results=1000,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            for run in page:
                run_id = run.data.tags.get(RUN_ID_TAG)
                if run_id is not None:
                    found.setdefault(run_id, _stored(run))
            token = page.token
            if not token:
                return found

    def create_run(
        self, experiment: str, name: str, tags: TagMap, start_time_s: float
    ) -> StoredRun:
        """A new run, always with its experiment's id."""
        limited = self._limited_tags(tags)
        run = self.client.create_run(
            self.experiment_id(experiment),
            start_time=milliseconds(start_time_s),
            tags=limited,
            run_name=name,
        )
        return _stored(run)

    def set_status(self, run: StoredRun, status: str, time_s: float | None) -> None:
        """RUNNING again, or ended: FINISHED, FAILED or KILLED."""
        if status == "RUNNING":
            self.client.update_run(run.id, status=status)
            return
        end_time = milliseconds(time.time() if time_s is None else time_s)
        if is_server(self.uri):  # MLflow's client would print a link into the training's output
            self._post("runs/update", {"run_id": run.id, "status": status, "end_time": end_time})
        else:
            self.client.set_terminated(run.id, status, end_time)

    def delete_run(self, run: StoredRun) -> None:
        """Marks it as deleted; MLflow can restore it."""
        self.client.delete_run(run.id)

    def restore_run(self, run: StoredRun) -> None:
        """Takes a deletion back."""
        self.client.restore_run(run.id)

    def upload(self, run: StoredRun, path: Path, artifact_path: str | None) -> None:
        """Copies a file or a folder to the run's artifacts."""
        if path.is_dir():
            target = path.name if artifact_path is None else f"{artifact_path}/{path.name}"
            self.client.log_artifacts(run.id, str(path), target)
        else:
            self.client.log_artifact(run.id, str(path), artifact_path)

    def send(
        self, run: StoredRun, points: Sequence[Point], params: Mapping[str, str], tags: TagMap
    ) -> list[str]:
        """Sends everything in as few requests as MLflow's limits allow; tags last.

        Returns:
            What MLflow refused, in words; the rest was sent.
        """
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.utils import validation

        key_limit = validation.MAX_ENTITY_KEY_LENGTH
        value_limit = validation.MAX_PARAM_VAL_LENGTH
        metrics = [
            Metric(
                clean_key(point.key, key_limit), point.value, milliseconds(point.time), point.step
            )
            for point in points
        ]
        parameters = [
            Param(clean_key(key, key_limit), shorten(value, value_limit))
            for key, value in params.items()
        ]
        run_tags = [RunTag(key, value) for key, value in self._limited_tags(tags).items()]
        at_once = validation.MAX_PARAMS_TAGS_PER_BATCH
        refused: list[str] = []
        while metrics or parameters or run_tags:
            room = validation.MAX_ENTITIES_PER_BATCH
            now_params, parameters = parameters[:at_once], parameters[at_once:]
            room -= len(now_params)
            size = min(room, validation.MAX_METRICS_PER_BATCH)
            now_metrics, metrics = metrics[:size], metrics[size:]
            room -= len(now_metrics)
            now_tags: list[RunTag] = []
            if not (metrics or parameters):  # the position must not run ahead of the points
                size = min(room, at_once)
                now_tags, run_tags = run_tags[:size], run_tags[size:]
            refused += self._send_or_split(run.id, now_metrics, now_params, now_tags)
        return refused

    def _send_or_split(
        self, run_id: str, metrics: list[Metric], params: list[Param], tags: list[RunTag]
    ) -> list[str]:
        """One batch; when MLflow refuses it, halves of it, so that one bad value costs itself."""
        from mlflow.exceptions import MlflowException

        count = len(metrics) + len(params) + len(tags)
        if not count:
            return []
        try:
            self._log_batch(run_id, metrics, params, tags)
        except MlflowException as error:
            if error.error_code not in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
                raise
            if count == 1:
                what = (metrics or params or tags)[0]
                return [f"{what.key!r}: {str(error).splitlines()[0]}"]
            if sum(map(bool, (metrics, params, tags))) > 1:
                parts: list[tuple[list[Metric], list[Param], list[RunTag]]] = [
                    (metrics, [], []),
                    ([], params, []),
                    ([], [], tags),
                ]
            else:
                a, b, c = (len(items) // 2 for items in (metrics, params, tags))
                parts = [
                    (metrics[:a], params[:b], tags[:c]),
                    (metrics[a:], params[b:], tags[c:]),
                ]
            return [text for part in parts for text in self._send_or_split(run_id, *part)]
        return []

    def _log_batch(
        self, run_id: str, metrics: list[Metric], params: list[Param], tags: list[RunTag]
    ) -> None:
        if not is_server(self.uri):
            self.client.log_batch(run_id, metrics, params, tags)
            return
        self._post(
            "runs/log-batch",
            {
                "run_id": run_id,
                "metrics": [
                    {"key": m.key, "value": m.value, "timestamp": m.timestamp, "step": m.step}
                    for m in metrics
                ],
                "params": [{"key": p.key, "value": p.value} for p in params],
                "tags": [{"key": t.key, "value": t.value} for t in tags],
            },
        )

    def _post(self, endpoint: str, body: Mapping[str, object]) -> None:
        """One request on a connection of its own.

        MLflow's client keeps its connection, and a server with its default four workers answers in
        two small segments: the second waits 40 ms for this side's delayed acknowledgement. A new
        connection acknowledges at once (52 ms against 12 a request on loopback).
        """
        from mlflow.exceptions import RestException
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        response = http_request(  # type: ignore[no-untyped-call]
            get_default_host_creds(self.uri),  # type: ignore[no-untyped-call]
            f"/api/2.0/mlflow/{endpoint}",
            "POST",
            json=body,
            extra_headers={"Connection": "close"},
            max_retries=0,  # whoever called tries again
            timeout=REQUEST_TIMEOUT_S,
        )
        if response.status_code != 200:
            try:
                raise RestException(response.json())  # type: ignore[no-untyped-call]
            except ValueError:
                server, text = without_password(self.uri), response.text[:200]
                raise TrackingError(f"{server} answered {response.status_code}: {text}") from None

    @staticmethod
    def _limited_tags(tags: TagMap) -> dict[str, str]:
        from mlflow.utils import validation

        return {
            clean_key(key, validation.MAX_ENTITY_KEY_LENGTH): shorten(
                value, validation.MAX_TAG_VAL_LENGTH
            )
            for key, value in tags.items()
        }


def open_store(uri: str, folder: Path) -> Store:
    """A store that exists, for the experiment in `folder`.

    To be called under the experiment's lock.

    Args:
        uri: Where; empty for the embedded store, `folder/mlflow.db`.
        folder: The experiment's folder. It gets the artifacts, unless a server has its own place.

    Raises:
        TrackingError: If only mlflow-skinny is installed, or the file is no store.
    """
    folder = folder.resolve()
    artifacts = folder / "artifacts"
    if uri == "":
        database = folder / "mlflow.db"
        check_installed(database_uri(database))
        if exists(database):
            relocate(database, artifacts)
        else:
            create_database(database, artifacts)
        return Store(database_uri(database), artifacts=artifacts)
    check_uri(uri)
    check_installed(uri)
    path = uri.removeprefix("sqlite:///")
    if path != uri and not exists(Path(path)):
        database = Path(path)
        database.parent.mkdir(parents=True, exist_ok=True)
        with one_writer(database.with_name(database.name + ".lock"), wait_s=120):
            if not exists(database):  # other experiments may share it
                create_database(database, artifacts)
    return Store(uri, artifacts=None if is_server(uri) else artifacts)


def exists(database: Path) -> bool:
    """Whether there is a store; an empty file is none (whoever looks with sqlite3 leaves one)."""
    return database.is_file() and database.stat().st_size > 0


def create_database(database: Path, artifacts: Path) -> None:
    """A new SQLite store, whole or not at all.

    MLflow builds its tables in two dozen steps, and a process killed between two of them leaves a
    file that no later one can use: so they are built in a temporary file that takes its place.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for left in database.parent.glob(f".{database.name}.*.tmp*"):  # by a process killed meanwhile
        left.unlink(missing_ok=True)
    temporary = database.with_name(f".{database.name}.{uuid.uuid4().hex}.tmp")
    try:
        with _without_progress("mlflow.store.db.utils"):
            made = SqlAlchemyStore(  # type: ignore[no-untyped-call]
                database_uri(temporary), artifacts.as_uri()
            )
        made.engine.dispose()
        temporary.replace(database)
        # MLflow keeps connections by URI, and these may lead to a deleted file of that name.
        stale = getattr(SqlAlchemyStore, "_engine_map", {}).get(database_uri(database))
        if stale is not None:
            stale.dispose()
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _without_progress(name: str) -> Iterator[None]:
    """MLflow tells of each table it builds, in the middle of somebody's training output."""

    def important(record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO

    talker = logging.getLogger(name)
    talker.addFilter(important)
    try:
        yield
    finally:
        talker.removeFilter(important)


def relocate(database: Path, artifacts: Path) -> bool:
    """Points a store's artifact locations to where the artifacts are now.

    MLflow stores absolute locations, so a folder that was moved, renamed or copied to another
    machine would still show its curves but none of its artifacts.

    Returns:
        Whether anything had to change.
    """
    new = artifacts.as_uri()
    query = "SELECT DISTINCT value FROM experiment_tags WHERE key = ? AND value != ?"
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection, connection:
            old = [str(row[0]) for row in connection.execute(query, (ARTIFACTS_TAG, new))]
            for location in old:
                for table, column in _locations(connection):
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (new, len(location) + 1, location, len(location) + 1, f"{location}/"),
                    )
    except sqlite3.DatabaseError as error:
        raise TrackingError(
            f"{database} is not a usable MLflow store ({error}). Move it away: "
            f"`expkit sync {database.parent}` builds it anew from the journals."
        ) from error
    return bool(old)


def _locations(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    known = [
        ("experiments", "artifact_location"),
        ("experiment_tags", "value"),
        ("runs", "artifact_uri"),
        ("logged_models", "artifact_location"),
        ("trace_tags", "value"),
        ("model_versions", "source"),
        ("model_versions", "storage_location"),
    ]
    return [
        (table, column)
        for table, column in known
        if column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    ]


def journal_positions(database: Path) -> dict[str, tuple[int, bool]]:
    """How far an SQLite store has each journal, without the seconds that MLflow's import takes.

    Returns:
        By the run's id in its journal: bytes of the journal, and whether the run is still open.
        Empty where the store cannot say.
    """
    query = """
        SELECT id.value, position.value, runs.status = 'RUNNING' AND runs.lifecycle_stage = 'active'
        FROM tags AS id
        JOIN tags AS position ON position.run_uuid = id.run_uuid AND position.key = ?
        JOIN runs ON runs.run_uuid = id.run_uuid
        WHERE id.key = ?
    """
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection:
            rows = connection.execute(query, (POSITION_TAG, RUN_ID_TAG)).fetchall()
    except sqlite3.Error:
        return {}
    return {str(run): (int(at), bool(open_)) for run, at, open_ in rows if str(at).isdigit()}


def experiment_in(database: Path, name: str) -> str | None:
    """The id of the experiment of this name, or of the newest one; None where there is none."""
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection:
        row = connection.execute(
            "SELECT experiment_id FROM experiments WHERE lifecycle_stage = 'active' "
            "AND experiment_id != 0 ORDER BY name = ? DESC, experiment_id DESC LIMIT 1",
            (name,),
        ).fetchone()
    return None if row is None else str(row[0])


def database_uri(path: Path) -> str:
    """The SQLAlchemy URI of an SQLite file."""
    return f"sqlite:///{path}"


def is_server(uri: str) -> bool:
    """Whether the URI names a server, which takes batches while the run goes on."""
    return uri.startswith(("http://", "https://"))


def check_uri(uri: str) -> None:
    """Refuses what no MLflow of today can write to.

    Raises:
        TrackingError: For a folder, whose file store MLflow has given up.
    """
    scheme = urllib.parse.urlsplit(uri).scheme
    if uri == "databricks":
        return
    if scheme in ("", "file") or len(scheme) == 1:  # C:\…
        raise TrackingError(
            f"Tracking URI {uri!r} is a folder, and MLflow 3.13 gave its file store up. "
            "Leave mlflow.tracking_uri null for the SQLite store in the experiment's folder, give "
            "a server (http://…) or a database (sqlite:///…), or convert an old ./mlruns with "
            "`mlflow migrate-filestore`."
        )


def check_installed(uri: str) -> None:
    """Says what is missing before MLflow fails deep inside.

    Raises:
        TrackingError: If a database is asked for and only mlflow-skinny is installed.
    """
    if not is_server(uri) and uri.startswith(("sqlite", "postgresql", "mysql", "mssql")):
        try:
            found = importlib.util.find_spec("sqlalchemy") and importlib.util.find_spec("alembic")
        except (ImportError, ValueError):
            found = None
        if not found:
            raise TrackingError(
                f"{uri} needs the full MLflow, and only mlflow-skinny is installed: "
                'pip install "expkit-mlflow[local]", or set mlflow.tracking_uri to a server '
                "(http://…). The journals keep everything until then."
            )


def check_reachable(uri: str) -> None:
    """Asks once whether a server listens: MLflow's own client would retry for minutes.

    Raises:
        TrackingError: If nobody answers.
    """
    parts = urllib.parse.urlsplit(uri)
    if not is_server(uri) or parts.hostname is None:
        return
    proxies = urllib.request.getproxies()
    if parts.scheme in proxies and not urllib.request.proxy_bypass(parts.hostname):
        return  # only the proxy knows
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise TrackingError(f"{without_password(uri)} does not answer ({error}).") from error


def without_password(uri: str) -> str:
    """The URI as it may stand in a file or a message.

    >>> without_password("https://me:secret@host:5000/x")
    'https://host:5000/x'
    """
    parts = urllib.parse.urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def milliseconds(time_s: float) -> int:
    """MLflow's timestamps; the same for the same time, or a repeated point would count twice."""
    return round(time_s * 1000)


def environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment without MLflow's variables, which would redirect a server of ours."""
    return {
        key: value
        for key, value in environ.items()
        if not key.startswith(("MLFLOW_", "_MLFLOW_")) or key == "MLFLOW_DISABLE_TELEMETRY"
    }


def _stored(run: Run) -> StoredRun:
    tags = run.data.tags
    position = tags.get(POSITION_TAG, "0")
    return StoredRun(
        id=run.info.run_id,
        status=run.info.status,
        deleted=run.info.lifecycle_stage != "active",
        position=int(position) if position.isdigit() else 0,
        params=dict(run.data.params),
    )
