"""What identifies a process, and whether it is still alive."""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CLOCK_S = 5  # two readings of one process's start differ by less, and no pid returns so soon


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """What sets one process apart from all others: on this host, after a reboot or a requeue."""

    host: str
    pid: int
    process_start: str | None
    slurm: Mapping[str, object] | None

    def facts(self) -> dict[str, object]:
        """The four values as run.json and a claim hold them."""
        slurm = None if self.slurm is None else dict(self.slurm)
        return {
            "host": self.host,
            "pid": self.pid,
            "process_start": self.process_start,
            "slurm": slurm,
        }


_starts: dict[int, str | None] = {}  # by pid, because a forked child is another process


def this_process(environ: Mapping[str, str] | None = None) -> ProcessIdentity:
    """The identity of this process; `environ` is None for its own environment."""
    pid = os.getpid()
    if pid not in _starts:
        _starts[pid] = process_start(pid)
    return ProcessIdentity(host_name(), pid, _starts[pid], slurm_facts(environ))


def host_name() -> str:
    """The name of this host."""
    if os.name == "posix":
        return os.uname().nodename  # what socket.gethostname() says, without importing it
    import socket

    return socket.gethostname()


def slurm_facts(environ: Mapping[str, str] | None = None) -> dict[str, object] | None:
    """The Slurm job that runs this process, or None outside Slurm.

    Examples:
        >>> slurm_facts({"SLURM_JOB_ID": "7"})["restart_count"]
        0
    """
    environ = os.environ if environ is None else environ
    job_id = environ.get("SLURM_JOB_ID")
    if not job_id:
        return None
    restarts = environ.get("SLURM_RESTART_COUNT", "")
    return {
        "job_id": job_id,
        "array_job_id": environ.get("SLURM_ARRAY_JOB_ID"),
        "array_task_id": environ.get("SLURM_ARRAY_TASK_ID"),
        "restart_count": int(restarts) if restarts.isdecimal() else 0,
    }


def process_start(pid: int) -> str | None:
    """A text `MACHINE/START` that no later process with this pid shares; None if none runs.

    MACHINE names one boot of one kernel and its pid namespace: in another container the same pid
    is another process. Where there is no /proc, it names the host, and START is in seconds since
    the epoch, whatever the time zone and the language of the shell.
    """
    if sys.platform == "linux":
        ticks = _linux_start(pid)
        return None if ticks is None else f"{_this_machine()}/{ticks}"
    seconds = _psutil_start(pid)
    return None if seconds is None else f"{host_name()}:psutil/{seconds}"


def is_ancestor(pid: int, start: str) -> bool:
    """Whether the process with this pid and start has started this one, directly or not."""
    return pid in _ancestor_pids() and process_is_alive(pid, start) is True


def same_machine(start: str | None, other: str | None) -> bool:
    """Whether two texts of `process_start` are from one machine, so that pids can be compared.

    One that version 0.1 wrote where there is no /proc, `HOST/Mon Nov 23 08:00:00 2026`, is from no
    machine: its time is in an unknown time zone.
    """
    if start is None or other is None:
        return False
    return start.partition("/")[0] == other.partition("/")[0]


def same_boot(start: str | None, other: str | None) -> bool:
    """Whether two texts of `process_start` are from one boot, possibly in two containers."""
    if start is None or other is None:
        return False
    boot, other_boot = (text.partition("/")[0].partition(":")[0] for text in (start, other))
    return boot == other_boot


def process_is_alive(pid: int, start: str) -> bool | None:
    """Whether the process with this pid and start runs; None if the system does not say."""
    if not 0 < pid < 1 << 31:  # no process has it, and os.kill would take it for a group
        return None
    now = process_start(pid)
    if now is not None:
        return now == start or _about_equal(now, start)
    if os.name != "posix":  # os.kill(pid, 0) would end the process on Windows
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # hidden /proc entries of another user
        return None
    # It exists, but has no start: a zombie, killed and not yet reaped. Or psutil is missing.
    return False if sys.platform == "linux" or _has_psutil() else None


def _ancestor_pids() -> Iterator[int]:
    if sys.platform != "linux":
        with contextlib.suppress(ImportError):
            import psutil

            with contextlib.suppress(psutil.Error):
                yield from (process.pid for process in psutil.Process().parents())
        return
    pid = os.getppid()
    while pid > 0:
        yield pid
        fields = _linux_stat(pid)
        pid = 0 if fields is None else int(fields[1])


def _about_equal(start: str, other: str) -> bool:
    """Whether two starts of one pid are a few seconds apart, as rounding and a set clock do."""
    machine, _, seconds = start.partition("/")
    other_machine, _, other_seconds = other.partition("/")
    if not machine.endswith(":psutil") or machine != other_machine:
        return False
    return other_seconds.isdecimal() and abs(int(seconds) - int(other_seconds)) <= CLOCK_S


def _psutil_start(pid: int) -> int | None:
    try:
        import psutil
    except ImportError:
        return None
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        seconds: int = round(process.create_time())
    except psutil.Error:
        return None
    return seconds


def _has_psutil() -> bool:
    return importlib.util.find_spec("psutil") is not None


def _linux_start(pid: int) -> str | None:
    fields = _linux_stat(pid)
    return None if fields is None or fields[0] in "ZXx" else fields[19]


def _linux_stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the process's state on; None if there is no process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()  # the name in brackets may hold anything


@cache
def _this_machine() -> str:
    return linux_machine(Path("/proc"))


def linux_machine(proc: Path) -> str:
    """The text `BOOT:NAMESPACE` for this boot of the kernel and this process's pid namespace."""
    machine = host_name()
    with contextlib.suppress(OSError):  # some sandboxes hide it
        machine = (proc / "sys/kernel/random/boot_id").read_text().strip()
    with contextlib.suppress(OSError):
        machine += f":{(proc / 'self/ns/pid').stat().st_ino}"
    return machine
