"""Processes of this machine, as /proc shows them (Linux)."""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process, as it was when somebody looked."""

    pid: int
    parent: int
    command: str
    folder: str  # its working directory

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a process that has ended meanwhile does not mind."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def processes() -> Iterator[Process]:
    """All processes that may be looked at, zombies left out."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # The name in parentheses may hold blanks: what follows the last one is fixed.
            state, parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            if state == "Z":
                continue
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            yield Process(int(entry.name), int(parent), command, str((entry / "cwd").readlink()))


def descendants(pid: int) -> list[Process]:
    """The children of a process, their children, and so on."""
    everything = list(processes())
    found: list[Process] = []
    parents = {pid}
    while parents:
        generation = [process for process in everything if process.parent in parents]
        found += generation
        parents = {process.pid for process in generation}
    return found


def working_in(folder: Path) -> list[Process]:
    """The processes whose working directory is this folder, whoever their parent is now."""
    return [process for process in processes() if process.folder == str(folder)]
