"""What other launchers build on; expkit-slurm is one.

`execute_run` executes one run of a grid in this process, `execute_in_processes` several in
processes of their own, `Program` says how another process finds the user's function, and
`finish_grid` writes and shows the results. The rest is what a launcher needs to read grids and to
print in the kit's words.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._cleanup import find_experiment as find_experiment
    from ._command_lines import command_line as command_line
    from ._command_lines import short_path as short_path
    from ._execution import RunOutcome as RunOutcome
    from ._execution import execute_run as execute_run
    from ._finishing import finish_grid as finish_grid
    from ._grid import open_grid as open_grid
    from ._grid import read_grid as read_grid
    from ._grid_run import RunVersion as RunVersion
    from ._grid_run import run_version as run_version
    from ._grid_run import run_versions as run_versions
    from ._hydra_run import run_job as run_job
    from ._hydra_state import current_config as current_config
    from ._output import CONSOLE_LOG as CONSOLE_LOG
    from ._output import ProcessOutput as ProcessOutput
    from ._processes import execute_in_processes as execute_in_processes
    from ._program import Program as Program
    from ._resolvers import register_resolvers as register_resolvers
    from ._schedulers import SchedulerReport as SchedulerReport
    from ._schedulers import SchedulerView as SchedulerView
    from ._screen import console as console
    from ._screen import run_verb as run_verb
    from ._selection import MAX_LINES as MAX_LINES
    from ._settings import grid_settings as grid_settings
    from ._show import SelectedRun as SelectedRun
    from ._show import debugger_command as debugger_command
    from ._show import find_run as find_run
    from ._show import last_lines as last_lines
    from ._sibling_verbs import TrackingSync as TrackingSync
    from ._texts import duration_text as duration_text
    from ._texts import error_line as error_line

_MODULES = {
    "CONSOLE_LOG": "_output",
    "MAX_LINES": "_selection",
    "ProcessOutput": "_output",
    "Program": "_program",
    "RunOutcome": "_execution",
    "RunVersion": "_grid_run",
    "SchedulerReport": "_schedulers",
    "SchedulerView": "_schedulers",
    "SelectedRun": "_show",
    "TrackingSync": "_sibling_verbs",
    "command_line": "_command_lines",
    "console": "_screen",
    "current_config": "_hydra_state",
    "debugger_command": "_show",
    "duration_text": "_texts",
    "error_line": "_texts",
    "execute_in_processes": "_processes",
    "execute_run": "_execution",
    "find_experiment": "_cleanup",
    "find_run": "_show",
    "finish_grid": "_finishing",
    "grid_settings": "_settings",
    "last_lines": "_show",
    "open_grid": "_grid",
    "read_grid": "_grid",
    "register_resolvers": "_resolvers",
    "run_job": "_hydra_run",
    "run_verb": "_screen",
    "run_version": "_grid_run",
    "run_versions": "_grid_run",
    "short_path": "_command_lines",
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
