"""One timer: blocks in, statistics out."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock, get_ident
from time import perf_counter_ns
from typing import ParamSpec, TypeVar

from ._statistics import Statistics, Totals
from ._text import format_seconds, format_statistics, near_match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta
    from pathlib import Path
    from types import TracebackType
    from typing import Literal, Self

    from pandas import DataFrame

    from ._cuda import Mark, Span
    from ._files import Attempt

P = ParamSpec("P")
R = TypeVar("R")

_UNREAD_LIMIT = 1024  # durations that are collected before they are added to the totals at once
_UNREAD_LIMIT_EVENTS = 256  # the same with CUDA events, of which each duration holds two or more


# Timers that are timing a call of a coroutine function in this context.
_CALLING: ContextVar[tuple[Timer, ...]] = ContextVar("calling", default=())


class TimerError(RuntimeError):
    """A timer's methods were called in an order that makes no sense."""


class _Block:
    """A block that is nested in itself or has been paused; any other is just its start."""

    __slots__ = ("depth", "elapsed", "start")

    def __init__(self, start: int | Mark) -> None:
        self.start: int | Mark | None = start  # None while paused
        self.elapsed: int | Span = 0  # before the last pause
        self.depth = 1

    def stop_clock(self, now: int | Mark) -> None:
        if self.start is not None:
            self.elapsed = self.elapsed + (now - self.start)  # type: ignore[operator]
            self.start = None


class Timer:
    """Times one kind of block: count, total, mean, standard deviation, extremes and quantiles.

    Use it as a context manager, as a decorator of functions and coroutine functions, or with
    `start` and `stop`. Each thread times its own blocks, and all of them count. A block inside a
    block of the same timer and thread (recursion, or coroutines that take turns inside `with`)
    is part of the outermost one; a decorated coroutine function times each call by itself. A
    block that ends with an exception counts.

    A copy, such as one that is pickled for another process, starts with what has been timed so
    far and then counts on its own. Saved into one file with the original, nothing counts twice.

    Memory is bounded. Count, total, mean, standard deviation, minimum and maximum are exact.
    Quantiles are exact up to 4096 blocks; beyond that they come from an even sample of 2048 to
    4096 blocks.

    Args:
        name: What the timer is called in files, texts and errors.
        cuda: "off" measures the time on the CPU, which for GPU work is the time to launch it.
            "events" measures the GPU's time: it records CUDA events in the current stream and
            reads them later, so the loop never waits. "sync" waits for the GPU at both ends of
            a block.
        clock: Returns nanoseconds that never decrease.

    Raises:
        ValueError: If `cuda` is none of the three.
        ImportError: If `cuda` needs torch and torch is not installed.
        RuntimeError: If `cuda` needs a CUDA device and there is none.

    >>> ticks = iter([0, 2_000_000_000, 5_000_000_000, 6_000_000_000])
    >>> timer = Timer("epoch", clock=lambda: next(ticks))
    >>> for epoch in range(2):
    ...     with timer:
    ...         pass
    >>> timer.seconds, timer.statistics().max_s
    (3.0, 2.0)
    >>> print(timer)
    epoch: 3.00 s in 2 blocks of 1.50 s ± 707 ms (p50 1.50 s, p95 1.95 s)
    """

    __slots__ = (
        "__weakref__",
        "_attempt_id",
        "_clock",
        "_earlier_attempts",
        "_limit",
        "_lock",
        "_options",
        "_reads_later",
        "_running",
        "_totals",
        "_unread",
        "name",
    )

    def __init__(
        self,
        name: str = "timer",
        *,
        cuda: Literal["off", "events", "sync"] = "off",
        clock: Callable[[], int] = perf_counter_ns,
    ) -> None:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"a timer's name must be a non-empty string, got {name!r}")
        self.name = name
        self._options: dict[str, object] = {"cuda": cuda, "clock": clock}
        # By thread: the start of its block, or a _Block. Single operations on dicts and lists are
        # atomic, so entering and leaving a block needs no lock.
        self._running: dict[int, int | Mark | _Block] = {}
        self._unread: list[int | Span] = []
        self._totals = Totals()
        # Guards the totals; reentrant, as a signal handler may read a timer that is counting.
        self._lock = RLock()
        self._attempt_id: str | None = None
        self._earlier_attempts: dict[str, Attempt] = {}
        self._use_clock(clock)
        if cuda != "off":
            from ._cuda import check_mode, make_clock

            check_mode(name, cuda)
            self._use_clock(make_clock(name, cuda, clock), reads_later=cuda == "events")

    def _use_clock(self, clock: Callable[[], int | Mark], *, reads_later: bool = False) -> None:
        self._clock = clock
        self._reads_later = reads_later
        self._limit = _UNREAD_LIMIT_EVENTS if reads_later else _UNREAD_LIMIT

    # Both ends of a block give the clock a local name first: Python 3.11 takes `self._clock()`
    # for a method call and would look in the class. This saves 5 % of a block.
    def __enter__(self) -> Self:
        running = self._running
        thread = get_ident()
        if thread in running:
            self._block(thread).depth += 1
        else:
            clock = self._clock
            running[thread] = clock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        clock = self._clock
        now = clock()
        unread = self._unread
        start = self._running.pop(get_ident(), None)
        try:
            unread.append(now - start)  # type: ignore[operator]
        except TypeError:  # no block is running, or a _Block
            self._end(start, now)
        else:
            if len(unread) >= self._limit:
                self._collect()

    def start(self) -> None:
        """Begin a block in this thread.

        Raises:
            TimerError: If one is running already; only `with` and decorators can be nested.
        """
        if get_ident() in self._running:
            raise TimerError(
                f"Timer {self.name!r} is already running in this thread: stop() it first, or use "
                "`with timer:`, which can be nested"
            )
        self.__enter__()

    def stop(self) -> None:
        """End the block of this thread, paused or not; `last` is then its duration.

        Raises:
            TimerError: If none is running.
        """
        self.__exit__(None, None, None)

    def pause(self) -> None:
        """Stop the clock inside a block, so that what follows does not count until `resume`.

        Raises:
            TimerError: If no block is running, or it is already paused.
        """
        now = self._clock()
        block = self._block(get_ident(), "pause")
        if block.start is None:
            raise TimerError(f"Timer {self.name!r} is already paused: resume() it first")
        block.stop_clock(now)

    def resume(self) -> None:
        """Start the clock of a paused block again.

        Raises:
            TimerError: If no block is running, or it is not paused.
        """
        block = self._block(get_ident(), "resume")
        if block.start is not None:
            raise TimerError(f"Timer {self.name!r} is not paused: there is nothing to resume()")
        block.start = self._clock()

    @property
    def running(self) -> bool:
        """Whether this thread is inside a block, paused or not."""
        return get_ident() in self._running

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Time each call of a function or coroutine function.

        Raises:
            TypeError: If it is a generator function, which does not run when it is called.
        """
        from ._decorator import decorate

        return decorate(self.name, function, self, self._call_block)

    @property
    def count(self) -> int:
        """Number of blocks that have ended."""
        return self.statistics().count

    @property
    def seconds(self) -> float:
        """Total time of all blocks that have ended."""
        return self.statistics().total_s

    @property
    def timedelta(self) -> timedelta:
        """Total time of all blocks that have ended."""
        from datetime import timedelta

        return timedelta(seconds=self.seconds)

    @property
    def text(self) -> str:
        """Total time of all blocks that have ended, for people: `0:01:20` or `2.00 s`."""
        return format_seconds(self.seconds)

    @property
    def last(self) -> float:
        """Duration of the block that ended last, in seconds.

        Raises:
            TimerError: If no block has ended yet.
        """
        with self._lock:
            self._collect(wait=True)
            last = self._totals.last
        if last is None:
            raise TimerError(f"Timer {self.name!r} has timed no block yet: use `with timer:`")
        return last / 1e9

    def statistics(self) -> Statistics:
        """Statistics of all blocks that have ended, including those of loaded attempts."""
        own = self._own_statistics()
        if not self._earlier_attempts:
            return own
        from ._files import attempt_of, statistics_of

        attempts = list(self._earlier_attempts.values())
        return statistics_of([*attempts, attempt_of("", own)] if own.count else attempts)

    def to_dict(self) -> dict[str, float]:
        """`statistics()` as a dict; NaN where there is no value."""
        return self.statistics()._asdict()

    def to_dataframe(self) -> DataFrame:
        """One row, with the timer's name as index, and one column per statistic.

        Raises:
            ImportError: If pandas is not installed.
        """
        from ._frames import make_frame

        return make_frame({self.name: self.statistics()})

    def save(self, path: str | Path, *, check: Callable[[], object] | None = None) -> None:
        """Merge this timer into a YAML, JSON or CSV file; the suffix decides which.

        Saving again replaces what this timer saved before. What other timers and earlier
        processes saved is kept, and totals cover all of them. The file is replaced as a whole, so
        it is valid at any moment.

        Args:
            path: The file.
            check: Called when the new file is complete, just before it takes the place of the old
                one; if it raises, the old file stays. Folders are then not made.

        Raises:
            ValueError: If the suffix is another one, or the file exists and is not a timer file;
                it is left unchanged.
            ImportError: If the file is YAML and PyYAML is not installed.
        """
        from ._files import save

        save(path, {self.name: self._attempts()}, check)

    @classmethod
    def load(cls, path: str | Path, name: str | None = None) -> Self:
        """A timer that continues from where the saved ones ended.

        Args:
            path: A file written by `save`.
            name: Which of the file's timers to load; not needed if it holds only one.

        Raises:
            ValueError: If it is not a timer file, or `name` is needed and missing.
            KeyError: If the file has no timer of that name.
            FileNotFoundError: If there is no such file.
        """
        from ._files import read

        content = read(path)
        names = ", ".join(sorted(content)) or "none"
        if name is None:
            if len(content) != 1:
                raise ValueError(f"{path} holds {len(content)} timers: {names}. Name one of them.")
            name = next(iter(content))
        if name not in content:
            raise KeyError(
                f"{path} has no timer {name!r}.{near_match(name, content)} Known: {names}."
            )
        timer = cls(name)
        timer._adopt(content[name]["attempts"])  # type: ignore[arg-type]
        return timer

    def __getstate__(self) -> tuple[str, dict[str, object], list[Attempt]]:
        return self.name, self._options, self._attempts()

    def __setstate__(self, state: tuple[str, dict[str, object], list[Attempt]]) -> None:
        name, options, attempts = state
        Timer.__init__(self, name, **options)  # type: ignore[arg-type]
        self._adopt(attempts)

    def __str__(self) -> str:
        return f"{self.name}: {format_statistics(self.statistics())}"

    def __repr__(self) -> str:
        return f"<Timer {self}{', running' if self.running else ''}>"

    def _block(self, thread: int, action: str = "stop") -> _Block:
        """The thread's block, as an object that can be nested and paused."""
        block = self._running.get(thread)
        if block is None:
            raise self._not_running(action)
        if not isinstance(block, _Block):
            block = self._running[thread] = _Block(block)
        return block

    def _not_running(self, action: str) -> TimerError:
        return TimerError(
            f"Timer {self.name!r} is not running in this thread, so there is nothing to "
            f"{action}(): start() it first, or use `with timer:`"
        )

    def _end(self, block: object, now: int | Mark) -> None:
        """End one level of a block that is not just a start."""
        if not isinstance(block, _Block):
            raise self._not_running("stop")
        block.depth -= 1
        if block.depth:
            self._running[get_ident()] = block
            return
        block.stop_clock(now)
        self._add(block.elapsed)

    @contextmanager
    def _call_block(self) -> Iterator[None]:
        """A block for one coroutine call; calls inside it are part of it."""
        timers = _CALLING.get()
        if self in timers:
            yield
            return
        token = _CALLING.set((*timers, self))
        try:
            with self._independent_block():
                yield
        finally:
            _CALLING.reset(token)

    @contextmanager
    def _independent_block(self) -> Iterator[None]:
        """A block that keeps its own start, whatever else the thread is timing."""
        start = self._clock()
        try:
            yield
        finally:
            self._add(self._clock() - start)  # type: ignore[operator]

    def _add(self, elapsed: int | Span) -> None:
        self._unread.append(elapsed)
        if len(self._unread) >= self._limit:
            self._collect()

    def _collect(self, *, wait: bool = False) -> None:
        """Move unread durations into the totals."""
        with self._lock:
            size = len(self._unread)
            durations = self._unread[:size]
            # Other threads append in the meantime, so it must remain the same list.
            del self._unread[:size]
            if self._reads_later:
                from ._cuda import read_spans

                finished, unfinished = read_spans(durations, wait=wait, limit=self._limit // 2)
                self._unread[:0] = unfinished
            else:
                finished = durations  # type: ignore[assignment]
            if finished:
                self._totals.add(finished)

    def _own_statistics(self) -> Statistics:
        with self._lock:
            self._collect(wait=True)
            return self._totals.statistics()

    def _attempts(self) -> list[Attempt]:
        """All attempts of this timer: those it was loaded or copied with, then its own."""
        from os import urandom

        from ._files import attempt_of

        own = self._own_statistics()
        if self._attempt_id is None:
            self._attempt_id = urandom(4).hex()
        return [
            *self._earlier_attempts.values(),
            *([attempt_of(self._attempt_id, own)] if own.count else []),
        ]

    def _adopt(self, attempts: list[Attempt]) -> None:
        self._earlier_attempts = {str(attempt["id"]): attempt for attempt in attempts}
