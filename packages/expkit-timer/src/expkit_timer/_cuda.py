"""Clocks that account for the GPU; torch is imported only when one of them is needed."""

from __future__ import annotations

from typing import Protocol

from ._text import near_match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

MODES = ("off", "events", "sync")


class Event(Protocol):
    """The part of torch.cuda.Event that is used here."""

    def record(self) -> object:
        """Mark this place in the current stream."""

    def query(self) -> bool:
        """Whether the GPU has passed this event."""

    def synchronize(self) -> object:
        """Wait until the GPU has passed it."""

    def elapsed_time(self, end_event: Event, /) -> float:
        """Milliseconds from this event to a later one, once the GPU has passed both."""


class Mark:
    """A place in a CUDA stream: the reading of an event clock."""

    __slots__ = ("event",)

    def __init__(self, event: Event) -> None:
        self.event = event

    def __sub__(self, start: object) -> Span:
        return Span(((start.event, self.event),)) if isinstance(start, Mark) else NotImplemented


class Span:
    """The time between marks, known once the GPU has passed the last of them."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: tuple[tuple[Event, Event], ...]) -> None:
        self.pairs = pairs

    def __add__(self, other: object) -> Span:
        if isinstance(other, Span):
            return Span(self.pairs + other.pairs)
        return self if other == 0 else NotImplemented

    __radd__ = __add__

    def is_ready(self) -> bool:
        """Whether the duration can be read without waiting."""
        return all(end.query() for _, end in self.pairs)

    def wait(self) -> int:
        """The duration in ns; waits until the GPU has passed the last mark."""
        for _, end in self.pairs:
            end.synchronize()
        milliseconds = sum(start.elapsed_time(end) for start, end in self.pairs)
        return round(milliseconds * 1e6)


def read_spans(
    durations: Sequence[int | Span], *, wait: bool, limit: int
) -> tuple[list[int], list[int | Span]]:
    """Durations in ns, and the spans that the GPU has not finished yet.

    Args:
        durations: In the order in which the blocks ended.
        wait: Wait for all of them.
        limit: How many spans may stay unfinished. Waiting for the oldest beyond that bounds the
            number of events in use.
    """
    finished: list[int] = []
    unfinished: list[int | Span] = []
    surplus = len(durations) if wait else len(durations) - limit
    for index, duration in enumerate(durations):
        if isinstance(duration, int):
            finished.append(duration)
        elif index < surplus or duration.is_ready():
            finished.append(duration.wait())
        else:
            unfinished.append(duration)
    return finished, unfinished


def event_clock(make_event: Callable[[], Event]) -> Callable[[], Mark]:
    """A clock that records an event in the current stream and never waits."""

    def read() -> Mark:
        event = make_event()
        event.record()
        return Mark(event)

    return read


def check_mode(timer: str, mode: object) -> None:
    """Check that a mode is one of `MODES`.

    Raises:
        ValueError: If it is not; the message names the near match.
    """
    if mode in MODES:
        return
    hint = near_match(str(mode), list(MODES))
    if mode is False:
        hint = " YAML reads off as false unless it is quoted."
    raise ValueError(
        f"Timer {timer!r}: cuda must be one of {', '.join(map(repr, MODES))}, got {mode!r}.{hint}"
    )


def make_clock(timer: str, mode: str, clock: Callable[[], int]) -> Callable[[], int | Mark]:
    """The clock for a CUDA mode.

    Raises:
        ImportError: If torch is not installed.
        RuntimeError: If there is no CUDA device.
    """
    torch = _torch(timer, mode)
    if mode == "events":
        return event_clock(lambda: torch.cuda.Event(enable_timing=True))
    synchronize = torch.cuda.synchronize

    def read() -> int:
        synchronize()
        return clock()

    return read


def _torch(timer: str, mode: str) -> ModuleType:
    remedy = "Use cuda='off' to time on the CPU alone"
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"Timer {timer!r}: cuda={mode!r} needs PyTorch, which is not installed: "
            f"pip install torch. {remedy}."
        ) from error
    if not torch.cuda.is_available():
        raise RuntimeError(
            f"Timer {timer!r}: cuda={mode!r} needs a CUDA device, but torch finds none. "
            f"{remedy}, e.g. cuda={mode!r} if torch.cuda.is_available() else 'off'."
        )
    return torch
