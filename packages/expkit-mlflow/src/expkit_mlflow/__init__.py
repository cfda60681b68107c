"""MLflow without the wait: runs append to a journal, one writer brings it to the store.

`MLFlowLogger` belongs into a run, alone or in `Bookkeeping(sinks=[…])`; `sync` (and the command
`expkit sync`) into the one process that writes the store. Importing this package does not import
MLflow.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._errors import TrackingError as TrackingError
    from ._logger import MLFlowLogger as MLFlowLogger
    from ._report import SyncReport as SyncReport
    from ._sync import sync as sync

_MODULES = {
    "MLFlowLogger": "_logger",
    "SyncReport": "_report",
    "TrackingError": "_errors",
    "sync": "_sync",
}
__all__ = ["MLFlowLogger", "SyncReport", "TrackingError", "sync"]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
