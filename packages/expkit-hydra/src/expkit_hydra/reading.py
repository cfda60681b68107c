"""Reading the grid of an experiment: its runs in order, their values, what rules skip, settings.

Programs that take results further use it, as expkit-plotting does. Names and meanings here stay as
they are between minor versions; nothing here imports Hydra or OmegaConf.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._grid.contents import GridSettings as GridSettings
    from ._grid.contents import grid_runs as grid_runs
    from ._grid.contents import grid_settings as grid_settings
    from ._grid.run import GridRun as GridRun

_MODULES = {
    "GridRun": "_grid.run",
    "GridSettings": "_grid.contents",
    "grid_runs": "_grid.contents",
    "grid_settings": "_grid.contents",
}
__all__ = [*_MODULES]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_MODULES[name]}", __package__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
