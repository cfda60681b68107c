"""One run of several processes: rank 0 records it, the others take part and write nothing.

Lightning's own launcher starts the script's whole command once more for each further rank. Such a
process composes, or sweeps, like the first one, and has to find out which run is its own: rank 0
says so in its environment.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._composing.internals import content_of, set_content, set_parent
from .._composing.run_location import writable
from .._grid.contents import has_tree
from .hydra_run import job_config, run_job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

    from .._grid.grid import Grid
    from .._grid.run import GridRun

RUN = "EXPKIT_RUN"
GRID = "EXPKIT_GRID"
# What launchers set in the process of rank 0, too.
_MEETING = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK"),
    *("MASTER_ADDR", "MASTER_PORT"),
)


@contextmanager
def announced(
    config: DictConfig, *, grid: Path | None = None, run_name: str | None = None
) -> Iterator[None]:
    """Tell the processes that this one starts which run is theirs, for the length of a block.

    Args:
        config: The run's configuration.
        grid: Folder of the run's grid; None for a single run.
        run_name: The run's name; None takes the configuration's.
    """
    from hydra.core.utils import env_override

    folder = None if grid is None else str(grid.absolute())
    facts = {
        "command": _command(),
        "grid": folder,
        "run_name": str(config.run_name) if run_name is None else run_name,
        "experiment_id": str(config.experiment_id) if has_tree(config) else None,
        "job_name": str(config.hydra.job.name),
    }
    variables = {RUN: json.dumps(facts)}
    if folder is not None and has_tree(config):  # else nothing follows, and loggers send themselves
        variables[GRID] = folder
    with env_override(variables):
        yield


def announced_run(environ: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """The run of the rank 0 that has started this process by its own command; None without one.

    Args:
        environ: Environment variables; None: this process's.
    """
    environ = os.environ if environ is None else environ
    try:
        facts: dict[str, Any] = json.loads(environ.get(RUN, ""))
        command = facts["command"]
    except (ValueError, KeyError, TypeError):
        return None
    # Another program that the run has started inherits the variable as well.
    return facts if _command()[: len(command)] == command else None


def settle_as_rank_0(config: DictConfig) -> None:
    """Give this process's configuration of a single run the content that rank 0's has.

    Lightning gives each process a `hydra.job.name` of its own, which is the experiment's default
    name. And the command of a task on a cluster has no overrides: its configuration is a grid's.
    """
    facts = announced_run()
    if facts is None:
        return
    run_dir = None
    if facts["grid"] is not None:
        grid, run = _announced_grid_run(facts)
        run_dir = str(run.folder)
        content = content_of(job_config(grid, run))
        set_content(config, content)
        for node in content.values():
            set_parent(node, config)
    with writable(config):
        if run_dir is not None:
            config.hydra.run.dir = run_dir
        config.hydra.job.name = facts["job_name"]
        config.experiment_id, config.run_name = facts["experiment_id"], facts["run_name"]


def write_nothing(config: DictConfig) -> None:
    """Let Hydra write no file for a job: that is for rank 0."""
    from omegaconf import OmegaConf, open_dict, read_write

    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.output_subdir = None
        handlers = OmegaConf.select(config, "hydra.job_logging.handlers") or {}
        for name, handler in handlers.items():
            if "filename" in handler:
                # Of a class that Hydra 1.4 trusts whatever else the app does.
                handlers[name] = {"class": "logging.FileHandler", "filename": os.devnull}


def take_part(
    grid: Grid, run: GridRun, *, task_function: TaskFunction, hydra_context: HydraContext
) -> JobReturn:
    """Run the user's function as another rank of a grid's run, which rank 0 has claimed.

    Returns:
        Hydra's result; reading its value raises what the function raised.
    """
    from .._composing.global_state import current_config
    from .._grid.secrets import remember_secrets_of

    config = job_config(grid, run)
    with current_config(config):
        remember_secrets_of(config, run.overrides)
    write_nothing(config)
    return run_job(config, task_function=task_function, hydra_context=hydra_context)


def join_announced(
    facts: Mapping[str, Any], *, task_function: TaskFunction, hydra_context: HydraContext
) -> JobReturn:
    """As `take_part`, in the run of a grid that rank 0 has announced to this process."""
    grid, run = _announced_grid_run(facts)
    return take_part(grid, run, task_function=task_function, hydra_context=hydra_context)


@contextmanager
def ranks_of_one_run() -> Iterator[None]:
    """Let the next run of this process meet ranks of its own, not those of the run in the block."""
    from expkit_bookkeeping.launching import joined_group

    before = {name: os.environ.get(name) for name in _MEETING}
    had_joined = joined_group() is not None
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        group = joined_group()
        if group is not None and not had_joined:
            group.destroy_process_group()


def _command() -> list[str]:
    # Lightning starts the script by its whole path.
    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def _announced_grid_run(facts: Mapping[str, Any]) -> tuple[Grid, GridRun]:
    from .._grid.grid import open_grid

    grid = open_grid(Path(facts["grid"]))
    return grid, next(run for run in grid.runs if run.run_name == facts["run_name"])
