"""How far composing a grid has come, for a user who waits for it."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeVar, cast

T = TypeVar("T")
PROGRESS_AFTER_S = 2.0
REFRESH_S = 0.1


def progress(items: Iterable[T], total: int) -> Iterator[T]:
    """The items, with a line on stderr if composing them takes more than two seconds."""
    with progress_line(total) as advance:
        for item in items:
            yield item
            advance()


@contextmanager
def progress_line(
    total: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[], None]]:
    due = clock() + PROGRESS_AFTER_S
    line: Any = None
    done = 0

    def advance() -> None:
        nonlocal line, done, due
        done += 1
        now = clock()
        if now < due and (line is None or done < total):
            return
        due = max(due, now + REFRESH_S)
        if line is None:
            from rich.console import Console
            from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

            from .screen import TolerantStream

            columns = ("Composing", MofNCompleteColumn(), TimeRemainingColumn())
            stderr = cast(IO[str], TolerantStream(sys.stderr))
            line = Progress(*columns, console=Console(file=stderr), transient=True)
            line.add_task("Composing", total=total)
            line.start()
        if line is not None:
            line.update(line.task_ids[0], completed=done)

    try:
        yield advance
    finally:
        if line is not None:
            line.stop()
