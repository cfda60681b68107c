"""One writer at a time: a lock that dies with its holder."""

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

from ._errors import TrackingError
from ._owners import age, process_start, this_process

NAME = ".mlflow.lock"
BEAT_S = 15.0
STALE_S = 90.0  # six beats of a holder on another machine; less than `sync` waits
LOOK_S = 1.0  # between two looks whether the holder still lives: each makes a file


def system_lock(fd: int) -> bool:
    """Takes the operating system's lock; False if somebody has it.

    Raises:
        OSError: Where the system or the file system has no such locks.
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
    """Holds `path` for the life of the block.

    Two locks are taken. The system's ends with the process that holds it, however it ends, but a
    cluster's file system may lack it or keep it from other machines (Lustre with `localflock`, NFS
    with `nolock`). A file with the holder's name, made by linking, is seen by all of them.

    Raises:
        TrackingError: If somebody else still holds it after `wait_s`, or neither lock can be had.
    """
    deadline = time.monotonic() + wait_s
    turns = _Turns(path, deadline, wait_s, poll_s)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise TrackingError(f"{path.parent} cannot be written: {error}") from error
    try:
        locked = False
        with contextlib.suppress(OSError):  # no such locks here
            while not lock(fd):
                turns.wait()
            locked = True
        with _named_holder(turns, needed=not locked):
            yield
    finally:
        _unlock(fd)
        os.close(fd)


@dataclass
class _Turns:
    """Waiting for one's turn."""

    path: Path
    deadline: float
    wait_s: float
    poll_s: float

    @property
    def held(self) -> Path:
        return self.path.with_name(self.path.name + ".held")

    def wait(self) -> None:
        if time.monotonic() >= self.deadline:
            raise _held(self.path, self.held, self.wait_s)
        time.sleep(self.poll_s)


def _unlock(fd: int) -> None:
    """Closing is not enough while a child that was forked meanwhile has the descriptor too."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_UN)


@contextlib.contextmanager
def _named_holder(turns: _Turns, *, needed: bool) -> Iterator[None]:
    path = turns.held
    own = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    done = threading.Event()
    beat = threading.Thread(target=_beat, args=(own, done), daemon=True)
    looked_at = -math.inf
    try:
        own.write_bytes(_who())
        while True:
            try:
                os.link(own, path)
                break
            except FileExistsError:
                if time.monotonic() - looked_at > LOOK_S:
                    looked_at = time.monotonic()
                    if _remove_if_stale(path):
                        continue
                turns.wait()
            except OSError as error:  # a file system without hard links
                if needed:
                    raise TrackingError(
                        f"{path.parent} has neither locks nor hard links ({error}), so that two "
                        "writers could destroy the store. Set mlflow.tracking_uri to a server."
                    ) from error
                break
        for left in path.parent.glob(f".{path.name}.*.tmp"):  # by one that was killed
            if left != own and _is_stale(left):
                left.unlink(missing_ok=True)
        beat.start()
        yield
    finally:
        done.set()
        if beat.is_alive():
            beat.join()
        with contextlib.suppress(OSError):  # not there, or not mine
            if path.samefile(own):
                path.unlink()
        own.unlink(missing_ok=True)


def _beat(path: Path, done: threading.Event) -> None:
    while not done.wait(BEAT_S):
        with contextlib.suppress(OSError):
            os.utime(path)  # the same inode as the lock: it grows young with it


def _remove_if_stale(path: Path) -> bool:
    try:
        inode = path.stat().st_ino
    except OSError:
        return False
    if not _is_stale(path):
        return False
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.stale")
    with contextlib.suppress(OSError):
        path.rename(aside)  # one of several contenders succeeds
        if aside.stat().st_ino != inode:  # it was a new holder's already: give it back
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
    except (ValueError, TypeError, KeyError):  # whoever that was
        start, pid = "", 0
    own = process_start(os.getpid())
    if own and start.partition("/")[0] == own.partition("/")[0]:
        return process_start(pid) != start
    age_s = age(path)
    return age_s is not None and age_s > STALE_S


def _who() -> bytes:
    facts = {**this_process(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    return json.dumps(facts).encode()


def _held(path: Path, held: Path, wait_s: float) -> TrackingError:
    holder = "another process"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        facts = json.loads(held.read_bytes())
        holder = f"process {facts['pid']} on {facts['host']} since {facts['since']}"
    return TrackingError(
        f"{path} is held by {holder}, and still was after {wait_s:.0f} s. "
        f"Nothing is lost: `expkit sync {path.parent}` later sends what is missing."
    )
