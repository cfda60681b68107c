"""The folder of a training run: claims, state, logs, metrics, checkpoints and results.

Training code uses `Bookkeeping`; notebooks use `Run`, `results` and the other functions here.
What launchers build on is in `expkit_bookkeeping.launching`.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._bookkeeping import Bookkeeping as Bookkeeping
    from ._checkpoints.files import CheckpointFile as CheckpointFile
    from ._checkpoints.files import find_checkpoints as find_checkpoints
    from ._provenance.hashes import config_hash as config_hash
    from ._recording.protocols import Sink as Sink
    from ._recording.ranks import process_rank as process_rank
    from ._results.rows import load_metrics as load_metrics
    from ._results.rows import result_rows as result_rows
    from ._results.rows import results as results
    from ._results.rows import write_results_csv as write_results_csv
    from ._run import Run as Run
    from ._runs.records import RunRecord as RunRecord
    from ._runs.records import find_runs as find_runs
    from ._runs.records import read_run as read_run
    from ._runs.refusals import ClaimLost as ClaimLost
    from ._runs.refusals import RunClaimed as RunClaimed
    from ._runs.settings import RunSettings as RunSettings

_MODULES = {
    "Bookkeeping": "_bookkeeping",
    "CheckpointFile": "_checkpoints.files",
    "ClaimLost": "_runs.refusals",
    "Run": "_run",
    "RunClaimed": "_runs.refusals",
    "RunRecord": "_runs.records",
    "RunSettings": "_runs.settings",
    "Sink": "_recording.protocols",
    "config_hash": "_provenance.hashes",
    "find_checkpoints": "_checkpoints.files",
    "find_runs": "_runs.records",
    "load_metrics": "_results.rows",
    "process_rank": "_recording.ranks",
    "read_run": "_runs.records",
    "result_rows": "_results.rows",
    "results": "_results.rows",
    "write_results_csv": "_results.rows",
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
