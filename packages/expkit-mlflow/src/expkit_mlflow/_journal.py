"""tracking.jsonl: written by a run in the background, read by whoever sends it to MLflow."""

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
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path

logger = logging.getLogger(__name__)

NAME = "tracking.jsonl"
GIVE_WAY_S = 1e-4  # short: that thread's disk may hang
STATUS = {"completed": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}  # by run.json's
Entry = dict[str, object]


class Step(Enum):
    """A step that the writer counts, because only the journal knows the earlier ones."""

    NEXT = "one after the highest step of these metrics"
    LATEST = "the step of the metrics logged last, if these metrics do not have it yet"


Point = tuple[Mapping[str, float], int | Step, float]  # metrics, step, time


class Journal:
    """Takes entries from the training thread at once and brings them to disk behind it.

    Args:
        path: The file, appended to. A torn last line of a killed process is cut off.
        interval_s: What a SIGKILL may cost: entries wait at most this long in memory.
        burst: Entries that may wait before the caller writes them himself: more calls than that
            within `interval_s` make no long queue, which one call would pay for in the end.
        limit: Entries held in memory at most while the disk does not answer. Beyond it the caller
            waits, and if the disk refuses, the oldest are given up, with one warning.
        write: Stands in for `os.write` in tests of a full disk.
    """

    def __init__(
        self,
        path: Path,
        *,
        interval_s: float = 1.0,
        burst: int = 2_000,
        limit: int = 100_000,
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
        self._lost = 0
        self._refused = False
        self._highest: dict[str, int] | None = None  # read from the file when first needed
        self._latest = 0
        # Reentrant: SIGTERM may raise in the main thread just after it took the lock.
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._closed = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        _open.add(self)
        self.owned = _own(self._fd)
        size = _cut_torn_line(self._fd)
        if size == 0:
            self._highest = {}
        self._thread = threading.Thread(target=self._run, name="expkit-journal", daemon=True)
        self._thread.start()
        atexit.register(self._at_exit)

    def append(self, entry: Entry) -> None:
        """Adds one line; returns at once."""
        self._waiting.append(entry)

    def append_point(self, metrics: Mapping[str, float], step: int | Step, time: float) -> None:
        """Adds the metrics of one step; returns at once. `metrics` must not change afterwards."""
        waiting = self._waiting
        waiting.append((metrics, step, time))
        if len(waiting) > self._burst:
            self._relieve()

    def _relieve(self) -> None:
        """Writes on the caller's thread, unless another is at it."""
        if os.getpid() != self._pid:
            return
        if self._lock.acquire(blocking=len(self._waiting) > self._limit):
            try:
                self._write_waiting()
            finally:
                self._lock.release()
        else:  # a turn for that thread, or the queue grows faster than it writes
            time.sleep(GIVE_WAY_S)

    def flush(self, *, durable: bool = True) -> None:
        """Writes what waits; when `durable`, returns after it would survive a power cut."""
        if os.getpid() != self._pid:
            return  # a forked child: these entries are its parent's
        with self._lock:
            if self._fd >= 0:
                self._write_waiting()
                if durable:
                    with contextlib.suppress(OSError):  # reported when writing
                        os.fsync(self._fd)

    def close(self) -> None:
        """Writes and syncs what waits, and ends the thread. A second call does nothing."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        self._wake.set()
        self._thread.join(timeout=5)
        self.flush()
        with self._lock:
            if self._unwritten:
                logger.warning(
                    "%s was never written to its end: %d entries are lost.",
                    self.path,
                    self._unwritten.count(b"\n"),
                )
            _disown(self._fd)
            os.close(self._fd)
            self._fd = -1
        _open.discard(self)
        atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        self.flush()

    def _leave_to_parent(self) -> None:
        """In a forked child: a copy of the descriptor would keep the lock when the parent dies."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self._waiting = _NobodyWrites(self.path)

    def _run(self) -> None:
        while not self._wake.wait(self._interval_s):
            if self._waiting or self._unwritten:
                self.flush(durable=False)

    def _write_waiting(self) -> None:
        if self._fd < 0:
            return
        # SIGTERM or Ctrl-C may raise at any point here. So entries leave the queue only when they
        # are written: interrupted just then they are written twice, which sync takes for once.
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
        """The line of a waiting entry, which is kept so that it is made, and counted, once."""
        entry = self._waiting[number]
        if isinstance(entry, bytes):
            return entry
        try:
            line = self._point_line(*entry) if isinstance(entry, tuple) else _line(entry)
        except (TypeError, ValueError) as error:  # it must not take the others with it
            logger.warning("%s cannot hold %r: %s", self.path, entry, error)
            line = b""
        self._waiting[number] = line
        return line

    def _within_limit(self, data: bytes) -> bytes:
        count = data.count(b"\n")
        if count <= self._limit:
            return data
        lines = data.splitlines(keepends=True)
        if not self._lost:
            logger.warning(
                "%s cannot be written and %d entries wait: the oldest are given up.",
                self.path,
                count,
            )
        self._lost += count - self._limit
        return b"".join(lines[count - self._limit :])

    def _point_line(self, metrics: Mapping[str, float], step: int | Step, time: float) -> bytes:
        if isinstance(step, Step):
            step = self._counted(metrics, step)
        if self._highest is not None:
            for key in metrics:
                if step > self._highest.get(key, -1):
                    self._highest[key] = step
        self._latest = step
        values: Mapping[str, object] = metrics
        if not all(map(math.isfinite, metrics.values())):
            values = {key: exact(value) for key, value in metrics.items()}
        return _line({"kind": "metrics", "step": step, "time": time, "metrics": values})

    def _counted(self, metrics: Mapping[str, float], rule: Step) -> int:
        if self._highest is None:
            self._highest = _highest_steps(self.path)
        highest = self._highest
        step = max((highest[key] + 1 for key in metrics if key in highest), default=0)
        return max(step, self._latest) if rule is Step.LATEST else step


class _NobodyWrites(deque[Point | Entry | bytes]):
    """The queue of a forked child: says once that what is logged there goes nowhere."""

    def __init__(self, path: Path) -> None:
        super().__init__(maxlen=1)
        self._path = path

    def append(self, entry: Point | Entry | bytes) -> None:
        if not self and isinstance(entry, tuple):
            logger.warning(
                "%s belongs to process %d, and what this forked process logs is lost. Log there, "
                "or make another MLFlowLogger here.",
                self._path,
                os.getppid(),
            )
        super().append(entry)


def exact(value: float) -> float | str:
    """The value as strict JSON can hold it.

    >>> exact(0.5), exact(float("nan")), exact(float("-inf"))
    (0.5, 'NaN', '-Infinity')
    """
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def read(path: Path, start: int = 0) -> Iterator[tuple[Entry, int]]:
    """The entries behind byte `start`, each with the offset of the byte after it.

    A torn last line is left for later; a damaged line in the middle is passed over.
    """
    with path.open("rb") as file:
        file.seek(start)
        offset = start
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                entry = json.loads(line.decode())  # else json guesses the encoding, line by line
            except ValueError:
                entry = None
            yield (entry if isinstance(entry, dict) else {}), offset


def attempts(path: Path) -> list[Entry]:
    """The `run` lines, one an attempt, without parsing the metrics between them."""
    found = []
    with path.open("rb") as file:
        for line in file:
            if b'"run"' in line[:32] and line.endswith(b"\n"):
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, dict) and entry.get("kind") == "run":
                        found.append(entry)
    return found


def ends(path: Path) -> bool:
    """Whether the journal's last line says how the run ended."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4096))
        lines = file.read().splitlines(keepends=True)
    return bool(lines) and lines[-1].endswith(b"\n") and b'"kind": "end"' in lines[-1][:64]


def is_finished(path: Path) -> bool:
    """Whether the journal ends with a completed run."""
    return ends(path) and b'"FINISHED"' in path.read_bytes().rsplit(b"\n", 2)[-2]


def is_owned(path: Path) -> bool:
    """Whether a living process on this machine (or on one that shares its locks) writes here."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    return False


def _own(fd: int, *, patience_s: float = 0.1) -> bool | None:
    """Locks the journal for the life of this process.

    Returns:
        False where somebody else has it; None where there are no locks.
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
            # `is_owned` asks by taking the lock for an instant: that is no owner.
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        except OSError:
            return None
        else:
            return True


def _disown(fd: int) -> None:
    """Gives the lock back at once, whoever else still has the descriptor open."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_UN)


def _after_fork() -> None:
    for journal in list(_open):
        journal._leave_to_parent()


_open: "weakref.WeakSet[Journal]" = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode


def _line(entry: Mapping[str, object]) -> bytes:
    text = _encode(entry)  # json.dumps would make an encoder for each line
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _cut_torn_line(fd: int) -> int:
    size = os.fstat(fd).st_size
    end = size
    while end:
        start = max(0, end - 65536)
        at = os.pread(fd, end - start, start).rfind(b"\n")
        if at >= 0:
            end = start + at + 1
            break
        end = start
    if end < size:
        os.ftruncate(fd, end)
    return end


def _highest_steps(path: Path) -> dict[str, int]:
    highest: dict[str, int] = {}
    for entry, _ in read(path):
        step, metrics = entry.get("step"), entry.get("metrics")
        if isinstance(step, int) and isinstance(metrics, dict):
            for key in metrics:
                highest[key] = max(step, highest.get(key, step))
    return highest
