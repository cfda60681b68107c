"""The lock by which the process that writes a journal owns it."""

import contextlib
import time
from pathlib import Path

from .reading import open_to_read


def has_owner(path: Path) -> bool:
    """Whether a live process on this machine (or on one that shares its locks) writes here."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        with open_to_read(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    return False


def take_lock(fd: int, *, patience_s: float = 0.1) -> bool | None:
    """Locks the journal until it is closed or this process ends.

    Returns:
        False if another process has the lock; None if there are no locks.
    """
    try:
        import fcntl
    except ImportError:
        return None
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # `has_owner` takes the lock for an instant, which does not make it an owner.
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        except OSError:
            return None
        else:
            return True


def release_lock(fd: int) -> None:
    """Releases the lock at once, even if a forked child still has the descriptor open."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_UN)
