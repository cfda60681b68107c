"""One run of several processes: when its ranks start, and whose error counts.

Rank 0 claims the run and writes; the others wait until it announces the start, since it may find
that there is nothing to do. They meet in a folder of the submission, one per start of the job.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .._cluster.errors import SlurmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._cluster.current_job import CurrentJob

POLL_S = 0.05
WATCH_S = 0.2
PATIENCE_S = 600.0  # rank 0 may import for minutes from a slow file server
# When a rank fails, srun ends the others a moment later.
ECHO_S = 2.0


class RankError(RuntimeError):
    """What another rank of a distributed run raised; its traceback is in a note."""


@dataclass(frozen=True)
class Ranks:
    """The processes of one start of a distributed run, which meet in a folder."""

    folder: Path
    rank: int

    @classmethod
    def of(cls, submission: Path, job: CurrentJob) -> Ranks:
        """The ranks of this job; their folder is a new one after each requeue."""
        return cls(submission / "ranks" / f"{job.name}.{job.restarts}", job.rank)

    def announce(self, reason: str | None) -> None:
        """Rank 0: let the others start (None), or give the reason not to."""
        from expkit_bookkeeping.launching import write_file

        self.folder.mkdir(parents=True, exist_ok=True)
        write_file(self.folder / "go.json", json.dumps({"reason": reason}) + "\n")

    def wait_for_rank_0(self, sleep: Callable[[float], None] = time.sleep) -> str | None:
        """The other ranks: None to start, or the reason not to.

        Raises:
            SlurmError: If rank 0 announces nothing for ten minutes.
        """
        from expkit_bookkeeping.launching import read_json

        path = self.folder / "go.json"
        for _ in range(int(PATIENCE_S / POLL_S)):
            with contextlib.suppress(OSError, ValueError):
                go: Any = read_json(path)
                reason: str | None = go["reason"]
                return reason
            sleep(POLL_S)
        raise SlurmError(f"Rank 0 did not say within {PATIENCE_S:.0f} s whether the run starts.")

    def leave_error(self, error: BaseException) -> None:
        """Leave this rank's error for rank 0, unless another rank was first."""
        from expkit_bookkeeping.launching import error_facts, write_file

        facts = {"rank": self.rank, **error_facts(error)}
        self.folder.mkdir(parents=True, exist_ok=True)
        own = self.folder / f"error.{self.rank}.json"
        write_file(own, json.dumps(facts) + "\n")
        with contextlib.suppress(OSError):  # the first link stands
            os.link(own, self.folder / "error.json")

    @contextmanager
    def watched(self, record: Callable[[RankError], object]) -> Iterator[None]:
        """Rank 0: end this process soon after another rank has failed, if it cannot end itself.

        It may be in a collective, in C code, where no signal of srun's reaches Python before
        Slurm kills it; the reason would then be recorded nowhere.

        Args:
            record: Writes the other rank's error into the run.
        """
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(WATCH_S):
                error = self.first_error(patience_s=0)
                if error is not None and not ended.wait(ECHO_S):
                    record(error)
                    os._exit(1)

        threading.Thread(target=watch, name="expkit-ranks", daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def first_error(self, *, patience_s: float = ECHO_S) -> RankError | None:
        """Rank 0: what another rank raised first; None if none has within the time."""
        from expkit_bookkeeping.launching import read_json

        deadline = time.monotonic() + patience_s
        while True:
            with contextlib.suppress(OSError, ValueError):
                facts: Any = read_json(self.folder / "error.json")
                error = RankError(f"rank {facts['rank']}: {facts['type']}: {facts['message']}")
                error.add_note(facts["traceback"])
                return error
            if time.monotonic() >= deadline:
                return None
            time.sleep(POLL_S)


def join_torch_distributed(job: CurrentJob) -> None:
    """Set what `torch.distributed.init_process_group` reads, as submitit derives it from Slurm."""
    if "RANK" in os.environ:  # the user's own script has set it
        return
    os.environ["SUBMITIT_EXECUTOR"] = "slurm"
    from submitit.helpers import TorchDistributedEnvironment

    # Each rank sees the devices that Slurm gave its task; submitit would hide them.
    TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    if os.environ.get("SLURM_STEP_NUM_NODES", os.environ.get("SLURM_NNODES")) == "1":
        os.environ["MASTER_ADDR"] = "127.0.0.1"  # works whatever the node is called
    elif not _resolves(os.environ["MASTER_ADDR"]):
        # Slurm knows its nodes by address, and starts the step from the first one, rank 0's.
        os.environ["MASTER_ADDR"] = os.environ["SLURM_LAUNCH_NODE_IPADDR"]


def declare_one_process() -> None:
    """Say in Slurm's own variable that the run is one process.

    Without it Lightning would train on one of the two devices that a script asks for, and not say
    so: it goes by Slurm's number of tasks, and compares only this one.
    """
    os.environ.setdefault("SLURM_NTASKS_PER_NODE", "1")


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def srun_command(command: list[str], tasks: int, environ: dict[str, str]) -> list[str]:
    """The command that starts the ranks of a run.

    Since Slurm 22.05 srun no longer takes over the batch job's `--cpus-per-task`, and by default
    it lets the others wait for a rank that has died. Lightning refuses `--ntasks` without
    `--ntasks-per-node`.

    Examples:
        >>> srun_command(["python"], 4, {"SLURM_CPUS_PER_TASK": "4", "SLURM_NNODES": "2"})
        ['srun', '--ntasks=4', '--ntasks-per-node=2', '--cpus-per-task=4', ..., 'python']
    """
    cpus = environ.get("SLURM_CPUS_PER_TASK", "1")
    nodes = int(environ.get("SLURM_NNODES", "1"))
    per_node = [f"--ntasks-per-node={tasks // nodes}"] if tasks % nodes == 0 else []
    options = [f"--ntasks={tasks}", *per_node, f"--cpus-per-task={cpus}", "--kill-on-bad-exit=1"]
    return ["srun", *options, *command]
