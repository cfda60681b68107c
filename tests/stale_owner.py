"""An owner of a run that is stopped before one of its writes, and wakes up when it is another's.

`python stale_owner.py SCENARIO FOLDER ROUNDS SEED` prints, as JSON, what such owners changed in the
run folders of others. The imports are slow, so each owner is a fork of this process.
"""

import builtins
import io
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

CALLS = ("write", "replace", "rename", "link", "unlink", "fsync", "ftruncate", "mkdir", "rmdir")
Train = Callable[[Path, str], None]  # folder, and who trains


class Stop:
    """Stops this process before its n-th call that may change a file, once it holds the run."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._count = 0
        self._holds_run = False
        self._lock = threading.RLock()

    def install(self) -> None:
        for name in CALLS:
            setattr(os, name, self._stopping(getattr(os, name)))
        os.open = self._stopping(os.open, lambda path, flags, *_, **__: flags & 0o3)
        opens = self._stopping(
            builtins.open, lambda path, mode="r", *_, **__: isinstance(mode, str) and mode != "rb"
        )
        builtins.open = io.open = opens

    @property
    def count(self) -> int:
        return self._count

    def _stopping(self, call, changes=lambda *args, **kwargs: True):
        def stopping(*args, **kwargs):
            if self._holds_run and changes(*args, **kwargs):
                with self._lock:
                    self._count += 1
                    stop = self._count == self._at
                if stop:
                    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            result = call(*args, **kwargs)
            if call is LINK and Path(args[1]).parent.name == "claims":
                self._holds_run = True
            return result

        return stopping


LINK = os.link


def contents(folder: Path) -> dict[str, bytes | None]:
    """All in a folder, also hidden: the bytes of files, None for folders."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def forked(train: Train, folder: Path, name: str, stop: Stop | None = None) -> int:
    """The pid of a fork that trains; its exit code is 0 if only the documented errors occurred."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        from expkit_bookkeeping import ClaimLost, RunClaimed

        if stop is not None:
            stop.install()
        try:
            train(folder, name)
            code = 0
        except (ClaimLost, RunClaimed):
            code = 0
        except RuntimeError as error:
            if type(error).__name__ != "RunLost":  # expkit-mlflow's
                raise
            code = 0
        if stop is not None:
            folder.with_name("count").write_text(str(stop.count))
    except BaseException:
        folder.with_name(f"error of {name}").write_text(traceback.format_exc())
    finally:
        os._exit(code)


def ended(pid: int, what: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        waited, status = os.waitpid(pid, os.WNOHANG)
        if waited:
            assert os.waitstatus_to_exitcode(status) == 0, what
            return
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError(f"{what}: it hangs")


def play(train: Train, base: Path, at: int) -> list[str]:
    """What an owner changes that is stopped before its call number `at`: names in the run folder.

    `base` holds `earlier`, the experiment as the owner finds it.
    """
    shutil.rmtree(base / "results" / "stale", ignore_errors=True)
    shutil.copytree(base / "earlier", base / "results" / "stale", symlinks=True)
    folder = base / "results" / "stale" / "training" / "run"
    owner = forked(train, folder, "the stale owner", Stop(at))
    _, status = os.waitpid(owner, os.WUNTRACED)
    claims = len(list((folder / "claims").glob("[0-9]*")))
    if not os.WIFSTOPPED(status):
        assert os.waitstatus_to_exitcode(status) == 0, "the owner, which was not stopped"
        return []
    try:
        ended(forked(train, folder, "the next owner"), "the next owner")
    except AssertionError:
        os.kill(owner, signal.SIGKILL)
        os.waitpid(owner, 0)
        raise
    before = contents(folder)
    taken_over = len(list((folder / "claims").glob("[0-9]*"))) > claims
    os.kill(owner, signal.SIGCONT)
    ended(owner, "the stale owner")
    if not taken_over:  # it had just completed the run, which is still its own
        return []
    after = contents(folder)
    names = before.keys() | after.keys()
    return sorted(name for name in names if before.get(name, "") != after.get(name, ""))


def main(scenario: str, base: Path, rounds: int, seed: int) -> None:
    train = SCENARIOS[scenario](base)
    play(train, base, 0)
    training = base / "results" / "stale" / "training"
    total = int((training / "count").read_text())
    step = max(1, total // rounds)
    offset = random.Random(seed).randrange(step)
    changed: dict[int, object] = {}
    for at in range(1 + offset, total + 1, step):
        try:
            names = play(train, base, at)
        except AssertionError as error:
            names = [str(error), *(path.read_text() for path in training.glob("error of *"))]
        if names:
            changed[at] = names
    print(json.dumps({"calls": total, "changed": changed}))


def _everything(base: Path, *, with_mlflow: bool) -> Train:
    """Training with all that Bookkeeping writes, continued from an earlier attempt."""
    import torch
    from torch import nn

    import expkit_timer._files
    from expkit_bookkeeping import Bookkeeping
    from expkit_timer import Timer

    torch.set_num_threads(1)
    # A stopped process keeps its lock on the folder, and the next owner waits that long.
    expkit_timer._files._LOCK_TIMEOUT_S = 0.05
    outside = base / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner" / "figure.txt").write_text("a figure")

    def train(folder: Path, name: str, epochs: int = 3) -> None:
        sinks = []
        if with_mlflow:
            from expkit_mlflow import MLFlowLogger

            sinks = [MLFlowLogger(mode="offline")]
        ranking = {"metric": "loss", "direction": "minimize", "keep_last": 1}
        config = {"owner": name, "expkit": ranking}
        with Bookkeeping(
            folder, config=config, sinks=sinks, console=False, is_alive=lambda record: False
        ) as run:
            model = nn.Linear(2, 2)
            timer = Timer("epoch")
            run.save_timer(timer)
            start = run.resume(model=model)
            run.save_model_summary(model)
            run.save_encoder(Encoder(name))
            for epoch in range(start, epochs):
                with timer:
                    run.log_metrics({"loss": epoch + len(name)}, epoch)
                run.log(f"epoch {epoch} of {name}")
                run.save_checkpoint(epoch, model=model, background=epoch % 2 == 1)
            run.save_results({"owner": name}, "fold1/scores")
            run.save_model(model)
            (run.create_folder("plots/loss") / "made").touch()
            for sink in sinks:
                sink.log_artifact(outside)
                sink.log_artifact(outside / "inner" / "figure.txt")
            if name == "an earlier owner":
                run.close("interrupted")

    folder = base / "earlier" / "training" / "run"
    folder.parent.mkdir(parents=True)
    ended(forked(lambda *args: train(*args, epochs=1), folder, "an earlier owner"), "the earlier")
    return train


class Encoder:
    def __init__(self, name: str) -> None:
        self._name = name

    def to_dict(self) -> dict[str, object]:
        return {"name": self._name}

    @classmethod
    def from_dict(cls, data: dict[str, object]) -> "Encoder":
        return cls(str(data["name"]))


TRAIN = """
import hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config):
    pass

if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [expkit, _self_]
experiment_id: stale
run_name: run
seed: 0
expkit: {after: []}
hydra: {sweeper: {params: {seed: [1]}}}
"""


def _run_of_a_grid(base: Path) -> Train:
    """A run of a grid, by the function with which every launcher of ours executes one."""
    import logging
    import subprocess

    from expkit_bookkeeping import Bookkeeping, read_run
    from expkit_hydra import Grid
    from expkit_hydra.launching import ProcessOutput, execute_run, hydra_context

    (base / "conf").mkdir(parents=True)
    (base / "conf" / "config.yaml").write_text(CONFIG)
    (base / "train.py").write_text(TRAIN)
    os.chdir(base)
    subprocess.run([sys.executable, "train.py", "-m"], check=True, capture_output=True)
    shutil.rmtree(base / "results" / "stale" / "training")
    (base / "results" / "stale" / "training").mkdir()
    shutil.move(base / "results" / "stale", base / "earlier")

    def train(folder: Path, name: str) -> None:
        grid = Grid.load(folder.parent.parent)
        (run,) = grid.runs

        def task(config: object) -> float:
            print(f"printed by {name}")
            logging.getLogger("train").info("logged by %s", name)
            with Bookkeeping.from_config(config, console=False) as bookkeeping:
                bookkeeping.log_metrics({"loss": float(len(name))}, step=0)
            return float(len(name))

        outcome = execute_run(
            grid,
            run,
            task_function=task,
            hydra_context=hydra_context(grid, run),
            output=ProcessOutput(),
            is_alive=lambda record: False,
        )
        record = read_run(folder)
        if name == "the next owner" and (record is None or record.state != "completed"):
            raise RuntimeError(outcome)

    return train


SCENARIOS = {
    "bookkeeping": lambda base: _everything(base, with_mlflow=False),
    "mlflow": lambda base: _everything(base, with_mlflow=True),
    "grid": _run_of_a_grid,
}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
