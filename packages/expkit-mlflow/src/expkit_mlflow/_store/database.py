"""SQLite stores as files: created whole or not at all, and moved along with their folder."""

import contextlib
import logging
import sqlite3
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from .._addresses.command_lines import command_line
from .._addresses.errors import TrackingError
from .._addresses.uris import check_installed, check_uri, is_server
from .client import Store
from .entities import ARTIFACTS_TAG, POSITION_TAG, REMOVED_TAG, RUN_ID_TAG
from .lock import one_writer
from .sqlite_health import BUSY_S, database_problem, sqlite_problem


def open_store(
    uri: str, folder: Path, *, naming_command: str | None = None, follow_links: bool = False
) -> Store:
    """A store that exists, for the experiment in `folder`.

    Call it under the experiment's lock.

    Args:
        uri: The store; empty for the embedded one, `folder/mlflow.db`.
        folder: The experiment's folder. It gets the artifacts, unless the store is a server, which
            has its own place for them.
        naming_command: The command with which the user would name the store; None if they have.
        follow_links: Whether the store, or the folder of its artifacts, may be a link.

    Raises:
        TrackingError: If only mlflow-skinny is installed, or the file cannot be used as a store.
    """
    folder = folder.resolve()
    artifacts = folder / "artifacts"
    if uri == "":
        database = folder / "mlflow.db"
        check_installed(database_uri(database))
        if has_store(database):
            relocate(database, artifacts)
        else:
            create_database(database, artifacts)
        return Store(
            database_uri(database), artifacts=artifacts, embedded=True, follow_links=follow_links
        )
    check_uri(uri)
    check_installed(uri)
    path = uri.removeprefix("sqlite:///")
    database = Path(path)
    if path != uri and not has_store(database):
        database.parent.mkdir(parents=True, exist_ok=True)
        with one_writer(database.with_name(database.name + ".lock"), wait_s=120):
            if not has_store(database):  # other experiments may share it
                create_database(database, artifacts)
    return Store(
        uri,
        artifacts=None if is_server(uri) else artifacts,
        naming_command=naming_command,
        follow_links=follow_links,
    )


def has_store(database: Path) -> bool:
    """Whether a store exists; an empty file, as sqlite3 leaves after a look, is not one."""
    return database.is_file() and database.stat().st_size > 0


def check_no_link(database: Path) -> None:
    """Refuses an embedded store that is a link out of its folder: what leads there is only data.

    Raises:
        TrackingError: If it is one.
    """
    if not database.resolve().is_relative_to(database.parent.resolve()):
        raise TrackingError(
            f"{database} is a link out of its folder, to {str(database.resolve())!r}. Nothing was "
            "written there. If it is yours: "
            f"{command_line('sync', database.parent, '--follow-links')}",
            lasts=True,
        )


def create_database(database: Path, artifacts: Path) -> None:
    """Creates an SQLite store, whole or not at all.

    MLflow creates its tables one by one. A process killed in between would leave a file that no
    later one can use. So they are created in a temporary file, which is then renamed.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for leftover in database.parent.glob(f".{database.name}.*.tmp*"):  # of a killed process
        leftover.unlink(missing_ok=True)
    temporary = database.with_name(f".{database.name}.{uuid.uuid4().hex}.tmp")
    try:
        with _without_progress("mlflow.store.db.utils"):
            store = SqlAlchemyStore(  # type: ignore[no-untyped-call]
                database_uri(temporary), artifacts.as_uri()
            )
        store.engine.dispose()
        temporary.replace(database)
        forget_connections(database)
    except Exception as error:  # SQLAlchemy's
        problem = sqlite_problem(error, database)
        if problem is None:
            raise
        raise problem from error
    finally:
        temporary.unlink(missing_ok=True)


def forget_connections(database: Path) -> None:
    """Closes the connections that MLflow keeps by URI: they may lead to a deleted file."""
    module = sys.modules.get("mlflow.store.tracking.sqlalchemy_store")
    if module is not None:
        engine = getattr(module.SqlAlchemyStore, "_engine_map", {}).get(database_uri(database))
        if engine is not None:
            engine.dispose()


@contextlib.contextmanager
def _without_progress(name: str) -> Iterator[None]:
    """Silences MLflow, which reports each new table in the middle of the training's output."""

    def is_important(record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO

    progress_logger = logging.getLogger(name)
    progress_logger.addFilter(is_important)
    try:
        yield
    finally:
        progress_logger.removeFilter(is_important)


def relocate(database: Path, artifacts: Path) -> bool:
    """Corrects a store's artifact locations, and its experiment's name, after its folder has moved.

    MLflow stores absolute locations. Without this, a folder that was moved, renamed or copied to
    another machine would still show its curves, but none of its artifacts. An experiment that had
    the folder's name gets its new one, unless another experiment has that.

    Returns:
        Whether anything had to change.
    """
    new = artifacts.as_uri()
    query = "SELECT DISTINCT value FROM experiment_tags WHERE key = ? AND value != ?"
    try:
        with contextlib.closing(_connect(database)) as connection, connection:
            old = [str(row[0]) for row in connection.execute(query, (ARTIFACTS_TAG, new))]
            for location in old:
                _rename(connection, location, artifacts)
                for table, column in _locations(connection):
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (new, len(location) + 1, location, len(location) + 1, f"{location}/"),
                    )
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
            return False  # no such table: `check_database` says what kind of file it is
        raise database_problem(error, database) from error
    return bool(old)


def _rename(connection: sqlite3.Connection, location: str, artifacts: Path) -> None:
    """Renames the experiment whose folder had this location, if it was called as the folder was."""
    former, name = Path(url2pathname(urlsplit(location).path)).parent.name, artifacts.parent.name
    connection.execute(
        "UPDATE experiments SET name = ?1 WHERE name = ?2 AND artifact_location = ?3 "
        "AND NOT EXISTS (SELECT 1 FROM experiments WHERE name = ?1)",
        (name, former, location),
    )


def _connect(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, timeout=BUSY_S)


def _locations(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    locations = [
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
        for table, column in locations
        if column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    ]


@dataclass(frozen=True)
class DatabaseRun:
    """What an SQLite store has of a run that came from a journal."""

    name: str
    position: int  # bytes of the journal
    is_open: bool  # still RUNNING, or marked as deleted by us and perhaps to be restored


def database_runs(database: Path) -> dict[str, DatabaseRun] | None:
    """The runs of an SQLite store by the id in their journal, read without importing MLflow.

    That import takes seconds, and a search through MLflow as long as writing a hundred points.

    Returns:
        None if the store cannot be read.
    """
    query = """
        SELECT id.value, runs.name, position.value, CASE runs.lifecycle_stage
            WHEN 'active' THEN runs.status = 'RUNNING' ELSE removed.value IS NOT NULL END
        FROM tags AS id
        LEFT JOIN tags AS position ON position.run_uuid = id.run_uuid AND position.key = ?
        LEFT JOIN tags AS removed ON removed.run_uuid = id.run_uuid AND removed.key = ?
        JOIN runs ON runs.run_uuid = id.run_uuid
        WHERE id.key = ?
    """
    try:
        with contextlib.closing(_connect(database)) as connection:
            rows = connection.execute(query, (POSITION_TAG, REMOVED_TAG, RUN_ID_TAG)).fetchall()
    except sqlite3.Error:
        return None
    return {
        str(run): DatabaseRun(str(name), int(at) if str(at).isdecimal() else 0, bool(is_open))
        for run, name, at, is_open in rows
    }


def experiment_in(database: Path, name: str) -> str | None:
    """The id of the experiment of this name, else of the newest one; None if there is none."""
    with contextlib.closing(_connect(database)) as connection:
        row = connection.execute(
            "SELECT experiment_id FROM experiments WHERE lifecycle_stage = 'active' "
            "AND experiment_id != 0 ORDER BY name = ? DESC, experiment_id DESC LIMIT 1",
            (name,),
        ).fetchone()
    return None if row is None else str(row[0])


def database_uri(path: Path) -> str:
    """The SQLAlchemy URI of an SQLite file."""
    return f"sqlite:///{path}"
