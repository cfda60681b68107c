"""The folder of a training run: claims, state, logs, metrics, checkpoints and results.

Training code uses `Bookkeeping`. The functions `claim_run`, `find_runs`, `results` and the others
here work on a folder, for launchers, filters and notebooks.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._bookkeeping import Bookkeeping as Bookkeeping
    from ._checkpoint_files import CheckpointFile as CheckpointFile
    from ._checkpoint_files import find_checkpoints as find_checkpoints
    from ._claims import Claim as Claim
    from ._claims import ClaimLost as ClaimLost
    from ._claims import RunClaimed as RunClaimed
    from ._claims import claim_run as claim_run
    from ._code import code_changes as code_changes
    from ._code import code_facts as code_facts
    from ._files import write_file as write_file
    from ._hashes import config_hash as config_hash
    from ._metrics import cut_metrics as cut_metrics
    from ._ownership import foreign_reason as foreign_reason
    from ._protocols import Sink as Sink
    from ._ranks import process_rank as process_rank
    from ._records import Liveness as Liveness
    from ._records import RunRecord as RunRecord
    from ._records import find_runs as find_runs
    from ._records import is_alive as is_alive
    from ._records import read_run as read_run
    from ._results import load_metrics as load_metrics
    from ._results import result_rows as result_rows
    from ._results import results as results
    from ._results import write_results_csv as write_results_csv
    from ._settings import RunSettings as RunSettings
    from ._signals import request_stop as request_stop
    from ._signals import stop_requested as stop_requested
    from ._signals import stop_signals as stop_signals
    from ._trash import move_to_trash as move_to_trash

_MODULES = {
    "Bookkeeping": "_bookkeeping",
    "CheckpointFile": "_checkpoint_files",
    "Claim": "_claims",
    "ClaimLost": "_claims",
    "Liveness": "_records",
    "RunClaimed": "_claims",
    "RunRecord": "_records",
    "RunSettings": "_settings",
    "Sink": "_protocols",
    "claim_run": "_claims",
    "code_changes": "_code",
    "code_facts": "_code",
    "config_hash": "_hashes",
    "cut_metrics": "_metrics",
    "find_checkpoints": "_checkpoint_files",
    "find_runs": "_records",
    "foreign_reason": "_ownership",
    "is_alive": "_records",
    "load_metrics": "_results",
    "move_to_trash": "_trash",
    "process_rank": "_ranks",
    "read_run": "_records",
    "request_stop": "_signals",
    "result_rows": "_results",
    "results": "_results",
    "stop_requested": "_signals",
    "stop_signals": "_signals",
    "write_file": "_files",
    "write_results_csv": "_results",
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
