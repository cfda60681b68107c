"""A grid search that can be trusted: a Hydra sweeper and launcher that run only what is missing."""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._callback import RunCallback as RunCallback
    from ._cleanup import cleanup as cleanup
    from ._composing.errors import GridError as GridError
    from ._grid.grid import Grid as Grid
    from ._grid.run import GridRun as GridRun

_MODULES = {
    "Grid": "_grid.grid",
    "GridError": "_composing.errors",
    "GridRun": "_grid.run",
    "RunCallback": "_callback",
    "cleanup": "_cleanup",
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
