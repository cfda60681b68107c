"""Writing a journal in the background of a training."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path

from .entries import Entry, json_number
from .ownership import release_lock, take_lock
from .reading import read_attempts
from .reconciling import metrics_entries, read_cuts, reconciled
from .run_files import Check, open_journal

logger = logging.getLogger(__name__)

YIELD_S = 1e-4  # short: that thread's disk may hang


class ImplicitStep(Enum):
    """A step that the caller left out; the journal, which has the earlier ones, fills it in."""

    NEXT = "one after the highest step of these metrics"
    LATEST = "the step of the metrics logged last, unless these metrics already have it"


Point = tuple[Mapping[str, float], int | ImplicitStep, float]  # metrics, step, time


class Journal:
    """Takes entries from the training thread at once, and writes them on a thread of its own.

    Args:
        path: The file to append to. The torn last line of a killed process is cut off.
        interval_s: How long entries wait in memory at most: what a SIGKILL may cost.
        burst: How many entries may wait before the caller writes them itself. This keeps the queue
            short under many calls within `interval_s`; else one call would pay for all of them.
        limit: How many entries are kept in memory at most while the disk does not answer. Above it
            the caller waits; if the disk refuses, the oldest are dropped, with one warning.
        check: Raises if the run folder is not this process's; asked when the file is open.
        write: Replaces `os.write` in tests of a full disk.

    Raises:
        NewerJournalError: If a newer version wrote the file.

    Attributes:
        path: The file.
        is_owner: Whether this process holds the file's lock; None if there are no locks.
    """

    def __init__(
        self,
        path: Path,
        *,
        interval_s: float = 1.0,
        burst: int = 2_000,
        limit: int = 100_000,
        check: Check | None = None,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        self.path = path
        self._interval_s = interval_s
        self._burst = min(burst, limit)
        self._limit = limit
        self._write = write
        self._pid = os.getpid()
        self._waiting: deque[Point | Entry | bytes] = deque()
        self._unwritten = b""  # what the disk refused
        self._torn = False  # a write was interrupted, perhaps within a line
        self._dropped = 0
        self._refused = False
        self._highest: dict[str, int] | None = None  # read from the file when first needed
        self._latest = 0
        # Reentrant: SIGTERM may raise in the main thread just after it has taken the lock.
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._closed = False
        with contextlib.suppress(FileNotFoundError):
            read_attempts(path)  # a newer version's journal is not written
        self._fd = open_journal(path, check)
        _open_journals.add(self)
        self.is_owner = take_lock(self._fd)
        size = _cut_torn_line(self._fd)
        if size == 0:
            self._highest = {}
        self._thread = threading.Thread(target=self._run, name="expkit-journal", daemon=True)
        self._thread.start()
        atexit.register(self._at_exit)

    def append(self, entry: Entry) -> None:
        """Adds one line; returns at once."""
        self._waiting.append(entry)

    def append_point(
        self, metrics: Mapping[str, float], step: int | ImplicitStep, time: float
    ) -> None:
        """Adds the metrics of one step; returns at once. `metrics` must not change afterwards."""
        waiting = self._waiting
        waiting.append((metrics, step, time))
        if len(waiting) > self._burst:
            self._write_on_callers_thread()

    def reconcile(
        self, points: Sequence[tuple[Mapping[str, float], int, float]], *, cut: bool
    ) -> None:
        """Adds what the journal lacks of `points`, which are all that the run has logged and kept.

        Args:
            points: Metrics, step and time of each, in order.
            cut: Whether the metrics after the last of them are void, as they will be logged again.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            self.flush(durable=False)
            state = reconciled(self.path, points)
            if cut and state.cut_from is not None:
                self.append({"kind": "cut", "from": state.cut_from})
            for metrics, step, time_s in state.missing:
                self.append_point(metrics, step, time_s)
            self.flush(durable=False)
            if cut:
                self._highest = None
            self._latest = points[-1][1] if points else 0

    def _write_on_callers_thread(self) -> None:
        if os.getpid() != self._pid:
            return
        if self._lock.acquire(blocking=len(self._waiting) > self._limit):
            try:
                self._write_waiting()
            finally:
                self._lock.release()
        else:  # another thread writes: let it, or the queue would grow faster than it writes
            time.sleep(YIELD_S)

    def flush(self, *, durable: bool = True) -> None:
        """Writes the waiting entries; when `durable`, they survive a power cut once it returns."""
        if os.getpid() != self._pid:
            return  # a forked child: these entries belong to its parent
        with self._lock:
            if self._fd < 0:
                return
            self._write_waiting()
        if durable:  # without the lock, as the training may want it meanwhile
            with contextlib.suppress(OSError):  # reported when writing
                os.fsync(self._fd)

    def close(self) -> None:
        """Writes and fsyncs the waiting entries and ends the thread. A second call does nothing."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        self._wake.set()
        self._thread.join(timeout=5)
        self.flush()
        with self._lock:
            if self._unwritten:
                logger.warning(
                    "%s could not be written to its end: %d entries are lost.",
                    self.path,
                    self._unwritten.count(b"\n"),
                )
            release_lock(self._fd)
            os.close(self._fd)
            self._fd = -1
        _open_journals.discard(self)
        atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        self.flush()

    def _leave_to_parent(self) -> None:
        """In a forked child, closes the descriptor: it would keep the lock if the parent dies."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self._waiting = _ForkedQueue(self.path)

    def _run(self) -> None:
        while not self._wake.wait(self._interval_s):
            if self._waiting or self._unwritten:
                self.flush(durable=False)

    def _write_waiting(self) -> None:
        if self._fd < 0:
            return
        # SIGTERM or Ctrl-C may raise at any point here. So entries leave the queue only after they
        # are written. Interrupted just then, they are written twice; the drain sends them once.
        waiting = self._waiting
        lines = [self._line_of(number) for number in range(len(waiting))]
        data = self._unwritten + b"".join(lines)
        written = 0
        try:
            if self._torn:
                _cut_torn_line(self._fd)
            self._torn = True
            while written < len(data):
                written += self._write(self._fd, data[written:])
        except OSError as error:
            if not self._refused:
                logger.warning(
                    "%s cannot be written (%s). Training goes on; entries wait in memory.",
                    self.path,
                    error,
                )
                self._refused = True
            whole = data.rfind(b"\n", 0, written) + 1
            self._unwritten = self._within_limit(data[whole:])
        else:
            self._refused = self._torn = False
            self._unwritten = b""
        for _ in lines:
            waiting.popleft()

    def _line_of(self, number: int) -> bytes:
        """The line of a waiting entry; it replaces the entry, so that steps are counted once."""
        entry = self._waiting[number]
        if isinstance(entry, bytes):
            return entry
        try:
            line = self._point_line(*entry) if isinstance(entry, tuple) else _line(entry)
        except (TypeError, ValueError) as error:  # must not affect the other entries
            logger.warning("%s cannot hold %r: %s", self.path, entry, error)
            line = b""
        self._waiting[number] = line
        return line

    def _within_limit(self, data: bytes) -> bytes:
        count = data.count(b"\n")
        if count <= self._limit:
            return data
        lines = data.splitlines(keepends=True)
        if not self._dropped:
            logger.warning(
                "%s cannot be written, and %d entries wait: the oldest are dropped.",
                self.path,
                count,
            )
        self._dropped += count - self._limit
        return b"".join(lines[count - self._limit :])

    def _point_line(
        self, metrics: Mapping[str, float], step: int | ImplicitStep, time: float
    ) -> bytes:
        if isinstance(step, ImplicitStep):
            step = self._fill_in(metrics, step)
        if self._highest is not None:
            for key in metrics:
                if step > self._highest.get(key, -1):
                    self._highest[key] = step
        self._latest = step
        values: Mapping[str, object] = metrics
        if not all(map(math.isfinite, metrics.values())):
            values = {key: json_number(value) for key, value in metrics.items()}
        return _line({"kind": "metrics", "step": step, "time": time, "metrics": values})

    def _fill_in(self, metrics: Mapping[str, float], implicit: ImplicitStep) -> int:
        if self._highest is None:
            self._highest = _highest_steps(self.path)
        highest = self._highest
        step = max((highest[key] + 1 for key in metrics if key in highest), default=0)
        return max(step, self._latest) if implicit is ImplicitStep.LATEST else step


class _ForkedQueue(deque[Point | Entry | bytes]):
    """The queue of a forked child: warns once that entries logged there are lost."""

    def __init__(self, path: Path) -> None:
        super().__init__(maxlen=1)
        self._path = path

    def append(self, entry: Point | Entry | bytes) -> None:
        if not self and isinstance(entry, tuple):
            logger.warning(
                "%s belongs to process %d, and what this forked process logs is lost. Log in that "
                "process, or create another MLFlowLogger in this one.",
                self._path,
                os.getppid(),
            )
        super().append(entry)


def _after_fork() -> None:
    for journal in list(_open_journals):
        journal._leave_to_parent()


_open_journals: weakref.WeakSet[Journal] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode


def _line(entry: Mapping[str, object]) -> bytes:
    text = _encode(entry)  # json.dumps would create an encoder for each line
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _cut_torn_line(fd: int) -> int:
    size = os.fstat(fd).st_size
    end = size
    while end:
        start = max(0, end - 65536)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(fd, end)
    return end


def _highest_steps(path: Path) -> dict[str, int]:
    highest: dict[str, int] = {}
    for entry, _ in metrics_entries(path, read_cuts(path)):
        step, metrics = entry.get("step"), entry.get("metrics")
        if isinstance(step, int) and isinstance(metrics, dict):
            for key in metrics:
                highest[key] = max(step, highest.get(key, step))
    return highest
