"""A small Hydra app in a folder of its own, submitted to a real cluster as a user submits it."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slurm_cluster import SlurmCluster

from expkit_slurm import RunStatus, SlurmManager
from expkit_slurm._cluster.scheduler import Scheduler

# Touch `hold` to let runs wait, `failN` to let run N raise.
SCRIPT = """
import os
import signal
import sys
import time
from pathlib import Path

import hydra


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    print(f"printed by {cfg.x}", flush=True)
    with Path("calls.txt").open("a") as calls:
        calls.write(f"{cfg.x} {cfg.note}\\n")
    while Path("hold").exists() or Path(f"hold{cfg.x}").exists():
        time.sleep(0.02)
    if Path(f"fail{cfg.x}").exists():
        raise ValueError(f"{cfg.x} is too much")
    if Path(f"kill{cfg.x}").exists():
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
"""
# With Bookkeeping: resumes where it was stopped, and logs a curve that depends on its past.
RESUMABLE = """
import os
import time
from pathlib import Path

import hydra

from expkit_bookkeeping import Bookkeeping


class State:
    def __init__(self):
        self.value = 1.0

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    state = State()
    with Bookkeeping.from_config(cfg) as run:
        start = run.resume(model=state)
        for epoch in range(start, cfg.epochs):
            time.sleep(cfg.pause_s)
            state.value = state.value * 1.5 % 7
            run.log_metrics({"loss": state.value}, step=epoch)
            run.save_checkpoint(epoch, model=state)
            Path(f"epoch{cfg.x}").write_text(str(epoch))
            if run.should_stop():
                return


if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [expkit, _self_]
experiment_id: first
x: 1
note: first
epochs: 5
pause_s: 0.0
expkit: {after: []}
hydra: {sweeper: {params: {x: [0, 1, 2]}}}
"""
LAUNCHER = ("hydra/launcher=expkit_slurm", "hydra.launcher.poll_s=0.3")
TIMEOUT_S = 120.0


@dataclass
class SlurmApp:
    """A folder with train.py and conf/, and the cluster that its grid goes to."""

    folder: Path
    cluster: SlurmCluster
    environment: Mapping[str, str] = field(default_factory=dict)
    experiment_id: str = "first"

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def array_script(self, ending: str = 'exec "$@"', *lines: str) -> Path:
        directives = "".join(f"#SBATCH {line}\n" for line in lines)
        return self.write(
            "gpu_scripts/grid_search_array.sh", f"#!/usr/bin/env bash\n{directives}{ending}\n"
        )

    def touch(self, *names: str) -> None:
        for name in names:
            (self.folder / name).touch()

    def remove(self, *names: str) -> None:
        for name in names:
            (self.folder / name).unlink()

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, **self.cluster.environment, **self.environment}

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**self.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, code: int | None = 0, timeout_s: float = TIMEOUT_S) -> str:
        """Run Python in the app's folder; checks the exit code."""
        process = self.start(*arguments)
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"still running: {process.communicate()[0]}") from None
        assert code is None or process.returncode == code, output
        return output

    def sweep(self, *overrides: str, code: int | None = 0, timeout_s: float = TIMEOUT_S) -> str:
        return self.run("train.py", "-m", *LAUNCHER, *overrides, code=code, timeout_s=timeout_s)

    def submit(self, *overrides: str) -> str:
        """Submit without waiting."""
        return self.sweep("hydra.launcher.wait=false", *overrides)

    def expkit(self, verb: str, *arguments: str, code: int | None = 0) -> str:
        package = "expkit_hydra" if verb in ("status", "show", "cleanup") else "expkit_slurm"
        words = [verb, str(self.experiment.relative_to(self.folder)), *arguments]
        return self.run("-m", package, *words, code=code)

    @property
    def experiment(self) -> Path:
        return self.folder / "results" / self.experiment_id

    def manager(self, experiment: Path | None = None) -> SlurmManager:
        # Not this process's environment, which knows no cluster.
        scheduler = Scheduler(environ=self.environ)
        return SlurmManager.attach(experiment or self.experiment, scheduler=scheduler)

    def statuses(self) -> dict[str, RunStatus]:
        return {status.run_name: status for status in self.manager().status()}

    def states(self) -> dict[str, str]:
        return {name: status.state for name, status in self.statuses().items()}

    def record(self, run_name: object) -> dict:
        return json.loads((self.experiment / "training" / str(run_name) / "run.json").read_text())

    def log(self, run_name: object, name: str = "console.log") -> str:
        return (self.experiment / "training" / str(run_name) / name).read_text()

    def calls(self) -> list[str]:
        """What was called, a line a call: the run's x and note."""
        path = self.folder / "calls.txt"
        return path.read_text().splitlines() if path.is_file() else []

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, self.cluster.run("squeue", "--states=all")
            time.sleep(0.05)

    def wait_for_calls(self, number: int) -> None:
        self.wait_for(lambda: len(self.calls()) >= number)

    def wait(self, timeout_s: float = TIMEOUT_S) -> dict[str, RunStatus]:
        """Wait in this process until all runs are over."""
        statuses = self.manager().wait(timeout_s, lost_after_s=2.0)
        return {status.run_name: status for status in statuses}

    def kill(self, run_name: object, number: int = signal.SIGKILL) -> None:
        os.kill(self.record(run_name)["pid"], number)
