"""One timer: blocks in, statistics out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock, get_ident
from time import perf_counter_ns
from typing import TYPE_CHECKING, Literal, ParamSpec, Self, TypeVar

from ._statistics import Statistics, Totals
from ._text import format_seconds, format_statistics, near_match

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path
    from types import TracebackType

    from pandas import DataFrame

    from ._cuda import Mark, Span
    from ._files import Attempt

P = ParamSpec("P")
R = TypeVar("R")

_RECENT = 1024  # durations that are collected before they are counted, many at once
_RECENT_EVENTS = 256  # the same with CUDA events, of which each duration holds two or more


# Timers whose decorated coroutine functions are running in this context.
_INSIDE: ContextVar[tuple[Timer, ...]] = ContextVar("inside", default=())


class TimerError(RuntimeError):
    """A timer's calls came in an order that makes no sense."""


class _Block:
    """A block that is nested in itself or has been paused; the usual one is only its start."""

    __slots__ = ("depth", "start", "took")

    def __init__(self, start: int | Mark) -> None:
        self.start: int | Mark | None = start  # None while paused
        self.took: int | Span = 0  # before the last pause
        self.depth = 1

    def end_stretch(self, now: int | Mark) -> None:
        if self.start is not None:
            self.took = self.took + (now - self.start)  # type: ignore[operator]
            self.start = None


class Timer:
    """Times one kind of block and keeps count, total, mean, deviation, extremes and quantiles.

    Use it as a context manager, as a decorator of functions and coroutine functions, or by
    `start` and `stop`. Each thread times blocks of its own, and all of them count. A block within
    a block of the same timer and thread (recursion, or coroutines that take turns inside `with`)
    belongs to the outermost; a decorated coroutine function times each call by itself. A block
    that is left by an exception counts.

    A copy, also one that was pickled on its way to another process, begins with what was timed so
    far and then counts by itself; saved into one file with the original, nothing counts twice.

    Memory is bounded. Count, total, mean, deviation, minimum and maximum are exact; quantiles are
    exact up to 4096 blocks and then come from an even sample of 2048 to 4096 of them.

    Args:
        name: What the timer is called in files, texts and errors.
        cuda: "off" measures the time on the CPU, which for GPU work is the time to launch it.
            "events" records CUDA events in the current stream and reads them later, so that the
            loop never waits: the GPU's time. "sync" waits for the GPU at both ends of a block.
        clock: Nanoseconds that never go back.

    Raises:
        ValueError: If `cuda` is none of the three.
        ImportError: If it needs torch and torch is not installed.
        RuntimeError: If it needs a CUDA device and there is none.

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
        "_earlier",
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
            raise ValueError(f"a timer's name must be a text that is not empty, got {name!r}")
        self.name = name
        self._options: dict[str, object] = {"cuda": cuda, "clock": clock}
        # By thread: the start of its block, or a _Block. Single operations on dicts and lists are
        # atomic, so that the way in and out needs no lock.
        self._running: dict[int, int | Mark | _Block] = {}
        self._unread: list[int | Span] = []
        self._totals = Totals()
        self._lock = RLock()  # of the totals; a signal handler may read a timer that is counting
        self._attempt_id: str | None = None
        self._earlier: dict[str, Attempt] = {}
        self._use_clock(clock)
        if cuda != "off":
            from ._cuda import check_mode, make_clock

            check_mode(name, cuda)
            self._use_clock(make_clock(name, cuda, clock), reads_later=cuda == "events")

    def _use_clock(self, clock: Callable[[], int | Mark], *, reads_later: bool = False) -> None:
        self._clock = clock
        self._reads_later = reads_later
        self._limit = _RECENT_EVENTS if reads_later else _RECENT

    # On the way in and out the clock gets a name of its own first: to Python 3.11 `self._clock()`
    # calls a method, which it would look for in the class; this saves 5 % of a block.
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
            self._leave(start, now)
        else:
            if len(unread) >= self._limit:
                self._collect()

    def start(self) -> None:
        """Begin a block in this thread.

        Raises:
            TimerError: If one is running; only `with` and decorators may be nested.
        """
        if get_ident() in self._running:
            raise TimerError(
                f"Timer {self.name!r} is running in this thread already: stop() it first, or use "
                "`with timer:`, which may be nested"
            )
        self.__enter__()

    def stop(self) -> None:
        """End the block of this thread, paused or not; `last` then tells how long it took.

        Raises:
            TimerError: If none is running.
        """
        self.__exit__(None, None, None)

    def pause(self) -> None:
        """Stop the clock within a block, to leave out what does not belong to it.

        Raises:
            TimerError: If no block is running, or it is paused already.
        """
        now = self._clock()
        block = self._block(get_ident(), "pause")
        if block.start is None:
            raise TimerError(f"Timer {self.name!r} is paused already: resume() it first")
        block.end_stretch(now)

    def resume(self) -> None:
        """Let the clock of a paused block go on.

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
            TypeError: If it is a generator function, whose call does no work yet.
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
        """Total time of all blocks that have ended, as people write it: `0:01:20` or `2.00 s`."""
        return format_seconds(self.seconds)

    @property
    def last(self) -> float:
        """Seconds of the block that ended last.

        Raises:
            TimerError: If none has.
        """
        with self._lock:
            self._collect(wait=True)
            last = self._totals.last
        if last is None:
            raise TimerError(f"Timer {self.name!r} has timed no block yet: use `with timer:`")
        return last / 1e9

    def statistics(self) -> Statistics:
        """Statistics of all blocks that have ended, those of loaded attempts included."""
        own = self._own_statistics()
        if not self._earlier:
            return own
        from ._files import attempt_of, statistics_of

        attempts = list(self._earlier.values())
        return statistics_of([*attempts, attempt_of("", own)] if own.count else attempts)

    def to_dict(self) -> dict[str, float]:
        """`statistics()` by name; NaN where there is nothing to say."""
        return self.statistics()._asdict()

    def to_dataframe(self) -> DataFrame:
        """One row, with the timer's name as index and a column a statistic.

        Raises:
            ImportError: If pandas is not installed.
        """
        from ._frames import make_frame

        return make_frame({self.name: self.statistics()})

    def save(self, path: str | Path) -> None:
        """Merge this timer into a YAML, JSON or CSV file, by the suffix of its name.

        Saved again, a timer replaces what it saved before; what other timers and earlier
        processes saved stays, and the totals are sums over all of them. The file is replaced as a
        whole, so that it is valid at all times.

        Raises:
            ValueError: If the suffix is another, or the file there is not a timer file; it stays.
            ImportError: If the file is YAML and PyYAML is not installed.
        """
        from ._files import save

        save(path, {self.name: self._attempts()})

    @classmethod
    def load(cls, path: str | Path, name: str | None = None) -> Self:
        """A timer that goes on where the saved ones have ended.

        Args:
            path: A file that `save` has written.
            name: Which of the file's timers; may be left out where it has only one.

        Raises:
            ValueError: If it is not a timer file, or `name` is needed and missing.
            KeyError: If the file has no timer of that name.
            FileNotFoundError: If there is no such file.
        """
        from ._files import read

        content = read(path)
        known = ", ".join(sorted(content)) or "none"
        if name is None:
            if len(content) != 1:
                raise ValueError(f"{path} has not one timer but these: {known}. Give the name.")
            name = next(iter(content))
        if name not in content:
            near = near_match(name, list(content))
            raise KeyError(f"{path} has no timer {name!r}.{near} Known: {known}.")
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
        """The block of a thread, as an object that can be nested and paused."""
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

    def _leave(self, block: object, now: int | Mark) -> None:
        """End a block that is not just a start."""
        if not isinstance(block, _Block):
            raise self._not_running("stop")
        block.depth -= 1
        if block.depth:
            self._running[get_ident()] = block
            return
        block.end_stretch(now)
        self._add(block.took)

    @contextmanager
    def _call_block(self) -> Iterator[None]:
        """A block of one coroutine call; a call within it belongs to it."""
        inside = _INSIDE.get()
        if self in inside:
            yield
            return
        token = _INSIDE.set((*inside, self))
        try:
            with self._measure():
                yield
        finally:
            _INSIDE.reset(token)

    @contextmanager
    def _measure(self) -> Iterator[None]:
        """A block that keeps its start for itself, whatever else the thread is doing."""
        start = self._clock()
        try:
            yield
        finally:
            self._add(self._clock() - start)  # type: ignore[operator]

    def _add(self, took: int | Span) -> None:
        self._unread.append(took)
        if len(self._unread) >= self._limit:
            self._collect()

    def _collect(self, *, wait: bool = False) -> None:
        """Move what has been collected into the totals."""
        with self._lock:
            size = len(self._unread)
            durations = self._unread[:size]
            # Other threads append all the while, so the list must stay the same one.
            del self._unread[:size]
            if self._reads_later:
                from ._cuda import read_spans

                known, waiting = read_spans(durations, wait=wait, limit=self._limit // 2)
                self._unread[:0] = waiting
            else:
                known = durations  # type: ignore[assignment]
            if known:
                self._totals.add(known)

    def _own_statistics(self) -> Statistics:
        with self._lock:
            self._collect(wait=True)
            return self._totals.statistics()

    def _attempts(self) -> list[Attempt]:
        """All attempts that this timer knows, its own last."""
        from os import urandom

        from ._files import attempt_of

        own = self._own_statistics()
        if self._attempt_id is None:
            self._attempt_id = urandom(4).hex()
        return [
            *self._earlier.values(),
            *([attempt_of(self._attempt_id, own)] if own.count else []),
        ]

    def _adopt(self, attempts: list[Attempt]) -> None:
        self._earlier = {str(attempt["id"]): attempt for attempt in attempts}
