"""Which process owns a run, and whether it still lives."""

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Owner:
    """What tells one process from every other: on this host, after a reboot, after a requeue."""

    host: str
    pid: int
    process_start: str | None
    slurm: Mapping[str, object] | None

    def facts(self) -> dict[str, object]:
        """The four values as they stand in run.json and in a claim."""
        slurm = None if self.slurm is None else dict(self.slurm)
        return {
            "host": self.host,
            "pid": self.pid,
            "process_start": self.process_start,
            "slurm": slurm,
        }


_seen: dict[int, str | None] = {}  # by pid, because a forked child is another process


def this_process(environ: Mapping[str, str] = os.environ) -> Owner:
    """The owner that this process is."""
    pid = os.getpid()
    if pid not in _seen:
        _seen[pid] = process_start(pid)
    return Owner(host_name(), pid, _seen[pid], slurm_facts(environ))


def host_name() -> str:
    """The name of this host."""
    if os.name == "posix":
        return os.uname().nodename  # what socket.gethostname() says, without importing it
    import socket

    return socket.gethostname()


def slurm_facts(environ: Mapping[str, str] = os.environ) -> dict[str, object] | None:
    """The Slurm job that runs this process, or None outside Slurm.

    >>> slurm_facts({"SLURM_JOB_ID": "7"})["restart_count"]
    0
    """
    job_id = environ.get("SLURM_JOB_ID")
    if not job_id:
        return None
    restarts = environ.get("SLURM_RESTART_COUNT", "")
    return {
        "job_id": job_id,
        "array_job_id": environ.get("SLURM_ARRAY_JOB_ID"),
        "array_task_id": environ.get("SLURM_ARRAY_TASK_ID"),
        "restart_count": int(restarts) if restarts.isdigit() else 0,
    }


def process_start(pid: int) -> str | None:
    """A text that no later process with this pid shares, `MACHINE/START`; None if there is none.

    MACHINE names one boot of one kernel and its pid namespace: in another container the same pid
    is another process.
    """
    if sys.platform == "linux":
        ticks = _linux_start(pid)
        return None if ticks is None else f"{_this_machine()}/{ticks}"
    if os.name == "posix":
        import subprocess

        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        text = " ".join(done.stdout.split())
        return f"{host_name()}/{text}" if text else None
    return None


def same_machine(start: str | None, other: str | None) -> bool:
    """Whether the pids behind two such texts can be compared."""
    if start is None or other is None:
        return False
    return start.partition("/")[0] == other.partition("/")[0]


def same_boot(start: str | None, other: str | None) -> bool:
    """Whether two such texts are of one boot of one machine, be it in two containers."""
    if start is None or other is None:
        return False
    boot, other_boot = (text.partition("/")[0].partition(":")[0] for text in (start, other))
    return boot == other_boot


def process_is_alive(pid: int, start: str) -> bool | None:
    """Whether this very process runs on this machine; None if the system does not say."""
    now = process_start(pid)
    if now is not None:
        return now == start
    if os.name != "posix":  # os.kill(pid, 0) would end the process on Windows
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # hidden /proc entries of another user
        return None
    return False  # there, but without a start: a zombie, killed and not yet reaped


def _linux_start(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name in brackets may hold anything
    return None if fields[0] in "ZXx" else fields[19]


_machine: list[str] = []


def _this_machine() -> str:
    if not _machine:
        _machine.append(linux_machine(Path("/proc")))
    return _machine[0]


def linux_machine(proc: Path) -> str:
    """One boot of one kernel and this process's pid namespace, `BOOT:NAMESPACE`."""
    machine = host_name()
    with contextlib.suppress(OSError):  # some sandboxes hide it
        machine = (proc / "sys/kernel/random/boot_id").read_text().strip()
    with contextlib.suppress(OSError):
        machine += f":{(proc / 'self/ns/pid').stat().st_ino}"
    return machine
