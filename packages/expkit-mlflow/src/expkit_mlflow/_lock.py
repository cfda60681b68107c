"""One writer at a time: a lock that dies with its holder."""

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from ._errors import TrackingError
from ._owners import age, process_start, this_process

NAME = ".mlflow.lock"
BEAT_S = 15.0
STALE_S = 120.0  # eight beats of a holder on another machine


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

    The system's lock ends with the process that holds it, however it ends. Where there is none (a
    cluster's file system mounted without locks), a file with the holder's name stands for it.

    Raises:
        TrackingError: If somebody else still holds it after `wait_s`.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise TrackingError(f"{path.parent} cannot be written: {error}") from error
    deadline = time.monotonic() + wait_s
    try:
        try:
            while not lock(fd):
                if time.monotonic() >= deadline:
                    raise _held(path, wait_s)
                time.sleep(poll_s)
        except OSError:
            with _named_holder(path.with_name(path.name + ".held"), deadline, wait_s, poll_s):
                yield
            return
        os.ftruncate(fd, 0)
        os.pwrite(fd, _who(), 0)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _named_holder(path: Path, deadline: float, wait_s: float, poll_s: float) -> Iterator[None]:
    own = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    own.write_bytes(_who())
    try:
        while True:
            try:
                os.link(own, path)
                break
            except FileExistsError:
                _remove_if_stale(path)
            if time.monotonic() >= deadline:
                raise _held(path, wait_s)
            time.sleep(poll_s)
        done = threading.Event()
        beat = threading.Thread(target=_beat, args=(own, done), daemon=True)
        beat.start()
        try:
            yield
        finally:
            done.set()
            beat.join()
            if path.exists() and path.samefile(own):
                path.unlink()
    finally:
        own.unlink(missing_ok=True)


def _beat(path: Path, done: threading.Event) -> None:
    while not done.wait(BEAT_S):
        with contextlib.suppress(OSError):
            os.utime(path)  # the same inode as the lock: it grows young with it


def _remove_if_stale(path: Path) -> None:
    try:
        inode = path.stat().st_ino
        holder = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return
    own, start = process_start(os.getpid()), holder.get("process_start")
    if own and start and own.partition("/")[0] == start.partition("/")[0]:
        stale = process_start(holder["pid"]) != start
    else:
        age_s = age(path)
        stale = age_s is not None and age_s > STALE_S
    if not stale:
        return
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.stale")
    with contextlib.suppress(OSError):
        path.rename(aside)  # one of several contenders succeeds
        if aside.stat().st_ino != inode:  # it was a new holder's already: give it back
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _who() -> bytes:
    facts = {**this_process(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    return json.dumps(facts).encode()


def _held(path: Path, wait_s: float) -> TrackingError:
    holder = "another process"
    with contextlib.suppress(OSError, ValueError, KeyError):
        facts = json.loads(path.read_bytes())
        holder = f"process {facts['pid']} on {facts['host']} since {facts['since']}"
    return TrackingError(
        f"{path} is held by {holder}, and still was after {wait_s:.0f} s. "
        f"Nothing is lost: `expkit sync {path.parent}` later sends what is missing."
    )
