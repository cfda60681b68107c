"""Curves, final values, heat maps and confusion matrices of one run or of hundreds."""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._data.errors import PlottingError as PlottingError
    from ._figure_files.restyling import restyle as restyle
    from ._html_report import Report as Report
    from ._plot_metrics import PlotMetrics as PlotMetrics
    from ._style.keys import PlotStyle as PlotStyle

_MODULES = {
    "PlotMetrics": "_plot_metrics",
    "PlotStyle": "_style.keys",
    "PlottingError": "_data.errors",
    "Report": "_html_report",
    "restyle": "_figure_files.restyling",
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
