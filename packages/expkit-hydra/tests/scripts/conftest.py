"""A small Hydra app in a folder of its own, run as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = """
import os
import sys
import time
from pathlib import Path

import hydra


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    print(f"printed by {cfg.x}")
    with Path("calls.txt").open("a") as calls:
        calls.write(f"{cfg.x}\\n")
    if Path(f"edit{cfg.x}").exists():
        config = Path("config.yaml")
        config.write_text(config.read_text().replace("epochs: 10", "epochs: 20"))
    with Path("epochs.txt").open("a") as epochs:
        epochs.write(f"{cfg.epochs}\\n")
    hang = Path(f"hang{cfg.x}")
    while hang.exists():
        time.sleep(0.01)
    if Path(f"fail{cfg.x}").exists():
        raise ValueError(f"{cfg.x} is too much")
    if Path(f"exit{cfg.x}").exists():
        sys.exit(int(Path(f"exit{cfg.x}").read_text() or 3))
    Path(f"environment{cfg.x}").write_text(
        f"{os.environ.get('EXPKIT_GRID')} {os.environ.get('OMP_NUM_THREADS')} {os.getpid()}"
    )
    if Path("slow_end").exists():
        raise SlowError


class SlowError(Exception):
    def __str__(self):
        Path("ending").touch()
        while Path("slow_end").exists():
            time.sleep(0.01)
        return "slow"


if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [expkit, _self_]
experiment_id: first
x: 1
epochs: 10
hydra: {sweeper: {params: {x: [1, 2, 3]}}}
"""
TIMEOUT_S = 60


@dataclass(frozen=True)
class App:
    """A folder with train.py and config.yaml."""

    folder: Path

    @property
    def experiment(self) -> Path:
        return self.folder / "results" / "first"

    def start(
        self, *arguments: str, stdout: int | None = None, **variables: str
    ) -> "subprocess.Popen[str]":
        """Start Python; with `stdout`, a descriptor, what it prints to stderr alone is kept."""
        environment = {**os.environ, "COLUMNS": "200", **variables}
        environment.pop("OMP_NUM_THREADS", None)
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.STDOUT if stdout is None else subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def train(self, *arguments: str, code: int = 0) -> str:
        """Run train.py to its end; returns what it printed."""
        return self.run("train.py", *arguments, code=code)

    def run(self, *arguments: str, code: int = 0) -> str:
        process = self.start(*arguments)
        output = self.finish(process)
        assert process.returncode == code, output
        return output

    def command(self, *arguments: str, code: int = 0) -> str:
        """Run a verb, as `expkit VERB` does."""
        return self.run("-m", "expkit_hydra", *arguments, code=code)

    def touch(self, *names: str) -> None:
        for name in names:
            (self.folder / name).touch()

    def remove(self, *names: str) -> None:
        for name in names:
            (self.folder / name).unlink()

    def calls(self) -> list[str]:
        """Values of x in the order in which runs started."""
        path = self.folder / "calls.txt"
        return path.read_text().split() if path.exists() else []

    def states(self) -> dict[str, str]:
        return {name: str(run["state"]) for name, run in self.records().items()}

    def records(self) -> dict[str, dict[str, object]]:
        files = self.experiment.glob("training/*/run.json")
        return {path.parent.name: json.loads(path.read_text()) for path in sorted(files)}

    def wait_for_call(self, x: int) -> None:
        """Wait until the run of this x is in the user's function."""
        self.wait_until(lambda: str(x) in self.calls())

    @staticmethod
    def wait_until(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)

    @staticmethod
    def finish(process: "subprocess.Popen[str]", number: signal.Signals | None = None) -> str:
        """Signal a process, wait for its end; returns what it printed."""
        if number is not None:
            process.send_signal(number)
        try:
            return process.communicate(timeout=TIMEOUT_S)[0]
        finally:
            process.kill()


@pytest.fixture(scope="session")
def make_app() -> Callable[[Path], App]:
    """Write an app that trains nothing: x in 1, 2, 3; files hangX, failX, exitX, editX steer it."""

    def make(folder: Path) -> App:
        (folder / "train.py").write_text(SCRIPT)
        (folder / "config.yaml").write_text(CONFIG)
        return App(folder)

    return make


@pytest.fixture
def app(make_app: Callable[[Path], App], tmp_path: Path) -> App:
    """Such an app in a folder of its own."""
    return make_app(tmp_path)
