"""A run as Hydra runs a job, without its copies.

`hydra.core.utils.run_job` copies the configuration four times and writes three files with YAML's
slow writer, which takes most of the time of a trivial run. A run's configuration is made for this
run alone, so none of the copies is needed. What a job is given, finds and leaves is the same;
tests compare the two. For any other version of Hydra than the one that was read, Hydra's own
function is called.
"""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from expkit_bookkeeping.launching import make_folder, without_known_secrets, write_file

from .._composing.internals import (
    changes_directory_by_default,
    content_of,
    flush_loggers,
    is_read_version,
    parse_reference,
    set_content,
)
from .._composing.run_location import listed_overrides, settle_job
from .._grid.secrets import patterns_of, secret_nodes
from .yaml_text import as_written, hydra_yaml, public_files, to_yaml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

    from .._grid.grid import Grid
    from .._grid.run import GridRun


def job_config(grid: Grid, run: GridRun) -> DictConfig:
    """The configuration of a run with what Hydra fills in before it starts a job.

    Raises:
        LookupError: As `Grid.config`, which also raises OSError and ValueError.
    """
    from omegaconf.errors import OmegaConfBaseException

    from .._composing.global_state import current_config

    config = grid.config(run.index)
    settle_job(config, run.index if run.job is None else run.job.number)
    with suppress(OmegaConfBaseException), current_config(config):  # the run itself will say it
        note_output_dir(config, output_dir(config))
    return config


def run_job(
    config: DictConfig,
    *,
    task_function: TaskFunction,
    hydra_context: HydraContext,
    around: AbstractContextManager[None] | None = None,
    check: Callable[[], None] | None = None,
) -> JobReturn:
    """Run one run of a sweep: what Hydra's function of this name does with a job.

    Args:
        config: The run's configuration, which belongs to the run from now on.
        task_function: The user's function.
        hydra_context: As Hydra gives it to launchers.
        around: A context for the user's part; None: no context.
        check: Raises if the run's folder is no longer this process's; asked before each of Hydra's
            files is put there, where that is in our hands.
    """
    from hydra.core import utils

    if is_read_version():
        return _run(config, task_function, hydra_context, around or nullcontext(), check)
    hide_hydra_files(config)

    @functools.wraps(task_function)
    def run_task(task_config: DictConfig) -> object:
        hide_secrets(config, is_written=False)  # where no callback of ours has done so
        return task_function(task_config)

    with around or nullcontext():
        return utils.run_job(
            hydra_context=hydra_context,
            task_function=run_task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )


def _run(
    config: DictConfig,
    task_function: TaskFunction,
    hydra_context: HydraContext,
    around: AbstractContextManager[None],
    check: Callable[[], None] | None,
) -> JobReturn:
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.utils import (
        JobReturn,
        JobRuntime,
        JobStatus,
        configure_log,
        env_override,
    )
    from omegaconf import OmegaConf

    old_cwd = Path.cwd()
    state = HydraConfig.instance()
    before = state.cfg
    chdir = False
    try:
        hidden = _only_hydra(config)
        state.cfg = hidden  # type: ignore[assignment]
        folder = output_dir(config)
        note_output_dir(config, folder)
        OmegaConf.set_readonly(config.hydra, True)

        result = JobReturn()
        result.cfg = task_config = _without_hydra(config)
        result.hydra_cfg = hidden
        result.overrides = OmegaConf.to_container(config.hydra.overrides.task)  # type: ignore[assignment]
        make_folder(Path(folder), check)
        chdir = bool(config.hydra.job.chdir)
        if chdir:
            os.chdir(folder)
        result.working_dir = folder if chdir else str(old_cwd)
        configure_log(config.hydra.job_logging, config.hydra.verbose)
        if config.hydra.output_subdir is not None:
            hydra_folder = Path(config.hydra.runtime.output_dir, config.hydra.output_subdir)
            if secret_nodes(config, patterns_of(config)):
                texts = public_files(config)
            else:
                texts = {
                    "config.yaml": to_yaml(task_config),
                    "hydra.yaml": hydra_yaml(hidden),
                    "overrides.yaml": to_yaml(config.hydra.overrides.task),
                }
            write_hydra_files(texts, hydra_folder, check)
        with env_override(config.hydra.job.env_set), around:
            hydra_context.callbacks.on_job_start(config=config, task_function=task_function)
            try:
                result.return_value = task_function(task_config)
                result.status = JobStatus.COMPLETED
            except Exception as error:
                result.return_value = error
                result.status = JobStatus.FAILED
        result.task_name = JobRuntime.instance().get("name")
        flush_loggers()
        hydra_context.callbacks.on_job_end(config=config, job_return=result)
        return result
    finally:
        state.cfg = before
        if chdir:
            os.chdir(old_cwd)


def output_dir(config: DictConfig) -> str:
    """Where Hydra runs a job of a sweep, by its configuration as it is within the job."""
    from omegaconf import OmegaConf

    return os.path.join(  # noqa: PTH118 - as Hydra: an absolute subdir wins
        str(OmegaConf.select(config, "hydra.sweep.dir")),
        str(OmegaConf.select(config, "hydra.sweep.subdir")),
    )


def note_output_dir(config: DictConfig, folder: str) -> None:
    """Write into a run's configuration where it runs, as Hydra does when the job starts."""
    from omegaconf import open_dict, read_write

    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = os.path.abspath(folder)  # noqa: PTH100


def described_return(config: DictConfig) -> JobReturn:
    """What `run_job` returns about a job with this configuration, but for how it went.

    Args:
        config: Belongs to the result from now on.
    """
    from hydra.core.utils import JobReturn
    from omegaconf import OmegaConf

    from .._composing.global_state import current_config

    result = JobReturn(
        overrides=list(listed_overrides(config.hydra)), task_name=config.hydra.job.name
    )
    with current_config(config):
        folder = output_dir(config)
        chdir = config.hydra.job.chdir
        if chdir is None:
            chdir = changes_directory_by_default()
        result.working_dir = folder if chdir else str(config.hydra.runtime.cwd)
    note_output_dir(config, folder)
    OmegaConf.set_readonly(config.hydra, True)
    result.cfg, result.hydra_cfg = _without_hydra(config), _only_hydra(config)
    return result


def write_hydra_files(
    texts: Mapping[str, str], folder: Path, check: Callable[[], None] | None = None
) -> None:
    """Write a run's `.hydra`: texts by the files' names."""
    make_folder(folder, check)
    for name, text in texts.items():
        # Without waiting for the disk, as Hydra writes them.
        write_file(folder / name, text, check=check, durable=False, sync_parent=False)


def hide_hydra_files(config: DictConfig) -> None:
    """Let Hydra's `run_job` write no files for a run with secrets; `hide_secrets` does."""
    from omegaconf import read_write

    subdir = config.hydra.output_subdir
    if subdir is None or not secret_nodes(config, patterns_of(config)):
        return
    with read_write(config.hydra):
        config.hydra.output_subdir = None
    _hidden_subdirs[id(config)] = subdir


def hide_secrets(config: DictConfig, *, is_written: bool) -> None:
    """Let a run's `.hydra` show no secrets.

    Args:
        config: The run's configuration.
        is_written: Whether Hydra has written it, if it was not kept from that.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import read_write

    subdir = _hidden_subdirs.pop(id(config), None)
    if subdir is not None:
        nodes: list[Any] = [config.hydra, HydraConfig.get()]
        for node in nodes:
            with read_write(node):
                node.output_subdir = subdir
    elif (
        not is_written
        or config.hydra.output_subdir is None
        or not secret_nodes(config, patterns_of(config))
    ):
        return
    else:
        subdir = config.hydra.output_subdir
    folder = Path(str(config.hydra.runtime.output_dir), str(subdir))
    write_hydra_files(public_files(config), folder)


def hide_in_multirun(config: DictConfig) -> None:
    """Let the multirun.yaml that a sweeper of Hydra's has written show no secrets."""
    path = Path(str(config.hydra.sweep.dir), "multirun.yaml")
    with suppress(OSError, UnicodeError):
        text = path.read_text(encoding="utf-8")
        public = without_known_secrets(text)
        if public != text:
            path.write_text(public, encoding="utf-8")


_hidden_subdirs: dict[int, str] = {}  # by the configuration, which the callbacks all get


def _only_hydra(config: DictConfig) -> DictConfig:
    """What `HydraConfig` holds: Hydra's node, whose references still reach the user's keys."""
    from omegaconf import DictConfig

    hidden = DictConfig({})
    content_of(hidden)["hydra"] = content_of(config)["hydra"]
    return hidden


def _without_hydra(config: DictConfig) -> DictConfig:
    """A copy for the user's function, which may change it."""
    content = content_of(config)
    set_content(config, {key: node for key, node in content.items() if key != "hydra"})
    try:
        return copy.deepcopy(config)
    finally:
        set_content(config, content)


def prepare(config: DictConfig) -> None:
    """Fill the caches of what a run does with its configuration, for the forks of this process."""
    hydra_yaml(_only_hydra(config))
    waiting: list[object] = [as_written(config)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
        elif isinstance(value, str) and "${" in value:
            parse_reference(value)
