"""Processes of this machine, as /proc shows them (Linux)."""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process, as it was when /proc was read."""

    pid: int
    parent: int
    command: str
    folder: str  # its working directory

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended in the meantime."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def processes() -> Iterator[Process]:
    """All processes that this user may read, except zombies."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # The name in parentheses may contain spaces; what follows the last one is fixed.
            state, parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            if state == "Z":
                continue
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            yield Process(int(entry.name), int(parent), command, str((entry / "cwd").readlink()))


def descendants(pid: int) -> list[Process]:
    """The children of a process, their children, and so on."""
    all_processes = list(processes())
    family: list[Process] = []
    parents = {pid}
    while parents:
        generation = [process for process in all_processes if process.parent in parents]
        family += generation
        parents = {process.pid for process in generation}
    return family


def working_in(folder: Path) -> list[Process]:
    """The processes whose working directory is this folder, whatever their parent is now."""
    return [process for process in processes() if process.folder == str(folder)]
