"""MLflow's UI on an experiment's embedded store."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ._addresses.errors import TrackingError
from ._addresses.uris import check_installed, environment_without_mlflow
from ._store.database import database_uri, experiment_in
from ._store.sqlite_health import check_database

START_S = 90.0  # 14 s on two idle cores


@contextlib.contextmanager
def serve(folder: Path, *, port: int | None = None, host: str = "127.0.0.1") -> Iterator[str]:
    """Runs MLflow's server on `folder/mlflow.db` until the block ends; yields the URL of the runs.

    Args:
        folder: An experiment's folder.
        port: Port to listen on; by default 5000 or the next free one.
        host: Interface to listen on; by default this machine only.

    Raises:
        TrackingError: If the store is missing, the port is taken, or the server does not start.
    """
    folder = folder.resolve()
    uri = database_uri(folder / "mlflow.db")
    check_installed(uri)
    if not (folder / "mlflow.db").exists():
        raise TrackingError(
            f"{folder} has no mlflow.db: no run was logged here yet, or all runs went to a "
            "tracking server, which has its own page."
        )
    try:
        check_database(folder / "mlflow.db")
    except TrackingError as error:
        if error.lasts:  # whoever holds it now may not for long
            raise
    number = free_port(host, port)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--artifacts-destination", (folder / "artifacts").as_uri()]
    command += ["--host", host, "--port", str(number), "--workers", "1"]
    # The server's jobs would be ten idle processes.
    env = {**environment_without_mlflow(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    # A session of its own, so that the server's children can be ended with it.
    server = subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines: list[str] = []
    assert server.stdout is not None
    reader = threading.Thread(target=lambda: lines.extend(server.stdout or ()), daemon=True)
    reader.start()
    try:
        url = f"http://{host}:{number}"
        _wait_until_ready(url, server, lines)
        experiment = experiment_in(folder / "mlflow.db", folder.name)
        # Without its last part the URL shows prompts and judges.
        runs = f"/#/experiments/{experiment}/runs?workflowType=machine_learning"
        yield url if experiment is None else url + runs
    finally:
        end_server(server)


def free_port(host: str, port: int | None) -> int:
    """`port`, if it is free; the first free one from 5000 on, if it is None.

    Raises:
        TrackingError: If it is not free.
    """
    for number in (port,) if port is not None else (*range(5000, 5050), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, number))
            except (OSError, OverflowError) as error:
                if port is not None:
                    raise TrackingError(
                        f"Port {port} on {host} is not available ({error}). Choose another with "
                        "--port, or leave it out."
                    ) from error
            else:
                return int(probe.getsockname()[1])
    raise TrackingError(f"There is no free port on {host}.")


def _wait_until_ready(url: str, server: subprocess.Popen[str], lines: list[str]) -> None:
    deadline = time.monotonic() + START_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError):  # not yet listening
            opener.open(f"{url}/health", timeout=5).close()
            return
        time.sleep(0.1)
    time.sleep(0.1)  # the reader's last lines
    raise TrackingError("MLflow's server did not start:\n" + "".join(lines[-20:]))


def end_server(server: subprocess.Popen[str]) -> None:
    """Ends a server that leads a session, and its children."""
    for number, patience_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(patience_s)
