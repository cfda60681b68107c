"""A timer around each call of a function."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

Block = AbstractContextManager[object]


def decorate(
    timer: str, function: Callable[P, R], block: Block, lone_block: Callable[[], Block]
) -> Callable[P, R]:
    """The function with a timed block around each call.

    Args:
        timer: Name of the timer, for errors.
        function: A function or coroutine function.
        block: Times calls that end in the order in which they began, as those of a thread do.
        lone_block: Makes a block that depends on no other. Coroutines of one thread take turns,
            so that their calls end in any order.

    Raises:
        TypeError: If it is a generator function, whose call does no work yet.
    """
    if not callable(function):
        raise TypeError(f"Timer {timer!r} can decorate functions, got {function!r}")
    kinds = (function, type(function).__call__)  # an object is called through its class
    if any(isgeneratorfunction(kind) or isasyncgenfunction(kind) for kind in kinds):
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(
            f"Timer {timer!r} cannot time the generator function {name}: calling it does no work "
            "yet. Use `with timer:` in it, or around the loop over it."
        )
    if any(iscoroutinefunction(kind) for kind in kinds):

        @wraps(function)
        async def timed_coroutine(*args: P.args, **kwargs: P.kwargs) -> object:
            with lone_block():
                return await function(*args, **kwargs)  # type: ignore[misc]

        return timed_coroutine  # type: ignore[return-value]

    @wraps(function)
    def timed(*args: P.args, **kwargs: P.kwargs) -> R:
        with block:
            return function(*args, **kwargs)

    return timed
