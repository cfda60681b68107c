"""One timer: blocks in, statistics out."""

from __future__ import annotations

from os import PathLike
from sys import modules
from threading import RLock, get_ident
from time import perf_counter_ns
from typing import ParamSpec, TypeVar

from . import _tasks
from ._statistics import Statistics, Totals
from ._text import format_seconds, format_statistics, near_match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from types import TracebackType
    from typing import Literal, Self, TypeAlias

    from pandas import DataFrame

    from ._cuda import Mark, Span
    from ._files import Attempt

    _Owner: TypeAlias = int | _tasks.AnyTask  # of a block: a thread's number, or a task

P = ParamSpec("P")
R = TypeVar("R")

_UNREAD_LIMIT = 1024  # durations that are collected before they are added to the totals at once
_UNREAD_LIMIT_EVENTS = 256  # the same with CUDA events, of which each duration holds two or more


class TimerError(RuntimeError):
    """A timer's methods were called in an order that makes no sense."""


class _Block:
    """A block that was nested or paused, or may be a task's; any other is just its start."""

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
    `start` and `stop`. Each thread and each asyncio task times its own blocks, and all of them
    count. A block inside a block of the same timer and thread or task (recursion) is part of the
    outermost one; so are all tasks inside a block around `asyncio.run`. A block that ends with an
    exception counts.

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

    Examples:
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
        self.name: str = name
        self._options: dict[str, object] = {"cuda": cuda, "clock": clock}
        # By owner: the start of its block, or a _Block. Single operations on dicts and lists are
        # atomic, so entering and leaving a block needs no lock.
        self._running: dict[_Owner, int | Mark | _Block] = {}
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
        if running or ("asyncio" in modules and _tasks.running_loop() is not None):
            self._begin()
        else:
            clock = self._clock
            running[get_ident()] = clock()
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
        """Begin a block in this thread or task.

        Raises:
            TimerError: If one is running already; only `with` and decorators can be nested.
        """
        if self.running:
            raise TimerError(
                f"Timer {self.name!r} is already running in this {_place()}: stop() it first, or "
                "use `with timer:`, which can be nested"
            )
        self.__enter__()

    def stop(self) -> None:
        """End the block of this thread or task, paused or not; `last` is then its duration.

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
        block = self._block("pause")
        if block.start is None:
            raise TimerError(f"Timer {self.name!r} is already paused: resume() it first")
        block.stop_clock(now)

    def resume(self) -> None:
        """Start the clock of a paused block again.

        Raises:
            TimerError: If no block is running, or it is not paused.
        """
        block = self._block("resume")
        if block.start is not None:
            raise TimerError(f"Timer {self.name!r} is not paused: there is nothing to resume()")
        block.start = self._clock()

    @property
    def running(self) -> bool:
        """Whether this thread or task is inside a block, paused or not."""
        return self._owner() is not None

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Time each call of a function or coroutine function.

        Raises:
            TypeError: If it is a generator function, which does not run when it is called.
        """
        from ._decorator import decorate

        return decorate(self.name, function, self)

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

    def save(self, path: str | PathLike[str], *, check: Callable[[], object] | None = None) -> None:
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
    def load(cls, path: str | PathLike[str], name: str | None = None) -> Self:
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

    def _owner(self) -> _Owner | None:
        """Whose block this thread or task is in: its own, or that of the thread around its loop."""
        task = _tasks.current_task()
        if task is not None and task in self._running:
            return task
        thread = get_ident()
        return thread if thread in self._running else None

    def _block(self, action: str) -> _Block:
        """The block of this thread or task, as an object that can be nested and paused."""
        owner = self._owner()
        if owner is None:
            raise self._not_running(action)
        block = self._running[owner]
        if not isinstance(block, _Block):
            block = self._running[owner] = _Block(block)
        return block

    def _not_running(self, action: str) -> TimerError:
        return TimerError(
            f"Timer {self.name!r} is not running in this {_place()}, so there is nothing to "
            f"{action}(): start() it first, or use `with timer:`"
        )

    def _begin(self) -> None:
        """Begin a block where others are running, or an event loop is."""
        if self._owner() is not None:
            self._block("start").depth += 1
            return
        owner = _tasks.current_task() or get_ident()
        # A task's block ends in `_end`, which a plain start in the thread's place would bypass.
        has_tasks = any(not isinstance(other, int) for other in [owner, *self._running])
        start = self._clock()
        self._running[owner] = _Block(start) if has_tasks else start

    def _end(self, block: object, now: int | Mark) -> None:
        """End one level of a block that is not just a start.

        Args:
            block: What was taken from this thread's place.
            now: When it ended.
        """
        if isinstance(block, _Block):
            self._running[get_ident()] = block
        owner = self._owner() or self._abandoned()
        block = None if owner is None else self._running[owner]
        if owner is None or not isinstance(block, _Block):
            raise self._not_running("stop")
        block.depth -= 1
        if not block.depth:
            del self._running[owner]
            block.stop_clock(now)
            self._add(block.elapsed)

    def _abandoned(self) -> _Owner | None:
        """The task whose block another task ends, as it closes a generator that the first left."""
        loop = _tasks.running_loop()
        tasks = [owner for owner in list(self._running) if not isinstance(owner, int)]
        owners = [task for task in tasks if loop is not None and task.get_loop() is loop]
        return owners[0] if len(owners) == 1 else None

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


def _place() -> str:
    return "thread" if _tasks.current_task() is None else "task"
