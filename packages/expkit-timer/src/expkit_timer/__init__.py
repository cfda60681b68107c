"""Timers for code blocks: nested, thread-safe, in bounded memory, on CUDA without a stall.

`Timer` times one kind of block, `Timers` names and nests several. Calls in a wrong order raise
`TimerError`.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._statistics import Statistics as Statistics
    from ._timer import Timer as Timer
    from ._timer import TimerError as TimerError
    from ._timers import Timers as Timers

_MODULES = {
    "Statistics": "_statistics",
    "Timer": "_timer",
    "TimerError": "_timer",
    "Timers": "_timers",
}
__all__ = [*_MODULES]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
