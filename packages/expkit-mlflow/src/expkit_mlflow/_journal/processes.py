"""Processes: how this one is identified, and whether another one is still alive."""

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

STALE_S = 30 * 60  # without a sign of life, if the process itself cannot be checked


def this_process() -> dict[str, object]:
    """Host, pid and start of this process, as in docs/formats.md."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "process_start": process_start(pid)}


def process_start(pid: int) -> str | None:
    """A text that tells a process from later ones with its pid, `MACHINE/START`; None if unknown.

    expkit-bookkeeping writes the same text. MACHINE identifies one boot and one pid namespace.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name in brackets may hold anything
    return None if fields[0] in "ZXx" else f"{boot}:{namespace}/{fields[19]}"


def is_gone(owner: Mapping[str, object], sign_of_life: Path) -> bool:
    """Whether an owner is certainly dead.

    Args:
        owner: `host`, `pid` and `process_start`, from run.json or the journal.
        sign_of_life: A file that a live owner writes to. If the process cannot be checked, the
            file's age decides: 30 minutes, by the clock of its own file system.
    """
    own = process_start(os.getpid())
    start, pid = owner.get("process_start"), owner.get("pid")
    if own is not None and isinstance(start, str) and isinstance(pid, int):
        same_machine = start.partition("/")[0] == own.partition("/")[0]
        if same_machine:
            return process_start(pid) != start
    with contextlib.suppress(OSError):
        rough_age_s = time.time() - sign_of_life.stat().st_mtime
        if 0 <= rough_age_s < STALE_S / 2:  # clocks differ by less, and the exact age costs a file
            return False
    age_s = file_age_s(sign_of_life)
    return age_s is not None and age_s > STALE_S


def file_age_s(path: Path) -> float | None:
    """Seconds since `path` was written, by its own file system's clock; None if unknown."""
    import tempfile

    with contextlib.suppress(OSError):
        written = path.stat().st_mtime
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".clock.", suffix=".tmp") as probe:
            return os.fstat(probe.fileno()).st_mtime - written
    return None
