"""Rules that decide which runs of a grid search are skipped, and why.

`RunFilter` holds the rules of the configuration key `_filters` and the experiment's records. It
decides about one configuration (`decide`) or about a whole grid (`select`).
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._earlier_runs import completed_by_code as completed_by_code
    from ._errors import FilterError as FilterError
    from ._expressions import Expression as Expression
    from ._rules import Rule as Rule
    from ._run_filter import RunFilter as RunFilter
    from ._selection import Candidate as Candidate
    from ._selection import Decision as Decision
    from ._selection import Selection as Selection
    from ._selection import UnusedRule as UnusedRule

_MODULES = {
    "Candidate": "_selection",
    "Decision": "_selection",
    "Expression": "_expressions",
    "FilterError": "_errors",
    "Rule": "_rules",
    "RunFilter": "_run_filter",
    "Selection": "_selection",
    "UnusedRule": "_selection",
    "completed_by_code": "_earlier_runs",
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
