"""Every random number generator seeded, saved and restored, in DataLoader workers too.

Call `set_seed` at the start, `loader_kwargs` for each DataLoader and `rng_state` in each
checkpoint; `derive_seed` gives seeds for streams of your own, and `isolated_rng` protects the
training from what a block draws.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._datasets import SeededDataset as SeededDataset
    from ._loaders import loader_kwargs as loader_kwargs
    from ._seeding import set_seed as set_seed
    from ._states import isolated_rng as isolated_rng
    from ._states import restore_rng_state as restore_rng_state
    from ._states import rng_state as rng_state
    from ._streams import derive_seed as derive_seed
    from ._streams import sample_seed as sample_seed

_MODULES = {
    "SeededDataset": "_datasets",
    "derive_seed": "_streams",
    "isolated_rng": "_states",
    "loader_kwargs": "_loaders",
    "restore_rng_state": "_states",
    "rng_state": "_states",
    "sample_seed": "_streams",
    "set_seed": "_seeding",
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
