"""Removing points from an SQLite store, for which MLflow has no call."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

Row = tuple[str, float, int, int]  # key, value, step, milliseconds since the epoch


def remove_points(database: Path, run_id: str, rows: Iterable[Row]) -> None:
    """Remove points of one run, and let MLflow show the last one that is left of each metric.

    Call it under the experiment's lock.

    Raises:
        sqlite3.Error: If the file is not a store that can be written; then nothing has changed.
    """
    rows = list(rows)
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        connection.executemany(
            "DELETE FROM metrics WHERE run_uuid = ? AND key = ? AND value = ? AND step = ? "
            "AND timestamp = ?",
            [(run_id, *row) for row in rows],
        )
        for key in sorted({row[0] for row in rows}):
            connection.execute(
                "DELETE FROM latest_metrics WHERE run_uuid = ? AND key = ?", (run_id, key)
            )
            connection.execute(
                "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
                "SELECT key, value, timestamp, step, is_nan, run_uuid FROM metrics "
                "WHERE run_uuid = ? AND key = ? "
                "ORDER BY step DESC, timestamp DESC, value DESC LIMIT 1",
                (run_id, key),
            )
