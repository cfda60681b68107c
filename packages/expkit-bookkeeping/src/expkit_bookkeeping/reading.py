"""Reading what Bookkeeping wrote: states, values, configurations, curves; nothing changes.

Programs that take results further use it, as expkit-plotting and expkit-mlflow do. Names and
meanings here stay as they are between minor versions; plain Python types, and pandas only for
`results` and for saved results that are tables.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._finished.used_runs import UsedRun as UsedRun
    from ._finished.used_runs import change_since as change_since
    from ._finished.used_runs import used_runs as used_runs
    from ._results.curves import Curve as Curve
    from ._results.curves import experiment_folder as experiment_folder
    from ._results.curves import folders_with_metrics as folders_with_metrics
    from ._results.curves import metric_names as metric_names
    from ._results.curves import read_curves as read_curves
    from ._results.groups import configuration_differences as configuration_differences
    from ._results.groups import differences_text as differences_text
    from ._results.groups import repeated_names as repeated_names
    from ._results.outcomes import metric_outcome as metric_outcome
    from ._results.outcomes import outcome_numbers as outcome_numbers
    from ._results.rows import result_rows as result_rows
    from ._results.rows import results as results
    from ._results.swept import UNKNOWN as UNKNOWN
    from ._results.swept import swept_values as swept_values
    from ._results.values import SavedResults as SavedResults
    from ._runs.records import Liveness as Liveness
    from ._runs.records import RunRecord as RunRecord
    from ._runs.records import find_run as find_run
    from ._runs.records import find_runs as find_runs
    from ._runs.records import is_alive as is_alive
    from ._runs.records import read_run as read_run
    from ._runs.settings import read_config as read_config
    from ._runs.takeover import continuation_text as continuation_text
    from ._runs.trash import RemovedRun as RemovedRun
    from ._runs.trash import removed_runs as removed_runs

_MODULES = {
    "Curve": "_results.curves",
    "Liveness": "_runs.records",
    "RemovedRun": "_runs.trash",
    "RunRecord": "_runs.records",
    "SavedResults": "_results.values",
    "UNKNOWN": "_results.swept",
    "UsedRun": "_finished.used_runs",
    "change_since": "_finished.used_runs",
    "configuration_differences": "_results.groups",
    "continuation_text": "_runs.takeover",
    "differences_text": "_results.groups",
    "experiment_folder": "_results.curves",
    "find_run": "_runs.records",
    "find_runs": "_runs.records",
    "folders_with_metrics": "_results.curves",
    "is_alive": "_runs.records",
    "metric_names": "_results.curves",
    "metric_outcome": "_results.outcomes",
    "outcome_numbers": "_results.outcomes",
    "read_config": "_runs.settings",
    "read_curves": "_results.curves",
    "read_run": "_runs.records",
    "removed_runs": "_runs.trash",
    "repeated_names": "_results.groups",
    "result_rows": "_results.rows",
    "results": "_results.rows",
    "swept_values": "_results.swept",
    "used_runs": "_finished.used_runs",
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
