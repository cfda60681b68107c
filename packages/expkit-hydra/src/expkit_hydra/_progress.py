"""How far composing a grid has come, for those who wait for it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
PROGRESS_AFTER_S = 2.0


def progress(items: Sequence[T]) -> Iterator[T]:
    """The items; with a line on stderr when composing them takes more than two seconds."""
    with progress_line(len(items)) as advance:
        for item in items:
            yield item
            advance()


@contextmanager
def progress_line(
    total: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[], None]]:
    started = clock()
    line: Any = None
    done = 0

    def advance() -> None:
        nonlocal line, done
        done += 1
        if line is None and clock() - started > PROGRESS_AFTER_S:
            from rich.console import Console
            from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

            columns = ("Composing", MofNCompleteColumn(), TimeRemainingColumn())
            line = Progress(*columns, console=Console(stderr=True), transient=True)
            line.add_task("Composing", total=total)
            line.start()
        if line is not None:
            line.update(line.task_ids[0], completed=done)

    try:
        yield advance
    finally:
        if line is not None:
            line.stop()
