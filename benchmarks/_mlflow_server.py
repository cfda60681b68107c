"""A real `mlflow server` for the duration of a block; it ends however the process ends."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 120.0  # 14 s on two idle cores
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # ten idle processes
}
# Waits until its stdin is closed, which the system does however this process ends, and then stops
# the server with all its workers.
KEEPER = """
import os, signal, subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
sys.stdin.read()
for number in (signal.SIGTERM, signal.SIGKILL):
    try:
        os.killpg(server.pid, number)
        server.wait(10)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
"""


@contextmanager
def mlflow_server(folder: Path, template: Path | None = None) -> Iterator[tuple[str, Path]]:
    """The server as `mlflow server` starts it (four workers); yields its URL and its database.

    Args:
        folder: For its files.
        template: A database to start with; None lets the server create one.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    database = folder / "server.db"
    if template is not None:
        shutil.copy(template, database)
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{database}"]
    command += ["--artifacts-destination", str(folder / "server_artifacts")]
    log = folder / "server.log"
    with log.open("w") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-c", KEEPER, *command],
            env={**os.environ, **QUIET},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us; the keeper follows
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, keeper, log)
        yield url, database
    finally:
        assert keeper.stdin is not None
        keeper.stdin.close()
        keeper.wait()


def wait_until_ready(url: str, keeper: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and keeper.poll() is None:
        try:
            opener.open(f"{url}/health", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"mlflow server did not start:\n{log.read_text()[-2000:]}")
