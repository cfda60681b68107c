"""SQLite stores that cannot be written: each case has its own text, and loses nothing."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from expkit_mlflow import MLFlowLogger, TrackingError, sync


def log(experiment, name="r", **kwargs):
    with MLFlowLogger(experiment, name, **kwargs) as tracking:
        tracking.log_metrics({"loss": 1.0}, 0)


def log_offline(experiment, name="r"):
    log(experiment, name, mode="offline")


@contextlib.contextmanager
def held(database, kind):
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute(f"BEGIN {kind}")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def set_schema(database, version):
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))


OLDER = ("mlflow==2.22.2", "mlflow-skinny==2.22.2", "sqlalchemy<2.1")
LOGS_A_RUN = """
import sys
from mlflow.tracking import MlflowClient

client = MlflowClient(sys.argv[1])
run = client.create_run(client.create_experiment("older"), run_name="kept").info.run_id
client.log_metric(run, "loss", 0.5, step=0)
client.set_terminated(run)
"""


@pytest.fixture
def older_mlflow(tmp_path):
    """The environment of a process that imports an older MLflow, which has its own folder."""
    folder = tmp_path / "older"
    install = ["pip", "install", "--quiet", "--no-deps", "--target", str(folder), *OLDER]
    if subprocess.run([sys.executable, "-m", *install], check=False).returncode:
        pytest.skip("an older MLflow cannot be installed here")
    return os.environ | {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize("kind", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_store_that_another_program_holds_is_waited_for_briefly_and_left_to_the_next_sync(
    experiment, kit, caplog, kind
):
    log(experiment, "a")
    with held(experiment / "mlflow.db", kind):
        begin = time.monotonic()
        log(experiment, "b")
        assert time.monotonic() - begin < 20
    (message,) = [record.getMessage() for record in caplog.records]
    assert "mlflow.db is in use: another program" in message
    assert "The store is fine, leave it where it is" in message
    assert f"sync {experiment}`" in message

    assert sync(experiment).problems == []
    assert set(kit.runs(experiment)) == {"a", "b"}


def test_a_store_that_is_held_for_a_moment_is_waited_for(experiment, kit):
    log_offline(experiment)
    holder = kit.python(
        "import sqlite3, sys, time\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN EXCLUSIVE'); print('held', flush=True)\n"
        "time.sleep(1); c.execute('ROLLBACK')",
        experiment / "mlflow.db",
    )
    assert holder.stdout.readline() == "held\n"
    assert sync(experiment).problems == []
    holder.communicate()
    assert set(kit.runs(experiment)) == {"r"}


def test_a_store_of_an_older_mlflow_is_left_as_it_is_with_the_command_to_upgrade_it(experiment):
    log_offline(experiment)
    database = experiment / "mlflow.db"
    set_schema(database, "acf3f17fdcc7")  # MLflow 2.9
    before = database.read_bytes()

    (problem,) = sync(experiment).problems

    assert "was made by an older MLflow" in problem
    assert f"mlflow db upgrade sqlite:///{database}" in problem
    assert "Move" not in problem
    assert "move" not in problem
    assert database.read_bytes() == before


@pytest.mark.skipif("EXPKIT_FAULTS" not in os.environ, reason="an installation: EXPKIT_FAULTS=1")
@pytest.mark.faults("the store of an older MLflow is kept, and has everything once it is upgraded")
def test_a_store_that_an_older_mlflow_made_has_everything_once_it_is_upgraded(
    tmp_path, older_mlflow, kit
):
    experiment = tmp_path / "results" / "digits"
    experiment.mkdir(parents=True)
    uri = f"sqlite:///{experiment / 'mlflow.db'}"
    command = [sys.executable, "-c", LOGS_A_RUN, uri]
    subprocess.run(command, env=older_mlflow, check=True, capture_output=True)
    log_offline(experiment)
    before = (experiment / "mlflow.db").read_bytes()

    (problem,) = sync(experiment).problems

    assert f"mlflow db upgrade {uri}" in problem
    assert (experiment / "mlflow.db").read_bytes() == before
    upgrade = [sys.executable, "-m", "mlflow", "db", "upgrade", uri]
    subprocess.run(upgrade, check=True, capture_output=True)
    assert sync(experiment).problems == []
    assert set(kit.runs(experiment)) == {"r"}
    with contextlib.closing(sqlite3.connect(experiment / "mlflow.db")) as connection:
        assert connection.execute("SELECT value FROM metrics WHERE run_uuid IN "
                                  "(SELECT run_uuid FROM runs WHERE name = 'kept')"
                                 ).fetchall() == [(0.5,)]  # fmt: skip


def test_a_store_that_lacks_an_older_versions_tables_is_not_changed_unasked(experiment):
    log_offline(experiment)
    database = experiment / "mlflow.db"
    set_schema(database, "acf3f17fdcc7")
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DROP TABLE logged_model_tags")  # MLflow would migrate it at once
    before = database.read_bytes()

    (problem,) = sync(experiment).problems

    assert "was made by an older MLflow" in problem
    assert database.read_bytes() == before


def test_a_store_of_a_newer_mlflow_asks_for_the_newer_one(experiment):
    log_offline(experiment)
    set_schema(experiment / "mlflow.db", "0123456789ab")

    (problem,) = sync(experiment).problems

    assert "was made by a newer MLflow" in problem
    assert "pip install -U mlflow" in problem
    assert "leave it where it is" in problem
    assert "placeholder" not in problem
    assert "<database_uri>" not in problem


def test_a_damaged_store_is_kept_and_made_anew(experiment, kit):
    log(experiment, "a")
    log_offline(experiment, "b")
    database = experiment / "mlflow.db"
    data = bytearray(database.read_bytes())
    data[4096 : len(data)] = b"\xa5" * (len(data) - 4096)  # the first page says it is a database
    database.write_bytes(data)

    (problem,) = sync(experiment).problems

    assert "is damaged (database disk image is malformed)" in problem
    assert "Move it away, do not delete it" in problem
    assert ".recover" in problem
    database.rename(experiment / "damaged.db")
    assert sync(experiment).problems == []
    assert set(kit.runs(experiment)) == {"a", "b"}


def test_another_programs_database_is_not_called_damaged(experiment):
    log_offline(experiment)
    database = experiment / "mlflow.db"
    database.unlink()
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE contacts (name TEXT)")

    (problem,) = sync(experiment).problems

    assert "is not an MLflow store: it is an SQLite file of another program" in problem
    assert "contacts" in problem


def test_an_explicit_database_is_never_told_to_be_moved_as_if_it_were_the_experiments(
    experiment, tmp_path
):
    shared = tmp_path / "shared.db"
    shared.write_text("not a database" * 1000)
    log_offline(experiment)

    (problem,) = sync(experiment, tracking_uri=f"sqlite:///{shared}").problems

    assert "shared.db is not an MLflow store" in problem
    assert "Choose another mlflow.tracking_uri" in problem


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    mounts = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False)
    if not mounts or mounts.returncode != 0:
        pytest.skip("only root can make a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder, *, leave=0):
    with (folder / "filler").open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        file.truncate(file.tell() - leave)


def problem_of(experiment):
    try:
        (problem,) = sync(experiment).problems
    except TrackingError as error:  # not even the lock could be made
        return str(error)
    return problem


@pytest.mark.faults("a full disk costs no point of a journal")
@pytest.mark.parametrize("leave", [0, 40_960])
def test_a_full_disk_is_called_full_and_costs_nothing(small_disk, empty_store, kit, leave):
    experiment = small_disk / "digits"
    (experiment / "training").mkdir(parents=True)
    shutil.copy(empty_store, experiment / "mlflow.db")
    with MLFlowLogger(experiment, "r", mode="offline") as tracking:
        for step in range(2000):
            tracking.log_metrics({"loss": float(step)}, step)
    fill(small_disk, leave=leave)

    begin = time.monotonic()
    problem = problem_of(experiment)

    assert time.monotonic() - begin < 30
    assert "the disk is full" in problem
    assert f"sync {experiment}`" in problem
    assert "Move" not in problem
    (small_disk / "filler").unlink()
    assert sync(experiment).problems == []
    history = kit.history(experiment, kit.runs(experiment)["r"], "loss")
    assert history == [(step, float(step)) for step in range(2000)]


@pytest.mark.faults("a full disk costs no point of a journal")
def test_a_store_that_cannot_be_created_on_a_full_disk_leaves_nothing_half_made(small_disk, kit):
    experiment = small_disk / "digits"
    log_offline(experiment)
    fill(small_disk, leave=40_960)

    problem = problem_of(experiment)

    assert "the disk is full" in problem
    assert not (experiment / "mlflow.db").exists()
    assert not list(experiment.glob(".mlflow.db.*"))
    (small_disk / "filler").unlink()
    assert sync(experiment).problems == []
    assert set(kit.runs(experiment)) == {"r"}


def test_the_oldest_known_and_the_newest_schema_are_those_of_mlflow(empty_store):
    from expkit_mlflow._store.sqlite_health import _installed_schemas

    newest, versions = _installed_schemas()
    with contextlib.closing(sqlite3.connect(empty_store)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (newest,)
    assert {"451aebb31d03", "acf3f17fdcc7", newest} <= versions


def test_the_ui_refuses_a_store_of_another_version_in_the_same_words(experiment, kit):
    log_offline(experiment)
    set_schema(Path(experiment / "mlflow.db"), "0123456789ab")
    completed = subprocess.run(
        [sys.executable, "-m", "expkit_mlflow", "ui", str(experiment)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 1
    assert "was made by a newer MLflow" in completed.stderr


def test_a_database_server_that_is_away_is_noticed_at_once(experiment, kit):
    log_offline(experiment)
    begin = time.monotonic()

    (problem,) = sync(
        experiment, tracking_uri=f"postgresql://me:s3cret@127.0.0.1:{kit.free_port()}/db"
    ).problems

    assert time.monotonic() - begin < 10
    assert "does not answer" in problem
    assert "s3cret" not in problem
