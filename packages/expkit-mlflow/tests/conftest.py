import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest


def require(part: str, is_present: object) -> None:
    """Skips if a real part is missing; fails if EXPKIT_REQUIRE names it."""
    if is_present:
        return
    if part in os.environ.get("EXPKIT_REQUIRE", "").split(","):
        pytest.fail(f"{part} is required here and missing")
    pytest.skip(f"needs {part}")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = ("MLFLOW_", "SLURM_", "RANK", "EXPKIT_GRID")
    for name in [name for name in os.environ if name.startswith(foreign)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture(autouse=True)
def _reader_of_run_folders(request: pytest.FixtureRequest) -> None:
    """Session `tests_runs` says EXPKIT_REQUIRE=runs; else these tests are skipped without it."""
    if request.node.get_closest_marker("runs") is not None:
        require("runs", _has("expkit_bookkeeping"))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new store; MLflow needs two seconds to create one, but none for a copy."""
    require("mlflow", _has("mlflow") and _has("sqlalchemy"))
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    artifacts = (path.parent / "artifacts").as_uri()
    SqlAlchemyStore(f"sqlite:///{path}", artifacts).engine.dispose()
    return path


@pytest.fixture
def experiment(tmp_path: Path, empty_store: Path) -> Path:
    """An experiment's folder with an empty store."""
    folder = tmp_path / "results" / "digits"
    (folder / "training").mkdir(parents=True)
    shutil.copy(empty_store, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real `mlflow server` on loopback."""
    require("mlflow", _has("mlflow") and _has("sqlalchemy"))
    folder = tmp_path_factory.mktemp("server")
    with start_server(folder, Kit.free_port()) as url:
        yield url


class start_server:
    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
        command += ["--artifacts-destination", str(folder / "artifacts")]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        env = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        env["MLFLOW_DISABLE_TELEMETRY"] = "true"
        env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        self._log = (folder / "server.log").open("w")
        self._process = subprocess.Popen(
            command, env=env, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def __enter__(self) -> str:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5).close()
            except OSError:
                time.sleep(0.1)
            else:
                return self.url
        self.__exit__()
        raise RuntimeError(Path(self._log.name).read_text())

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):  # the server leads a session
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        self._log.close()


class Kit:
    """What the tests share, as the fixture `kit`."""

    @staticmethod
    def free_port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    @staticmethod
    def python(code: str, *arguments: object, **kwargs: object) -> subprocess.Popen[str]:
        """Starts another process, like a user's script."""
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **kwargs,  # type: ignore[call-overload]
        )

    @staticmethod
    def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            time.sleep(0.02)

    @staticmethod
    def lines(path: Path) -> list[dict[str, object]]:
        return [json.loads(line) for line in path.read_text().splitlines()]

    @staticmethod
    def this_process() -> dict[str, object]:
        """Host, pid and start of this process, written as docs/formats.md describes them."""
        owner = {"host": socket.gethostname(), "pid": os.getpid()}
        if sys.platform != "linux":
            seconds = round(psutil.Process().create_time())
            return {**owner, "process_start": f"{owner['host']}:psutil/{seconds}"}
        stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        machine = f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
        return {**owner, "process_start": f"{machine}/{stat[19]}"}

    @staticmethod
    def record(folder: Path, **facts: object) -> Mapping[str, object]:
        """What Bookkeeping passes to its sinks; also writes run.json."""
        folder.mkdir(parents=True, exist_ok=True)
        run: dict[str, object] = {
            "schema": 1,
            "id": f"id-of-{folder.name}",
            "run_name": folder.name,
            "experiment_id": folder.parent.parent.name,
            "state": "running",
            "attempt": 1,
            "heartbeat_at": "2026-11-23T08:05:50.000000+00:00",
            "ended_at": None,
            "slurm": None,
            "config_hash": "9b2f7c0e4d",
            "grid_id": "a1b2c3",
            "code": {"commit": "4f2a"},
            **Kit.this_process(),
            **facts,
        }
        (folder / "run.json").write_text(json.dumps(run))
        return {**run, "folder": str(folder)}

    @staticmethod
    def client(folder: Path):  # type: ignore[no-untyped-def]
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=f"sqlite:///{folder.resolve() / 'mlflow.db'}")

    @staticmethod
    def runs(folder: Path, experiment: str = "digits", *, uri: str | None = None, view: int = 1):  # type: ignore[no-untyped-def]
        """All runs that MLflow itself finds, by name."""
        from mlflow import MlflowClient

        reader = Kit.client(folder) if uri is None else MlflowClient(tracking_uri=uri)
        stored = reader.get_experiment_by_name(experiment)
        assert stored is not None
        return {
            run.info.run_name: run
            for run in reader.search_runs([stored.experiment_id], run_view_type=view)
        }

    @staticmethod
    def history(folder: Path, run, key: str, *, uri: str | None = None) -> list[tuple[int, float]]:  # type: ignore[no-untyped-def]
        from mlflow import MlflowClient

        reader = Kit.client(folder) if uri is None else MlflowClient(tracking_uri=uri)
        points = reader.get_metric_history(run.info.run_id, key)
        return sorted((point.step, point.value) for point in points)

    start_server = start_server
    require = staticmethod(require)

    @staticmethod
    def has(module: str) -> bool:
        return _has(module)


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    return Kit


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None
