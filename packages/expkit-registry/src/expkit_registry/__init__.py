"""A registry is a class: names for classes and functions, checked before they are built.

Subclass `BaseRegistry` once for each kind of thing (models, optimizers, transforms); the subclass
is the table. What does not fit raises `RegistryError`.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._errors import RegistryError as RegistryError
    from ._registry import BaseRegistry as BaseRegistry

_MODULES = {"BaseRegistry": "_registry", "RegistryError": "_errors"}
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
