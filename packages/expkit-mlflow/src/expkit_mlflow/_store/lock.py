"""One writer at a time: a lock that ends with its holder."""

import contextlib
import json
import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .._addresses.command_lines import command_line
from .._addresses.errors import TrackingError
from .._journal.processes import (
    file_age_s,
    process_is_alive,
    process_start,
    same_machine,
    this_process,
)

LOCK_NAME = ".mlflow.lock"
HEARTBEAT_S = 15.0
STALE_S = 90.0  # six heartbeats of a holder on another machine; less than `sync` waits
CHECK_S = 1.0  # between two checks that the holder is alive: each creates a file


class WriterHeldError(TrackingError):
    """Another process holds the lock; `holder` says which, in words."""

    def __init__(self, text: str, holder: str) -> None:
        super().__init__(text)
        self.holder = holder


def system_lock(fd: int) -> bool:
    """Takes the operating system's lock; False if another process has it.

    Raises:
        OSError: If the system or the file system has no such locks.
    """
    try:
        import fcntl
    except ImportError as error:
        raise OSError("no flock on this system") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def one_writer(
    path: Path,
    *,
    wait_s: float,
    lock: Callable[[int], bool] = system_lock,
    poll_s: float = 0.05,
) -> Iterator[None]:
    """Holds the lock `path` until the block ends.

    It takes two locks. The operating system's ends with the process that holds it, however that
    ends. But a cluster's file system may not have it, or may not show it to other machines (Lustre
    with `localflock`, NFS with `nolock`). All machines see the second: a file with the holder's
    name, created by linking.

    Raises:
        WriterHeldError: If another process still holds it after `wait_s`; a TrackingError.
        TrackingError: If neither lock exists here.
    """
    deadline = time.monotonic() + wait_s
    wait = _LockWait(path, deadline, wait_s, poll_s)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise TrackingError(f"{path.parent} cannot be written: {error}") from error
    try:
        locked = False
        with contextlib.suppress(OSError):  # no such locks here
            while not lock(fd):
                wait.poll()
            locked = True
        with _holder_file(wait, needed=not locked):
            yield
    finally:
        _unlock(fd)
        os.close(fd)


@dataclass(frozen=True)
class _LockWait:
    """How long to wait for the lock at `path`."""

    path: Path
    deadline: float
    wait_s: float
    poll_s: float

    @property
    def holder_file(self) -> Path:
        return self.path.with_name(self.path.name + ".held")

    def poll(self) -> None:
        """Sleeps for a moment.

        Raises:
            TrackingError: After the deadline.
        """
        if time.monotonic() >= self.deadline:
            raise _held_error(self.path, self.holder_file, self.wait_s)
        time.sleep(self.poll_s)


def _unlock(fd: int) -> None:
    """Unlocks; closing is not enough while a forked child has the descriptor too."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_UN)


@contextlib.contextmanager
def _holder_file(wait: _LockWait, *, needed: bool) -> Iterator[None]:
    """Holds the file with the holder's name; does without it if there are no hard links.

    Raises:
        TrackingError: If another process still holds it, or if it is `needed` without hard links.
    """
    path = wait.holder_file
    own = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    done = threading.Event()
    heartbeat = threading.Thread(target=_renew, args=(own, done), daemon=True)
    checked_at = -math.inf
    try:
        own.write_bytes(_holder_facts())
        while True:
            try:
                os.link(own, path)
                break
            except FileExistsError:
                if time.monotonic() - checked_at > CHECK_S:
                    checked_at = time.monotonic()
                    if _remove_if_stale(path):
                        continue
                wait.poll()
            except OSError as error:  # a file system without hard links
                if needed:
                    raise TrackingError(
                        f"{path.parent} has neither locks nor hard links ({error}), so two "
                        "writers could destroy the store. Set mlflow.tracking_uri to a server."
                    ) from error
                break
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):  # of a killed process
            if leftover != own and _is_stale(leftover):
                leftover.unlink(missing_ok=True)
        heartbeat.start()
        yield
    finally:
        done.set()
        if heartbeat.is_alive():
            heartbeat.join()
        with contextlib.suppress(OSError):  # gone, or another holder's
            if path.samefile(own):
                path.unlink()
        own.unlink(missing_ok=True)


def _renew(path: Path, done: threading.Event) -> None:
    while not done.wait(HEARTBEAT_S):
        with contextlib.suppress(OSError):
            os.utime(path)  # the same inode as the holder file, so this renews both


def _remove_if_stale(path: Path) -> bool:
    try:
        inode = path.stat().st_ino
    except OSError:
        return False
    if not _is_stale(path):
        return False
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.stale")
    with contextlib.suppress(OSError):
        path.rename(aside)  # only one of several contenders succeeds
        if aside.stat().st_ino != inode:  # a new holder's by now: give it back
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()
    return True


def _is_stale(path: Path) -> bool:
    try:
        holder = json.loads(path.read_bytes())
        start, pid = str(holder["process_start"]), int(holder["pid"])
    except OSError:
        return False
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):  # who holds it?
        start, pid = "", 0
    if same_machine(start, process_start(os.getpid())):
        return process_is_alive(pid, start) is False
    age_s = file_age_s(path)
    return age_s is not None and age_s > STALE_S


def _holder_facts() -> bytes:
    facts = {**this_process(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    return json.dumps(facts).encode()


def _held_error(path: Path, holder_file: Path, wait_s: float) -> WriterHeldError:
    holder = "another process"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        facts = json.loads(holder_file.read_bytes())
        holder = f"process {facts['pid']} on {facts['host']} since {facts['since']}"
    return WriterHeldError(
        f"{path} is held by {holder}, and still was after {wait_s:.0f} s. "
        f"Nothing is lost: `{command_line('sync', path.parent)}` later sends what is missing.",
        holder,
    )
