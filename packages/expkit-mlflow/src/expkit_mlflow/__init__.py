"""MLflow without the wait: runs append to a journal, one writer drains it to the store.

A run uses `MLFlowLogger`, alone or in `Bookkeeping(sinks=[…])`. The one process that writes the
store uses `sync` (or the command `expkit sync`). Importing this package does not import MLflow.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._addresses.errors import TrackingError as TrackingError
    from ._logger import MLFlowLogger as MLFlowLogger
    from ._sync.experiment import sync as sync
    from ._sync.report import SyncReport as SyncReport

_MODULES = {
    "MLFlowLogger": "_logger",
    "SyncReport": "_sync.report",
    "TrackingError": "_addresses.errors",
    "sync": "_sync.experiment",
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
