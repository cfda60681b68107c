"""What is wrong with an SQLite store, and what to do about it: each case has its own text."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shlex
import sqlite3
from functools import cache
from pathlib import Path

from .._addresses.command_lines import command_line
from .._addresses.errors import TrackingError

BUSY_S = 5.0  # for another program's lock; what it keeps us from sending, the next `sync` sends


def check_database(database: Path) -> None:
    """Checks that a file can be read and written as a store of the installed MLflow.

    MLflow itself would wait for minutes where another program holds the file, and would change the
    tables of an older version's store without asking.

    Raises:
        TrackingError: If it cannot; says why, and what to do.
    """
    query = "SELECT version_num FROM alembic_version"
    try:
        # Not created if it is missing. `isolation_level` leaves transactions to us.
        connection = sqlite3.connect(
            f"{database.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
        )
        with contextlib.closing(connection):
            connection.execute("BEGIN IMMEDIATE")
            tables = {
                str(row[0])
                for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            is_store = {"alembic_version", "experiments", "runs"} <= tables
            versions = [str(row[0]) for row in connection.execute(query)] if is_store else []
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise database_problem(error, database) from error
    if not is_store:
        raise TrackingError(
            f"{database} is not an MLflow store: it is an SQLite file of another program, with "
            f"the tables {', '.join(sorted(tables)[:5]) or '(none)'}. {_way_out(database)}",
            lasts=True,
        )
    _check_schema(versions[0] if len(versions) == 1 else "", database)


def sqlite_problem(error: BaseException, database: Path) -> TrackingError | None:
    """The problem behind an exception of MLflow's or SQLAlchemy's; None if it is not SQLite's."""
    links: list[object] = [error]
    for link in links:
        if isinstance(link, sqlite3.Error):
            return database_problem(link, database)
        for name in ("orig", "__cause__", "__context__"):
            inner = getattr(link, name, None)
            if isinstance(inner, BaseException) and inner not in links:
                links.append(inner)
    return None


def database_problem(error: sqlite3.Error, database: Path) -> TrackingError:
    """What an error of SQLite means, and what to do."""
    code = getattr(error, "sqlite_errorcode", None)
    kind = sqlite3.SQLITE_ERROR if code is None else code & 0xFF  # without details
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return TrackingError(
            f"{database} is in use: another program (a database browser, a backup, MLflow's UI in "
            f"the middle of a change) did not release it within {BUSY_S:g} s. The store is fine, "
            "leave it where it is; what is missing there is sent by the next "
            f"{_sync(database)}."
        )
    if kind == sqlite3.SQLITE_FULL:
        return TrackingError(
            f"{database} cannot grow: the disk is full, or your quota is ({error}). The store is "
            f"fine. Free some space, then {_sync(database)} sends what is missing."
        )
    if kind in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
        return TrackingError(
            f"{database} cannot be written ({error}). The store is fine, but SQLite needs the "
            "right to write to the file and to create files beside it. Whoever has it can run "
            f"{_sync(database)}.",
            lasts=True,
        )
    if kind == sqlite3.SQLITE_CORRUPT:
        return TrackingError(
            f"{database} is damaged ({error}). {_way_out(database)} Tags and notes that were made "
            "in MLflow's UI are in the old file only; `sqlite3 OLD .recover` may save them.",
            lasts=True,
        )
    if kind == sqlite3.SQLITE_NOTADB:
        return TrackingError(
            f"{database} is not an MLflow store: it is no SQLite file ({error}). "
            f"{_way_out(database)}",
            lasts=True,
        )
    return TrackingError(
        f"{database} cannot be read or written now ({error}). Leave it where it is, and try "
        f"{_sync(database)} again. If that does not help, look at the disk it is on."
    )


def _check_schema(version: str, database: Path) -> None:
    """Compares the version of a store's tables with that of the installed MLflow.

    Raises:
        TrackingError: If they differ.
    """
    newest, all_versions = _installed_schemas()
    if version == newest or newest is None:
        return
    from importlib.metadata import version as installed_version

    mlflow = f"MLflow {installed_version('mlflow')}"
    if version in all_versions:
        copy = database.with_name(f"{database.stem}-before-upgrade{database.suffix}")
        upgrade = f"mlflow db upgrade {shlex.quote(f'sqlite:///{database.absolute()}')}"
        raise TrackingError(
            f"{database} was made by an older MLflow than the one that is installed here, {mlflow} "
            f"(version {version} of its tables instead of {newest}). The store is fine. Keep a "
            f"copy and upgrade it: `cp {shlex.quote(str(database))} {shlex.quote(str(copy))} && "
            f"{upgrade}`; older versions cannot read it then. Or install the MLflow that made it. "
            f"Then {_sync(database)} sends what is missing.",
            lasts=True,
        )
    raise TrackingError(
        f"{database} was made by a newer MLflow than the one that is installed here, {mlflow} "
        f"(version {version or 'unknown'} of its tables, which it does not know). The store is "
        "fine, leave it where it is. Upgrade MLflow: `pip install -U mlflow`. Then "
        f"{_sync(database)} sends what is missing.",
        lasts=True,
    )


@cache
def _installed_schemas() -> tuple[str | None, frozenset[str]]:
    """The newest version of MLflow's tables, and all versions; (None, {}) if it does not say.

    Read from MLflow's migrations as text, because importing them takes a fifth of a second.
    """
    spec = importlib.util.find_spec("mlflow")
    if spec is None or spec.origin is None:
        return None, frozenset()
    versions, replaced = set(), set()
    for path in Path(spec.origin).parent.glob("store/db_migrations/versions/*.py"):
        text = path.read_text(encoding="utf-8", errors="replace")
        versions.update(re.findall(r"""^revision\b[^=]*=\s*["'](\w+)""", text, re.MULTILINE))
        replaced.update(re.findall(r"""^down_revision\b[^=]*=\s*["'](\w+)""", text, re.MULTILINE))
    newest = versions - replaced
    return (newest.pop(), frozenset(versions)) if len(newest) == 1 else (None, frozenset())


def _way_out(database: Path) -> str:
    if database.name != "mlflow.db":
        return "Choose another mlflow.tracking_uri, or move the file away."
    return f"Move it away, do not delete it: {_sync(database)} makes it anew from the journals."


def _sync(database: Path) -> str:
    """The command; of a store that several experiments may share, only its verb."""
    folder = [database.parent] if database.name == "mlflow.db" else []
    return f"`{command_line('sync', *folder)}`"
