"""Rules that decide which runs of a grid search are skipped, and why.

`RunFilter` holds the rules of the configuration key `_filters` and what is known about the
experiment's runs; it decides for one configuration (`decide`) or for a whole grid (`select`).
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._decisions import Candidate as Candidate
    from ._decisions import Decision as Decision
    from ._decisions import Selection as Selection
    from ._decisions import UnusedRule as UnusedRule
    from ._errors import FilterError as FilterError
    from ._expressions import Expression as Expression
    from ._rules import Rule as Rule
    from ._run_filter import RunFilter as RunFilter
    from ._states import completed_by_code as completed_by_code

_MODULES = {
    "Candidate": "_decisions",
    "Decision": "_decisions",
    "Expression": "_expressions",
    "FilterError": "_errors",
    "Rule": "_rules",
    "RunFilter": "_run_filter",
    "Selection": "_decisions",
    "UnusedRule": "_decisions",
    "completed_by_code": "_states",
}
__all__ = [
    "Candidate",
    "Decision",
    "Expression",
    "FilterError",
    "Rule",
    "RunFilter",
    "Selection",
    "UnusedRule",
    "completed_by_code",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
