"""Clocks that know of the GPU; torch is imported only when one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from ._text import near_match

if TYPE_CHECKING:
    from types import ModuleType

MODES = ("off", "events", "sync")


class Event(Protocol):
    """The part of torch.cuda.Event that is used here."""

    def record(self) -> object:
        """Mark this place in the current stream."""

    def query(self) -> bool:
        """Whether the GPU has passed it."""

    def synchronize(self) -> object:
        """Wait until it has."""

    def elapsed_time(self, end_event: Event, /) -> float:
        """Milliseconds from this event to a later one, once the GPU has passed both."""


class Mark:
    """A place in the GPU's stream; what an event clock reads."""

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
        """The duration in ns, after the GPU has come this far."""
        for _, end in self.pairs:
            end.synchronize()
        milliseconds = sum(start.elapsed_time(end) for start, end in self.pairs)
        return round(milliseconds * 1e6)


def read_spans(
    durations: Sequence[int | Span], *, wait: bool, limit: int
) -> tuple[list[int], list[int | Span]]:
    """Durations that are known, and spans on which the GPU is still at work.

    Args:
        durations: In the order in which the blocks ended.
        wait: Wait for all of them.
        limit: How many may stay unknown; for the oldest beyond that there is a wait, so that the
            number of events in use is bounded.
    """
    known: list[int] = []
    waiting: list[int | Span] = []
    surplus = len(durations) if wait else len(durations) - limit
    for place, duration in enumerate(durations):
        if isinstance(duration, int):
            known.append(duration)
        elif place < surplus or duration.is_ready():
            known.append(duration.wait())
        else:
            waiting.append(duration)
    return known, waiting


def event_clock(make_event: Callable[[], Event]) -> Callable[[], Mark]:
    """A clock that records an event in the current stream and never waits."""

    def read() -> Mark:
        event = make_event()
        event.record()
        return Mark(event)

    return read


def check_mode(timer: str, mode: object) -> None:
    """Refuse what is none of `MODES`.

    Raises:
        ValueError: With the near match.
    """
    if mode in MODES:
        return
    hint = near_match(str(mode), list(MODES))
    if mode is False:
        hint = " YAML reads off as false unless it stands in quotes."
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
    cure = "Use cuda='off' to time on the CPU alone"
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"Timer {timer!r}: cuda={mode!r} needs PyTorch, which is not installed. "
            f"{cure}, or install torch."
        ) from error
    if not torch.cuda.is_available():
        raise RuntimeError(
            f"Timer {timer!r}: cuda={mode!r} needs a CUDA device, and torch finds none. {cure}, "
            f"e.g. cuda={mode!r} if torch.cuda.is_available() else 'off'."
        )
    return torch
