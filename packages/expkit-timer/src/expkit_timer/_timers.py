"""Named timers that nest to form a tree."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from functools import partial
from os import PathLike
from threading import Lock
from time import perf_counter_ns
from typing import ParamSpec, TypeVar

from ._text import format_seconds, near_match
from ._timer import Timer, TimerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Literal, TypeAlias

    from pandas import DataFrame

    from ._files import Attempt

    # Where a thread or coroutine is in the tree: the timer, the name that its block was given,
    # and the place around it. A plain tuple, because one is made for each block.
    _Place: TypeAlias = tuple[Timer, str, "_Place | None"]

P = ParamSpec("P")
R = TypeVar("R")


class Timers(Mapping[str, Timer]):
    """Timers by name; a block inside another block of the same `Timers` becomes its child.

    `with timers("load"):` inside `with timers("epoch"):` counts for the timer `epoch/load`.
    Inside means in the same thread or coroutine; a generator that yields inside a block keeps it
    open around the code that runs it. `timers["epoch/load"]` is that timer; `str` shows the tree.

    Args:
        cuda: As for `Timer`, for all of them.
        clock: As for `Timer`.

    Examples:
        >>> ticks = iter(range(0, 8_000_000_000, 1_000_000_000))
        >>> timers = Timers(clock=lambda: next(ticks))
        >>> with timers("epoch"):
        ...     with timers("load"):
        ...         pass
        ...     with timers("train"):
        ...         pass
        >>> print(timers)
        epoch     5.00 s       1 × 5.00 s
        ├─ load   1.00 s  20%  1 × 1.00 s
        └─ train  1.00 s  20%  1 × 1.00 s
    """

    def __init__(
        self,
        *,
        cuda: Literal["off", "events", "sync"] = "off",
        clock: Callable[[], int] = perf_counter_ns,
    ) -> None:
        self._make_timer = partial(Timer, cuda=cuda, clock=clock)
        self._make_timer()  # an unusable mode raises here, not in the middle of a training
        self._timers: dict[str, Timer] = {}
        self._blocks: dict[str, TimedBlock] = {}
        self._children: dict[tuple[Timer | None, str], Timer] = {}  # by parent and name
        self._lock = Lock()
        self._place: ContextVar[_Place | None] = ContextVar("place", default=None)

    def __call__(self, name: str) -> TimedBlock:
        """A context manager and decorator that times blocks as children of the block around them.

        A block directly inside one of the same name (recursion) is part of the outer one.

        Raises:
            ValueError: If the name, or a part of it between slashes, is empty.
        """
        try:
            return self._blocks[name]
        except (KeyError, TypeError):
            pass
        if not isinstance(name, str) or not all(part.strip() for part in name.split("/")):
            raise ValueError(
                f"a timer's name must be a string such as 'load' or 'epoch/load', got {name!r}"
            )
        return self._blocks.setdefault(name, TimedBlock(self, name))

    def __getitem__(self, path: str) -> Timer:
        try:
            return self._timers[path]
        except KeyError:
            paths = sorted(self._timers)
            raise KeyError(
                f"no timer {path!r}.{near_match(str(path), paths)} "
                f"Known: {', '.join(paths) or 'none'}. `with timers({path!r}):` creates one."
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._timers))

    def __len__(self) -> int:
        return len(self._timers)

    def to_dict(self) -> dict[str, dict[str, float]]:
        """`Timer.to_dict` of each timer, by path."""
        return {path: timer.to_dict() for path, timer in self.items()}

    def to_dataframe(self) -> DataFrame:
        """One row per timer, with its path as index, and one column per statistic.

        Raises:
            ImportError: If pandas is not installed.
        """
        from ._frames import make_frame

        return make_frame({path: timer.statistics() for path, timer in self.items()})

    def save(self, path: str | PathLike[str], *, check: Callable[[], object] | None = None) -> None:
        """Merge all timers into one file.

        Args:
            path: As for `Timer.save`.
            check: As for `Timer.save`.
        """
        from ._files import save

        save(path, {name: timer._attempts() for name, timer in self.items()}, check)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Timers:
        """Timers that continue from where the saved ones ended; see `Timer.load`."""
        from ._files import attempts_in, read

        timers = cls()
        content = read(path)
        timers._adopt({name: attempts_in(content, name) for name in content})
        return timers

    def __getstate__(self) -> tuple[dict[str, object], dict[str, list[Attempt]]]:
        # A copy is like one of `Timer`.
        return self._make_timer.keywords, {path: timer._attempts() for path, timer in self.items()}

    def __setstate__(self, state: tuple[dict[str, object], dict[str, list[Attempt]]]) -> None:
        options, attempts = state
        Timers.__init__(self, **options)  # type: ignore[arg-type]
        self._adopt(attempts)

    def __str__(self) -> str:
        from ._tree import format_tree

        return format_tree({path: timer.statistics() for path, timer in self.items()})

    def __repr__(self) -> str:
        total_s = sum(timer.seconds for path, timer in self.items() if "/" not in path)
        return f"<Timers: {len(self)} timers, {format_seconds(total_s)} at the top>"

    def _adopt(self, attempts_by_path: Mapping[str, list[Attempt]]) -> None:
        for path, attempts in attempts_by_path.items():
            self._timer(path)._adopt(attempts)

    def _child(self, parent: Timer | None, name: str) -> Timer:
        if parent is None:
            path = name
        elif parent.name == name or parent.name.endswith(f"/{name}"):
            path = parent.name  # recursion
        else:
            path = f"{parent.name}/{name}"
        return self._children.setdefault((parent, name), self._timer(path))

    def _timer(self, path: str) -> Timer:
        timer = self._timers.get(path)
        if timer is None:
            with self._lock:
                timer = self._timers.setdefault(path, self._make_timer(path))
        return timer


class TimedBlock:
    """A block that looks up its timer when it begins; made by calling `Timers`."""

    __slots__ = ("_name", "_timers")

    def __init__(self, timers: Timers, name: str) -> None:
        self._timers = timers
        self._name = name

    def __enter__(self) -> Timer:
        timer = self._open()
        return timer.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close().__exit__(kind, error, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Time each call of a function or coroutine function, as a child of the calling block.

        Raises:
            TypeError: If it is a generator function, which does not run when it is called.
        """
        from ._decorator import decorate

        return decorate(self._name, function, self)

    def _open(self) -> Timer:
        timers, name = self._timers, self._name
        outer = timers._place.get()
        key = (None if outer is None else outer[0], name)
        timer = timers._children.get(key) or timers._child(*key)
        timers._place.set((timer, name, outer))
        return timer

    def _close(self) -> Timer:
        place = self._timers._place.get()
        inner: list[tuple[Timer, str]] = []
        # A generator that yields inside a block may end it after the block around it has ended.
        while place is not None and place[1] != self._name:
            inner.append(place[:2])
            place = place[2]
        if place is None:
            raise TimerError(f"the block {self._name!r} has not begun in this thread or coroutine")
        timer, _, outer = place
        for timer_and_name in reversed(inner):
            outer = (*timer_and_name, outer)
        self._timers._place.set(outer)
        return timer
