"""A timed block around each call of a function."""

from __future__ import annotations

from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import ParamSpec, TypeVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    Block = AbstractContextManager[object]

P = ParamSpec("P")
R = TypeVar("R")


def decorate(timer: str, function: Callable[P, R], block: Block) -> Callable[P, R]:
    """The function with a timed block around each call.

    Args:
        timer: Name of the timer, for errors.
        function: A function or coroutine function.
        block: Times a call.

    Raises:
        TypeError: If it is a generator function, which does not run when it is called.
    """
    if not callable(function):
        raise TypeError(f"Timer {timer!r} can only decorate functions, got {function!r}")
    callables = (function, type(function).__call__)  # an object is called through its class
    if any(isgeneratorfunction(code) or isasyncgenfunction(code) for code in callables):
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(
            f"Timer {timer!r} cannot time the generator function {name}: calling it runs none of "
            "its code. Use `with timer:` inside it, or around the loop over it."
        )
    if any(iscoroutinefunction(code) for code in callables):

        @wraps(function)
        async def timed_coroutine(*args: P.args, **kwargs: P.kwargs) -> object:
            with block:
                return await function(*args, **kwargs)  # type: ignore[misc]

        return timed_coroutine  # type: ignore[return-value]

    @wraps(function)
    def timed(*args: P.args, **kwargs: P.kwargs) -> R:
        with block:
            return function(*args, **kwargs)

    return timed
