"""What other launchers build on; expkit-slurm is one. Names here may change between minor versions.

`execute_run` executes one run of a grid in this process, `execute_in_processes` several in
processes of their own. `Program` is what another process needs in order to call the user's
function; `program_to_start` finds it and tries it out. `finish_grid` writes and shows the results.
The rest is what a launcher needs to read grids and to print in the kit's words.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._after.finishing import finish_grid as finish_grid
    from ._after.sibling_verbs import SiblingVerbs as SiblingVerbs
    from ._composing.global_state import current_config as current_config
    from ._composing.internals import raw_return_value as raw_return_value
    from ._composing.internals import resolvers as resolvers
    from ._composing.internals import set_version_base as set_version_base
    from ._composing.internals import version_base as version_base
    from ._console.command_lines import command_line as command_line
    from ._console.command_lines import short_path as short_path
    from ._console.preview import MAX_LINES as MAX_LINES
    from ._console.screen import answered as answered
    from ._console.screen import console as console
    from ._console.screen import run_verb as run_verb
    from ._console.screen import say as say
    from ._console.screen import say_output as say_output
    from ._console.texts import duration_text as duration_text
    from ._console.texts import error_line as error_line
    from ._drafting.override_lists import ListSweep as ListSweep
    from ._grid.grid import open_grid as open_grid
    from ._grid.grid import read_grid as read_grid
    from ._grid.resolvers import register_resolvers as register_resolvers
    from ._grid.run import RunVersion as RunVersion
    from ._grid.run import run_version as run_version
    from ._grid.run import run_versions as run_versions
    from ._grid.schedulers import SchedulerReport as SchedulerReport
    from ._grid.schedulers import SchedulerView as SchedulerView
    from ._grid.settings import grid_settings as grid_settings
    from ._launcher import write_batch as write_batch
    from ._launcher_options import without_others_options as without_others_options
    from ._program.interpreters import program_to_start as program_to_start
    from ._program.program import Program as Program
    from ._program.program import Task as Task
    from ._running.execution import RunOutcome as RunOutcome
    from ._running.execution import execute_run as execute_run
    from ._running.hydra_run import run_job as run_job
    from ._running.job_returns import job_return as job_return
    from ._running.late_loader import hydra_context as hydra_context
    from ._running.lifetime import as_exception as as_exception
    from ._running.lifetime import asks_for_the_end as asks_for_the_end
    from ._running.lifetime import checkpoint_versions as checkpoint_versions
    from ._running.output import CONSOLE_LOG as CONSOLE_LOG
    from ._running.output import ProcessOutput as ProcessOutput
    from ._running.processes import execute_in_processes as execute_in_processes
    from ._running.processes import thread_limits as thread_limits
    from ._running.ranks import take_part as take_part
    from ._verbs.experiments import find_experiment as find_experiment
    from ._verbs.run_details import SelectedRun as SelectedRun
    from ._verbs.run_details import debugger_command as debugger_command
    from ._verbs.run_details import find_run as find_run
    from ._verbs.run_details import last_lines as last_lines

_MODULES = {
    "CONSOLE_LOG": "_running.output",
    "ListSweep": "_drafting.override_lists",
    "MAX_LINES": "_console.preview",
    "ProcessOutput": "_running.output",
    "Program": "_program.program",
    "RunOutcome": "_running.execution",
    "RunVersion": "_grid.run",
    "SchedulerReport": "_grid.schedulers",
    "SchedulerView": "_grid.schedulers",
    "SelectedRun": "_verbs.run_details",
    "SiblingVerbs": "_after.sibling_verbs",
    "Task": "_program.program",
    "answered": "_console.screen",
    "as_exception": "_running.lifetime",
    "asks_for_the_end": "_running.lifetime",
    "checkpoint_versions": "_running.lifetime",
    "command_line": "_console.command_lines",
    "console": "_console.screen",
    "current_config": "_composing.global_state",
    "debugger_command": "_verbs.run_details",
    "duration_text": "_console.texts",
    "error_line": "_console.texts",
    "execute_in_processes": "_running.processes",
    "execute_run": "_running.execution",
    "find_experiment": "_verbs.experiments",
    "find_run": "_verbs.run_details",
    "finish_grid": "_after.finishing",
    "grid_settings": "_grid.settings",
    "hydra_context": "_running.late_loader",
    "job_return": "_running.job_returns",
    "last_lines": "_verbs.run_details",
    "open_grid": "_grid.grid",
    "program_to_start": "_program.interpreters",
    "raw_return_value": "_composing.internals",
    "read_grid": "_grid.grid",
    "register_resolvers": "_grid.resolvers",
    "resolvers": "_composing.internals",
    "run_job": "_running.hydra_run",
    "run_verb": "_console.screen",
    "run_version": "_grid.run",
    "run_versions": "_grid.run",
    "say": "_console.screen",
    "say_output": "_console.screen",
    "set_version_base": "_composing.internals",
    "short_path": "_console.command_lines",
    "take_part": "_running.ranks",
    "thread_limits": "_running.processes",
    "version_base": "_composing.internals",
    "without_others_options": "_launcher_options",
    "write_batch": "_launcher",
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
