"""What other launchers build on; expkit-slurm is one.

`execute` runs one run of a grid in this process, `execute_in_processes` several in processes of
their own, `Program` says how another process finds the user's function, `finish_grid` writes and
shows the results. The rest is what a launcher needs to read grids and to sound like the kit.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._after import TrackingSync as TrackingSync
    from ._after import finish_grid as finish_grid
    from ._cleanup import find_experiment as find_experiment
    from ._console import command_line as command_line
    from ._console import console as console
    from ._console import run_verb as run_verb
    from ._console import shown as shown
    from ._grid import Version as Version
    from ._grid import known_versions as known_versions
    from ._grid import open_grid as open_grid
    from ._grid import read_grid as read_grid
    from ._grid import version as version
    from ._hydra_state import current_config as current_config
    from ._job import OUTPUT as OUTPUT
    from ._job import Outcome as Outcome
    from ._job import execute as execute
    from ._processes import ProcessOutput as ProcessOutput
    from ._processes import execute_in_processes as execute_in_processes
    from ._program import Program as Program
    from ._resolvers import register as register
    from ._run_job import run_job as run_job
    from ._schedulers import Told as Told
    from ._schedulers import View as View
    from ._selection import MOST_LINES as MOST_LINES
    from ._settings import settings as settings
    from ._show import Found as Found
    from ._show import debugger_command as debugger_command
    from ._show import find_run as find_run
    from ._show import last_lines as last_lines
    from ._table import duration as duration
    from ._table import error_line as error_line

_MODULES = {
    "Found": "_show",
    "MOST_LINES": "_selection",
    "OUTPUT": "_job",
    "Outcome": "_job",
    "ProcessOutput": "_processes",
    "Program": "_program",
    "Told": "_schedulers",
    "TrackingSync": "_after",
    "Version": "_grid",
    "View": "_schedulers",
    "command_line": "_console",
    "console": "_console",
    "current_config": "_hydra_state",
    "debugger_command": "_show",
    "duration": "_table",
    "error_line": "_table",
    "execute": "_job",
    "execute_in_processes": "_processes",
    "find_experiment": "_cleanup",
    "find_run": "_show",
    "finish_grid": "_after",
    "known_versions": "_grid",
    "last_lines": "_show",
    "open_grid": "_grid",
    "read_grid": "_grid",
    "register": "_resolvers",
    "run_job": "_run_job",
    "run_verb": "_console",
    "settings": "_settings",
    "shown": "_console",
    "version": "_grid",
}
__all__ = [
    "MOST_LINES",
    "OUTPUT",
    "Found",
    "Outcome",
    "ProcessOutput",
    "Program",
    "Told",
    "TrackingSync",
    "Version",
    "View",
    "command_line",
    "console",
    "current_config",
    "debugger_command",
    "duration",
    "error_line",
    "execute",
    "execute_in_processes",
    "find_experiment",
    "find_run",
    "finish_grid",
    "known_versions",
    "last_lines",
    "open_grid",
    "read_grid",
    "register",
    "run_job",
    "run_verb",
    "settings",
    "shown",
    "version",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_MODULES[name]}", __package__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
