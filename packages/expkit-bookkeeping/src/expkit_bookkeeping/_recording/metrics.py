"""metrics.jsonl: appended to without stalling the training, read without its torn end."""

import contextlib
import json
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any, cast

from .._files.append_files import cut_torn_end, open_append_file, read_file
from .._files.durable import Check, naming, write_file
from .._files.json_files import decode
from .._files.plain_data import SPECIAL_NUMBERS, special_text

FILE_NAME = "metrics.jsonl"
MAX_PENDING = 10_000  # lines kept while the disk refuses them; then the error is raised


@dataclass(frozen=True, slots=True)
class MetricLine:
    """One call of log_metrics: the step, seconds since the epoch, names and numbers."""

    step: int
    time: float
    metrics: dict[str, float]


class Mark:
    """The end of a line, for a checkpoint that covers what was logged up to there.

    Attributes:
        size: The file's size in bytes up to the mark; None until everything before is written.
    """

    size: int | None = None


class MetricsFile:
    """metrics.jsonl of an open run. `add` costs microseconds; another thread calls `write`.

    Args:
        folder: The run folder.
        check: Raises if the run is no longer the caller's; see `open_append_file`.
    """

    def __init__(self, folder: Path, check: Check | None = None) -> None:
        self.path = folder / FILE_NAME
        self._check = check
        self._fd = -1  # opened when the first line is written
        self._pending: deque[tuple[int, float, Mapping[str, float]] | Mark] = deque()
        # Reentrant: SIGTERM may raise in the main thread just after it took the lock.
        self._lock = threading.RLock()
        self._unsynced = self.path.is_file()  # an earlier attempt may have been killed
        if self._unsynced:
            self._open()
        self.size_at_start: int | None = _size(self.path)  # None: the file was rewritten since
        self._copied = False  # to metrics.jsonl.replaced
        self._appends = 0

    def add(self, step: int, time: float, metrics: Mapping[str, float]) -> None:
        """Queue one line.

        Raises:
            OSError: If the disk has refused so many lines that no more are kept in memory.
        """
        self._pending.append((step, time, metrics))
        if len(self._pending) >= MAX_PENDING:
            self.write()

    def mark(self) -> Mark:
        """Mark the end of the last line, without waiting for the disk."""
        mark = Mark()
        self._pending.append(mark)
        return mark

    def write(self, *, sync: bool = False) -> None:
        """Append all queued lines; keep them if that fails.

        Args:
            sync: Whether to wait until all lines are on the disk.
        """
        with self._lock:
            # Removed only once they are written: SIGTERM or Ctrl-C may raise at any point here. In
            # between, lines are written twice, which reading takes for one row.
            pending = [self._pending[number] for number in range(len(self._pending))]
            lines: list[str] = []
            marks: list[tuple[Mark, int]] = []  # with the number of lines before each
            for entry in pending:
                if isinstance(entry, Mark):
                    marks.append((entry, len(lines)))
                else:
                    lines.append(_line(*entry))
            start = 0
            if lines or (sync and self._unsynced):
                self._unsynced = True
                self._appends += 1
                with naming(self.path):
                    start = self._append("".join(lines).encode(), sync=sync)
                self._unsynced = not sync
            elif marks and self.path.exists():
                start = os.fstat(self._open()).st_size
            for mark, lines_before in marks:  # lines are ASCII: one byte per character
                mark.size = start + sum(map(len, lines[:lines_before]))
            for _ in pending:
                self._pending.popleft()

    def syncing(self) -> Callable[[], None] | None:
        """A function that syncs all lines written so far, for another thread to call.

        The file is opened here: at each system call that thread releases the interpreter, and may
        then wait 5 ms for this one, which is busy.

        Returns:
            The function; None if the lines are on the disk already.
        """
        with self._lock:
            if not self._unsynced:
                return None
            fd = os.dup(self._open())
            appends = self._appends

        def sync() -> None:
            with self._lock:
                try:
                    os.fsync(fd)
                    if self._appends == appends:
                        self._unsynced = False
                finally:
                    os.close(fd)

        return sync

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)

    def _open(self) -> int:
        """The descriptor, of the file that has the name now: somebody may have replaced it."""
        if self._fd >= 0:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._fd), self.path.stat()):
                    return self._fd
            self.close()
        self._fd = open_append_file(self.path, self._check)
        cut_torn_end(self._fd)
        return self._fd

    def _append(self, data: bytes, *, sync: bool) -> int:
        """Append to the file; returns its size before."""
        fd = self._open()
        size = os.fstat(fd).st_size
        try:
            _write_all(fd, data)
            if sync:
                os.fsync(fd)
        except BaseException:
            os.ftruncate(fd, size)  # a full disk must not leave half a line
            raise
        return size

    def cut(self, step: int, size: int | None = None, *, until: int | None = None) -> None:
        """Forget what was logged after a checkpoint; see `cut_metrics`."""
        with self._lock:
            self.write()
            self.close()
            cut_metrics(self.path.parent, step, size=size, until=until, check=self._check)

    def replace(self, names: Collection[str], step: int) -> None:
        """Remove metrics from the file from `step` on; a copy of the file is kept beside it."""
        with self._lock:
            self.write()
            raw = read_file(self.path)
            kept = "".join(
                _line(line.step, line.time, metrics)
                for line in metric_lines(self.path.parent)
                if (metrics := _without(line, names, step))
            ).encode()
            self.close()
            if not self._copied:  # the second copy of an attempt would lack what the first has
                replaced = self.path.with_name(FILE_NAME + ".replaced")
                write_file(replaced, raw, check=self._check)
                self._copied = True
            write_file(self.path, kept, check=self._check)
            self.size_at_start = None


def _write_all(fd: int, data: bytes) -> None:
    # A function, as Python 3.12 and 3.13 leave a loop's jump back out of the `try` around it: what
    # a signal handler raises there would miss the code that cuts half a line off.
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def to_numbers(metrics: Mapping[str, object]) -> dict[str, float]:
    """Convert metrics to plain numbers, also numpy and torch scalars.

    Raises:
        TypeError: If a name is not a string or a value not one number; the text says which.
    """
    values: dict[str, float] = {}
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"log_metrics takes a mapping of names to numbers, not {type(metrics).__name__}: "
            f'{metrics!r}. For example {{"loss": 0.5}}.'
        )
    for key, value in metrics.items():
        kind = type(value)
        if kind is float or kind is int:
            values[key] = value  # type: ignore[assignment]
        else:
            values[key] = _to_number(key, value)
        if type(key) is not str:
            raise TypeError(f"A metric's name is a string, not {type(key).__name__}: {key!r}.")
        if not key:
            raise ValueError(
                f"A metric needs a name, and the one with the value {value!r} has none."
            )
    return values


def to_step(step: object) -> int:
    """Convert a step to an int of at least 0.

    Raises:
        TypeError: If it is not a whole number.
        ValueError: If it is negative.
    """
    try:
        number = index(step)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"A step is a whole number (epoch or batch), not {type(step).__name__}: {step!r}."
        ) from None
    if number < 0:
        raise ValueError(f"A step counts from 0, got {number}.")
    return number


def metric_lines(folder: Path) -> Iterator[MetricLine]:
    """The lines of a run's metrics.jsonl as they were logged, with NaN and infinities as floats.

    A torn last line is passed over; so is a damaged one elsewhere, or a file that cannot be read,
    with a warning.
    """
    path = Path(folder) / FILE_NAME
    try:
        raw = read_file(path)
    except FileNotFoundError:
        return
    except OSError as error:
        _warn("%s cannot be read: %s", path, error)
        return
    lines = raw.split(b"\n")
    for number, text in enumerate(lines, start=1):
        line = _parsed(text)
        if line is not None:
            yield line
        elif text and number < len(lines):
            _warn("%s line %d is damaged; skipped", path, number)


def _warn(message: str, *values: object) -> None:
    import logging

    logging.getLogger(__name__).warning(message, *values)


def metric_rows(folder: Path) -> dict[int, dict[str, float]]:
    """The metrics by step, in order of steps; the later value of a key wins."""
    rows: dict[int, dict[str, float]] = {}
    for line in metric_lines(folder):
        rows.setdefault(line.step, {}).update(line.metrics)
    return dict(sorted(rows.items()))


def cut_metrics(
    folder: Path,
    step: int,
    *,
    size: int | None = None,
    until: int | None = None,
    check: Check | None = None,
) -> None:
    """Forget what a run logged after a checkpoint, so that resuming does not log it twice.

    Args:
        folder: The run folder.
        step: The first step that will be logged again; lines of smaller steps stay.
        size: The file's size in bytes when the checkpoint was saved. If it is plausible, it decides
            instead of `step`, and is right even if some metrics count batches and others epochs.
        until: Where in the file, in bytes, begins what stays in any case; by default nowhere.
        check: See `write_file`.
    """
    path = Path(folder) / FILE_NAME
    try:
        raw = read_file(path)
    except FileNotFoundError:
        return
    later = b"" if until is None else raw[until:]
    raw = raw[: len(raw) - len(later)]
    if size is not None and size <= len(raw) and (size == 0 or raw[size - 1] == 10):
        kept = raw[:size]
    else:
        lines = [(line, _parsed(line)) for line in raw.split(b"\n")]
        kept = b"".join(
            line + b"\n" for line, parsed in lines if parsed is not None and parsed.step < step
        )
    if kept != raw:
        write_file(path, kept + later, check=check)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _line(step: int, time: float, metrics: Mapping[str, float]) -> str:
    try:
        body = json.dumps(metrics, allow_nan=False)
    except ValueError:
        body = json.dumps(
            {
                key: value if -1.8e308 < value < 1.8e308 else special_text(value)
                for key, value in metrics.items()
            }
        )
    return f'{{"step": {step}, "time": {time:.6f}, "metrics": {body}}}\n'


def _without(line: MetricLine, names: Collection[str], step: int) -> dict[str, float]:
    """What remains of a line when metrics are replaced from a step on."""
    if line.step < step:
        return line.metrics
    return {name: value for name, value in line.metrics.items() if name not in names}


def _parsed(text: bytes) -> MetricLine | None:
    try:
        line = cast("dict[str, Any]", decode(text))
        step, metrics = line["step"], line["metrics"]
        for key, value in metrics.items():
            if isinstance(value, str):
                metrics[key] = SPECIAL_NUMBERS[value]
        return MetricLine(step, line["time"], metrics) if isinstance(step, int) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _to_number(key: object, value: object) -> float:
    item = getattr(value, "item", None)
    if item is not None:  # numpy and torch, on whatever device
        try:
            value = item()
        except (ValueError, RuntimeError):
            shape = tuple(getattr(value, "shape", ()))
            raise TypeError(
                f"Metric {key!r} is an array of shape {shape}, and a metric is one number. "
                "Take its mean, or log its elements under names of their own."
            ) from None
    if isinstance(value, bool):  # which JSON would write as true
        return int(value)
    if isinstance(value, (int, float)):
        return value
    if hasattr(value, "__float__"):  # Decimal, Fraction
        return float(value)
    raise TypeError(
        f"Metric {key!r} is a {type(value).__name__}, and a metric is one number: {value!r}. "
        "Text and settings belong in save_results or the configuration."
    )
