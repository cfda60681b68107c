"""What one timed block costs, in nanoseconds."""

import time
from contextlib import AbstractContextManager

import codetiming
from measuring import Bar, Contender, growth, measure, options, report

from expkit_timer import Timer, Timers

FLOOR = "slotted context manager"
OURS, PEER = "expkit_timer.Timer", "codetiming, named"


class Slotted:
    """The least that a context manager in Python can do: a sum."""

    __slots__ = ("start", "total")

    def __init__(self) -> None:
        self.total = 0

    def __enter__(self) -> None:
        self.start = time.perf_counter_ns()

    def __exit__(self, *_: object) -> None:
        self.total += time.perf_counter_ns() - self.start


def block_ns(timer: AbstractContextManager[object], blocks: int) -> float:
    """Mean of many empty blocks, without the loop around them."""
    numbers = range(blocks)
    start = time.perf_counter_ns()
    for _ in numbers:
        pass
    loop = time.perf_counter_ns() - start
    start = time.perf_counter_ns()
    for _ in numbers:
        with timer:
            pass
    return (time.perf_counter_ns() - start - loop) / blocks


def looked_up_ns(timers: Timers, blocks: int) -> float:
    """The same if the timer is looked up by name each time."""
    start = time.perf_counter_ns()
    for _ in range(blocks):
        with timers("block"):
            pass
    return (time.perf_counter_ns() - start) / blocks


def main() -> None:
    """Measure few blocks and many: what is kept of each must not make later ones slower."""
    settings = options(__doc__)
    rows = []
    for blocks in (1_000, 10_000) if settings.quick else (1_000, 10_000, 100_000):
        # codetiming keeps the samples of a named timer as long as the process lives, so each case
        # has a new name.
        named = codetiming.Timer(f"block {blocks}", logger=None)
        unnamed = codetiming.Timer(logger=None)
        timer, timers, slotted = Timer("block"), Timers(), Slotted()
        rows += measure(
            f"{blocks:,} blocks",
            [
                Contender(
                    OURS,
                    lambda n=blocks, x=timer: block_ns(x, n),
                    floor=FLOOR,
                    peer=PEER,
                    bars=[Bar(at_most=1, times=PEER)],
                ),
                Contender(
                    'expkit_timer.Timers()("block")',
                    lambda n=blocks, x=timers: looked_up_ns(x, n),
                    floor=FLOOR,
                    peer=PEER,
                ),
                Contender(PEER, lambda n=blocks, x=named: block_ns(x, n), floor=FLOOR),
                Contender(
                    "codetiming, unnamed", lambda n=blocks, x=unnamed: block_ns(x, n), floor=FLOOR
                ),
                Contender(FLOOR, lambda n=blocks, x=slotted: block_ns(x, n)),
            ],
            repeats=7 if settings.quick else 21,
        )
    rows = growth(rows, OURS, dict.fromkeys((row.case for row in rows), 1.0), at_most=1.3)
    note = (
        "A `Timer` keeps quantiles in bounded memory; codetiming keeps all samples of a named "
        "timer and none of an unnamed one."
    )
    report("timer", "ns", rows, settings.json, note=note)


if __name__ == "__main__":
    main()
