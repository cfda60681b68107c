"""Processes: how this one is identified, and whether another one is still alive.

What a text says about a process is decided as in expkit-bookkeeping, which writes the same; a test
holds both equal.
"""

import contextlib
import importlib.util
import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path

STALE_S = 30 * 60  # without a sign of life, if the process itself cannot be checked
COPIED_S = 24 * 60 * 60  # clocks differ by less: such a file was written by a copy, not its owner
CLOCK_S = 5  # two readings of one process's start differ by less, and no pid returns so soon


def this_process() -> dict[str, object]:
    """Host, pid and start of this process, as in docs/formats.md."""
    pid = os.getpid()
    return {"host": host_name(), "pid": pid, "process_start": process_start(pid)}


def host_name() -> str:
    """The name of this host."""
    if os.name == "posix":
        return os.uname().nodename  # what socket.gethostname() says, without importing it
    import socket

    return socket.gethostname()


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


def same_machine(start: str | None, other: str | None) -> bool:
    """Whether two texts of `process_start` are from one machine, so that pids can be compared.

    One that version 0.1 wrote where there is no /proc, `HOST/Mon Nov 23 08:00:00 2026`, is from no
    machine: its time is in an unknown time zone.
    """
    if start is None or other is None:
        return False
    return start.partition("/")[0] == other.partition("/")[0]


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


def is_gone(owner: Mapping[str, object], sign_of_life: Path) -> bool:
    """Whether an owner is certainly dead.

    Args:
        owner: `host`, `pid` and `process_start`, from run.json or the journal.
        sign_of_life: A file that a live owner writes to. If the process cannot be checked, the
            file's age decides: 30 minutes, by the clock of its own file system.
    """
    start, pid = owner.get("process_start"), owner.get("pid")
    if not isinstance(start, str):
        start = None
    if type(pid) is int and start and same_machine(start, process_start(os.getpid())):
        return process_is_alive(pid, start) is False
    with contextlib.suppress(OSError, ValueError, OverflowError):
        written_s = sign_of_life.stat().st_mtime
        if written_s - _heartbeat_s(owner, default=written_s) > COPIED_S:
            return True
        rough_age_s = time.time() - written_s
        if 0 <= rough_age_s < STALE_S / 2:  # clocks differ by less, and the exact age costs a file
            return False
    age_s = file_age_s(sign_of_life)
    return age_s is not None and age_s > STALE_S


def _heartbeat_s(owner: Mapping[str, object], *, default: float) -> float:
    heartbeat_at = owner.get("heartbeat_at")
    return (
        datetime.fromisoformat(heartbeat_at).timestamp()
        if isinstance(heartbeat_at, str)
        else default
    )


def file_age_s(path: Path) -> float | None:
    """Seconds since `path` was written, by its own file system's clock; None if unknown."""
    import tempfile

    with contextlib.suppress(OSError):
        written = path.stat().st_mtime
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".clock.", suffix=".tmp") as probe:
            return os.fstat(probe.fileno()).st_mtime - written
    return None


def _linux_start(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name in brackets may hold anything
    return None if fields[0] in "ZXx" else fields[19]


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
