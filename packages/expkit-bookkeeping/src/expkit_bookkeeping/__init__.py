"""The folder of a training run: claims, state, logs, metrics, checkpoints and results.

Training code uses `Bookkeeping`. The functions `claim_run`, `find_runs`, `results` and the others
here work on a folder, for launchers, filters and notebooks.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._bookkeeping import Bookkeeping as Bookkeeping
    from ._checkpoints.files import CheckpointFile as CheckpointFile
    from ._checkpoints.files import find_checkpoints as find_checkpoints
    from ._files.durable import write_file as write_file
    from ._recording.metrics import cut_metrics as cut_metrics
    from ._recording.protocols import Sink as Sink
    from ._recording.ranks import process_rank as process_rank
    from ._recording.signals import request_stop as request_stop
    from ._recording.signals import stop_requested as stop_requested
    from ._recording.signals import stop_signals as stop_signals
    from ._results.rows import load_metrics as load_metrics
    from ._results.rows import result_rows as result_rows
    from ._results.rows import results as results
    from ._results.rows import write_results_csv as write_results_csv
    from ._runs.claims import Claim as Claim
    from ._runs.claims import ClaimLost as ClaimLost
    from ._runs.claims import RunClaimed as RunClaimed
    from ._runs.claims import claim_run as claim_run
    from ._runs.code import code_changes as code_changes
    from ._runs.code import code_facts as code_facts
    from ._runs.folder_ownership import foreign_reason as foreign_reason
    from ._runs.hashes import config_hash as config_hash
    from ._runs.records import Liveness as Liveness
    from ._runs.records import RunRecord as RunRecord
    from ._runs.records import find_runs as find_runs
    from ._runs.records import is_alive as is_alive
    from ._runs.records import read_run as read_run
    from ._runs.settings import RunSettings as RunSettings
    from ._runs.trash import move_to_trash as move_to_trash

_MODULES = {
    "Bookkeeping": "_bookkeeping",
    "CheckpointFile": "_checkpoints.files",
    "Claim": "_runs.claims",
    "ClaimLost": "_runs.claims",
    "Liveness": "_runs.records",
    "RunClaimed": "_runs.claims",
    "RunRecord": "_runs.records",
    "RunSettings": "_runs.settings",
    "Sink": "_recording.protocols",
    "claim_run": "_runs.claims",
    "code_changes": "_runs.code",
    "code_facts": "_runs.code",
    "config_hash": "_runs.hashes",
    "cut_metrics": "_recording.metrics",
    "find_checkpoints": "_checkpoints.files",
    "find_runs": "_runs.records",
    "foreign_reason": "_runs.folder_ownership",
    "is_alive": "_runs.records",
    "load_metrics": "_results.rows",
    "move_to_trash": "_runs.trash",
    "process_rank": "_recording.ranks",
    "read_run": "_runs.records",
    "request_stop": "_recording.signals",
    "result_rows": "_results.rows",
    "results": "_results.rows",
    "stop_requested": "_recording.signals",
    "stop_signals": "_recording.signals",
    "write_file": "_files.durable",
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
