"""The callback `expkit`: single runs, and runs under launchers that know nothing of a `Grid`.

Hydra turns exceptions of callbacks into warnings, so an exception cannot stop a run; SystemExit
passes through (Hydra's `Callbacks._notify` catches Exception). A single run that must not start
is stopped that way. Under a foreign launcher this would end all runs of the process, so there the
callback warns, and `Bookkeeping` refuses the run that somebody else holds.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from hydra.experimental.callback import Callback

from ._composing.errors import GridError, one_sentence, refuse_unresolvable
from ._composing.internals import JobWatcher, watch_jobs
from ._composing.run_location import writable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import TaskFunction
    from omegaconf import DictConfig

    from expkit_bookkeeping import RunRecord
    from expkit_bookkeeping.launching import Claim

    from ._grid.settings import GridSettings

log = logging.getLogger(__name__)


class RunCallback(Callback, JobWatcher):
    """Gives every run that our launchers do not start a claim, a state and a hash.

    A single run (no `-m`) is never skipped: a finished run of the same name moves to the trash,
    an unfinished one resumes, and `expkit.fresh=true` starts over. Under another launcher the
    callback compares the configuration with the grid's, claims the run and records its end.
    """

    def __init__(self) -> None:
        self._claim: Claim | None = None
        self._single: Claim | None = None  # of a single run, until its end has been reported
        self._config: DictConfig | None = None  # of a foreign launcher's run
        self._while_running = ExitStack()
        self._pid = os.getpid()
        watch_jobs(self, _forget_location)  # of an error that passes by on_job_end, none is told

    def __reduce__(self) -> tuple[type[RunCallback], tuple[()]]:
        # Launchers that run jobs elsewhere pickle callbacks, and a claim belongs to its process.
        return type(self), ()

    def on_run_start(self, config: DictConfig, **kwargs: object) -> None:
        """Prepare the folder of a single run and claim it, before Hydra writes into it.

        Raises:
            SystemExit: If another process holds the run, or if its folder holds an unfinished run
                with another configuration.
        """
        from hydra.core.global_hydra import GlobalHydra

        from expkit_bookkeeping import ClaimLost, RunClaimed, process_rank
        from expkit_bookkeeping.launching import literal_secrets, secret_warning, stop_signals

        from ._composing.config_files import warn_about_order
        from ._composing.global_state import current_config
        from ._composing.run_location import listed_overrides
        from ._drafting.experiment import check_experiment
        from ._grid.identity import write_config
        from ._grid.names import settle_name
        from ._grid.secrets import patterns_of, remember_secrets_of
        from ._grid.settings import grid_settings
        from ._program.program import name_job
        from ._running.hydra_run import hide_hydra_files, note_output_dir
        from ._running.lifetime import heartbeat
        from ._running.ranks import announced, settle_as_rank_0, write_nothing
        from ._running.yaml_text import without_hydra

        name_job(config)
        is_rank_0 = process_rank() == 0  # which claims the run and speaks for all processes of it
        if is_rank_0:
            warn_about_order(GlobalHydra.instance().config_loader(), config.hydra.job.config_name)
        else:
            settle_as_rank_0(config)
            write_nothing(config)
        # Exceptions would become warnings here, and the run would start nevertheless.
        try:
            with one_sentence():
                settings = grid_settings(config)
                name = settle_name(config)
                with current_config(config):  # the default is the script's name, from Hydra's node
                    check_experiment(str(config.results_dir), str(config.experiment_id))
                    place = _settle_folder(config)
                    note_output_dir(config, str(config.hydra.run.dir))
        except ValueError as error:
            raise SystemExit(str(error) if is_rank_0 else 1) from None
        if config.expkit.get("dry_run"):
            if is_rank_0:
                _say(f"One run, {config.run_name}. expkit.dry_run=true: nothing is started.")
            raise SystemExit(0)
        with current_config(config):
            remember_secrets_of(config, listed_overrides(config.hydra))
        if not is_rank_0:
            return
        if place is not None:
            _say(place)
        hide_hydra_files(config)
        for line in literal_secrets(without_hydra(config), patterns_of(config)):
            _say(secret_warning(line))
        try:
            with one_sentence():
                self._claim = _prepare_single_run(config, settings)
            write_config(config, self._claim)
        except (ClaimLost, RunClaimed, ValueError) as error:
            raise SystemExit(str(error)) from None
        except OSError as error:
            if self._claim is not None:
                self._record_end(error)
            raise SystemExit(f"Run {name} cannot start, its folder refuses: {error}") from None
        self._single = self._claim
        self._while_running.enter_context(heartbeat(self._claim))
        self._while_running.enter_context(announced(config))
        # As the launchers do: SIGTERM ends the function, and is recorded.
        self._while_running.enter_context(stop_signals())
        # A traceback is printed after on_job_end.
        atexit.register(self._at_exit)

    def on_job_start(
        self, config: DictConfig, *, task_function: TaskFunction, **kwargs: object
    ) -> None:
        """Claim a run that a foreign launcher has started."""
        from expkit_bookkeeping import process_rank

        from ._composing.global_state import current_config
        from ._composing.run_location import listed_overrides
        from ._grid.identity import write_config
        from ._grid.secrets import remember_secrets_of
        from ._running.execution import is_executing
        from ._running.hydra_run import hide_in_multirun, hide_secrets
        from ._running.lifetime import heartbeat
        from ._running.output import log_errors_once

        log_errors_once()
        folder = Path(config.hydra.runtime.output_dir)
        if process_rank() == 0:
            hide_secrets(config, is_written=not is_executing(folder))
        if self._claim is not None or is_executing(folder) or process_rank() != 0:
            return
        with current_config(config):
            remember_secrets_of(config, listed_overrides(config.hydra))
            hide_in_multirun(config)
        self._claim = _claim_foreign_run(config, folder)
        if self._claim is not None:
            self._config = config
            self._while_running.enter_context(heartbeat(self._claim))
            write_config(config, self._claim)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: object) -> None:
        """Record the end of a run, unless its own Bookkeeping has done so."""
        from hydra.core.utils import JobStatus

        from expkit_bookkeeping.launching import without_known_secrets

        from ._composing.internals import raw_return_value
        from ._running.job_returns import fill_objective
        from ._running.output import PublicStream

        returned = raw_return_value(job_return)  # before it is filled with the best metric
        failed = job_return.status == JobStatus.FAILED
        if not failed or isinstance(returned, Exception):
            self._config = None  # else Hydra 1.4 raises it again, see `job_escaped`
        if failed and self._single is not None:  # what Hydra prints now, and Python after it
            overrides = job_return.overrides or ()
            job_return.overrides = [without_known_secrets(text) for text in overrides]
            sys.stderr = PublicStream(sys.stderr)
        problem = self._record_end(returned) if failed else self._record_end(None, returned)
        if problem is not None and not failed:
            # The run would count as lost, though the exit code says that all is well.
            job_return.status = JobStatus.FAILED
            job_return.return_value = GridError(problem)
        fill_objective(config, job_return)

    def job_escaped(self, error: BaseException) -> JobReturn | None:
        """Record the end of a run of which Hydra tells no callback; see `watch_jobs`.

        Under a foreign launcher the run has failed, and the launcher goes on with the others.
        """
        from hydra.core.utils import JobReturn, JobStatus

        from expkit_bookkeeping.launching import exit_code

        from ._composing.run_location import listed_overrides
        from ._running.lifetime import as_exception, asks_for_the_end

        config, self._config = self._config, None
        self._record_end(error)
        if config is None or asks_for_the_end(error):
            return None
        overrides = list(listed_overrides(config.hydra))
        result = JobReturn(overrides=overrides, cfg=config, status=JobStatus.COMPLETED)
        if exit_code(error) != 0:
            result.status = JobStatus.FAILED
            result.return_value = as_exception(error)
        return result

    def on_run_end(self, config: DictConfig, **kwargs: object) -> None:
        """Say where a single run is; if it failed, below its traceback."""
        from hydra.core.utils import JobReturn, JobStatus

        result = kwargs.get("job_return")
        if isinstance(result, JobReturn) and result.status == JobStatus.COMPLETED:
            self._say_how_it_ended()

    def on_multirun_start(self, config: DictConfig, **kwargs: object) -> None:
        """Name the sweep for the user's function, and let other ranks than 0 sweep nothing.

        They take part in a run of rank 0's sweep.

        Raises:
            SystemExit: If what Hydra makes a sweep of cannot be resolved, or if this process is no
                rank of such a run.
        """
        from expkit_bookkeeping import process_rank

        from ._composing.global_state import current_config
        from ._program.program import name_job
        from ._running.ranks import announced_run

        rank = process_rank()
        try:
            with one_sentence(), current_config(config):
                refuse_unresolvable(config, ("hydra.job.name", "hydra.sweeper", "hydra.launcher"))
        except GridError as error:
            raise SystemExit(str(error) if rank == 0 else 1) from None
        name_job(config)
        if rank == 0:
            return
        if announced_run() is None:
            raise SystemExit(
                f"A grid is launched by one process, and this one has rank {rank} of a distributed "
                "run. Start single runs under torchrun or srun, or the grid without it."
            )
        with writable(config):  # whose sweeper knows what to do
            config.hydra.sweeper = {"_target_": "hydra_plugins.expkit_sweeper.ExpkitSweeper"}

    def on_multirun_end(self, config: DictConfig, **kwargs: object) -> None:
        """After another sweeper than ours: results.csv, figures and the table."""
        from ._after.finishing import finish_grid
        from ._composing.global_state import current_config
        from ._grid.secrets import tracking_uri_handed_on
        from ._running.hydra_run import hide_in_multirun

        if "expkit" in str(config.hydra.sweeper.get("_target_")):
            return  # ours has done it, and knows the grid
        with current_config(config):
            experiment = Path(str(config.results_dir), str(config.experiment_id)).absolute()
            sweep_dir = Path(str(config.hydra.sweep.dir)).absolute()
            hide_in_multirun(config)
            records_in_tree = "expkit" in str(config.hydra.launcher.get("_target_"))
        # Under a launcher of others the records are where Hydra runs: of these there is no table.
        if not records_in_tree and not sweep_dir.is_relative_to(experiment):
            return
        with current_config(config), tracking_uri_handed_on(config):
            finish_grid(None, config=config, experiment=experiment)

    def _at_exit(self) -> None:
        # Only if the process ends before Hydra has got to the function: by another callback.
        unhandled = getattr(sys, "last_value", None)
        if unhandled is None:  # asked so, as an exception of the user's may raise when it is judged
            unhandled = RuntimeError("The process ended before the run did.")
        self._record_end(unhandled)
        self._say_how_it_ended()

    def _say_how_it_ended(self) -> None:
        from expkit_bookkeeping import read_run

        claim, self._single = self._single, None
        if claim is None or os.getpid() != self._pid:
            return
        record = read_run(claim.folder)
        if record is not None and record.attempt == claim.attempt:
            text = _ending(record, sys.argv)
            if text is not None:
                _say(text)

    def _record_end(self, error: BaseException | None, returned: object = None) -> str | None:
        """Record how the run ended, if it is this object's; returns why that was not possible."""
        from expkit_bookkeeping import ClaimLost

        from ._running.lifetime import record_end

        if os.getpid() != self._pid:  # a fork of the script is not the owner
            return None
        claim, self._claim = self._claim, None
        with self._while_running:
            if claim is None:
                return None
            try:
                record_end(claim, error, returned=returned)
            except (ClaimLost, OSError) as problem:
                text = f"The end of run {claim.folder.name} was not recorded: {problem}"
                log.warning("%s", text)
                return text
        return None


def _forget_location(config: DictConfig) -> None:
    """Let the overrides of a run under a foreign launcher be the user's, before Hydra lists them.

    That launcher was told by overrides where the run of our grid belongs.
    """
    from omegaconf import OmegaConf

    from ._composing.run_location import without_location
    from ._grid.contents import has_tree

    is_ours = "expkit" in str(OmegaConf.select(config, "hydra.sweeper._target_"))
    # Our own launchers know already where it runs, and list no such overrides.
    if is_ours and has_tree(config) and OmegaConf.is_missing(config.hydra.runtime, "output_dir"):
        without_location(config)


def _settle_folder(config: DictConfig) -> str | None:
    """Let a single run lie where the grid's runs do, unless the command line says otherwise.

    Returns:
        What to say about it, if the project or the command line names another folder.
    """
    from ._composing.run_location import (
        keep_working_directory,
        other_folders,
        take_folders,
        typed_folders,
    )
    from ._console.texts import unused_folders

    others = other_folders(config, "run")
    if not others:
        return None
    training = Path(str(config.results_dir), str(config.experiment_id), "training").absolute()
    if typed_folders(config, "run"):
        folder = Path(str(config.hydra.run.dir)).absolute()
        if folder.parent == training:
            return None
        return (
            f"The run is in {_shown(folder)}, as hydra.run.dir on the command line says. Grids and "
            f"expkit status look in {_shown(training)}, where it goes without that."
        )
    keep_working_directory(config)
    take_folders(config, "run")
    return (
        f"{unused_folders(others)} The run is in {_shown(training / str(config.run_name))}, where "
        "grids and expkit status look; hydra.run.dir=… on the command line puts it elsewhere."
    )


def _prepare_single_run(config: DictConfig, settings: GridSettings) -> Claim:
    from omegaconf import OmegaConf

    from expkit_bookkeeping.launching import (
        claim_run,
        completed_since,
        foreign_reason,
        move_to_trash,
    )

    from ._composing.global_state import current_config
    from ._grid.grid import with_hashes_under
    from ._grid.identity import group_choices, identify, public_data
    from ._grid.names import swept_keys, swept_values
    from ._running.output import job_log

    with current_config(config):
        folder = Path(str(config.hydra.run.dir)).absolute()
        experiment_id = str(config.experiment_id)
        experiment = Path(str(config.results_dir), experiment_id).absolute()
        params = OmegaConf.select(config, "hydra.sweeper.params")
        if OmegaConf.is_config(params):
            params = OmegaConf.to_container(params, resolve=False)
        keys = swept_keys(params)
        swept = swept_values(config, keys)
    foreign = foreign_reason(folder, experiment=experiment)
    if foreign is not None:
        raise ValueError(f"The folder of this run, {folder}, {foreign}. {_way_out(config, 'run')}")
    identity = identify(config, swept=keys)
    _warn_of_rules(config, identity.data, folder)
    record = _present(folder)
    if record is not None:
        (comparable,) = with_hashes_under(identity.ignored, [record])
        reason = _why_start_over(comparable, identity.config_hash, identity.data, settings)
        if reason is not None:
            with suppress(FileNotFoundError):  # somebody else has just moved it
                trash = move_to_trash(record, reason="fresh" if settings.fresh else "rerun")
                _say(f"{reason}; it moved to {_shown(trash)}")
            record = None
        elif record.state != "running" and not record.is_newer:
            _say(_continuation(record, identity.data))
    return claim_run(
        folder,
        run_name=str(config.run_name),
        experiment_id=experiment_id,
        config_hash=identity.config_hash,
        swept=swept,
        choices=group_choices(config),
        unresolved=identity.unresolved,
        ignored=identity.ignored,
        config=public_data(config),
        unless=completed_since(record),
        append_files=[job_log(config)],
        launches=True,
    )


def _continuation(record: RunRecord, data: Mapping[str, object]) -> str:
    """What a further attempt with this configuration begins with."""
    from expkit_bookkeeping import find_checkpoints

    from ._running.lifetime import earlier_files

    how = f"({record.state}, attempt {record.attempt + 1})"
    if find_checkpoints(record.folder):
        changes = _changes(record, data)
        return f"Run {record.run_name} continues {how}{changes and f': {changes}'}."
    files = earlier_files(record.folder)
    if files is None:
        return f"Run {record.run_name} is tried again {how}; there is no checkpoint."
    return (
        f"Run {record.run_name} is tried again {how}; Bookkeeping has no checkpoint of it. In its "
        f"folder are files of the earlier attempt ({files}): unless the script resumes from them "
        "itself, expkit.fresh=true keeps the two apart."
    )


def _way_out(config: DictConfig, node: str) -> str:
    """What to do about a folder that is not a run's.

    Args:
        config: The run's configuration.
        node: Which node of Hydra's names the folder: run, or sweep.
    """
    from ._composing.run_location import other_folders

    text = "expkit writes only into a new or empty folder, or into one of its own. "
    folders = other_folders(config, node)
    lines = [f"{key}={value}" for key, value in folders.items()]  # as the user would look for it
    if not lines:
        return text + (
            "Choose another run_name or experiment_id, or move these files away. If a line of "
            "yours writes them there before the run starts, delete it, or write them in the task "
            "function."
        )
    return text + (
        f"Delete {' and '.join(lines)} from the configuration or the command line, and the run "
        "gets a folder of its own in results_dir; or name a new folder there."
    )


def _ending(record: RunRecord, argv: Sequence[str]) -> str | None:
    """Where a single run is and, unless it is completed, what the same command does."""
    from expkit_bookkeeping import find_checkpoints

    endings = {"completed": "is completed", "failed": "failed", "interrupted": "was interrupted"}
    if record.state not in endings:
        return None
    text = f"Run {record.run_name} {endings[record.state]}: {_shown(record.folder)}"
    if record.state == "completed":
        return text
    command = "The same command"
    if any(argument.lstrip("+").startswith("expkit.fresh=") for argument in argv):
        command += " without expkit.fresh"
    checkpoints = find_checkpoints(record.folder)
    if not checkpoints:
        return f"{text}. {command} tries again; there is no checkpoint."
    return f"{text}. {command} continues from its checkpoint {checkpoints[-1].path.name}."


def _present(folder: Path) -> RunRecord | None:
    """The run that the folder holds; `lost` if its owner is gone."""
    from expkit_bookkeeping import read_run
    from expkit_bookkeeping.reading import find_run

    return None if read_run(folder) is None else find_run(folder)


def _why_start_over(
    record: RunRecord, config_hash: str, data: Mapping[str, object], settings: GridSettings
) -> str | None:
    """Why an earlier run of this name makes room for a new one; None if it continues.

    Raises:
        ValueError: If it is unfinished, has checkpoints and another configuration.
    """
    from expkit_bookkeeping import find_checkpoints
    from expkit_bookkeeping.launching import reason_not_to_continue

    name = record.run_name
    if record.state == "running":
        return None  # claiming it says whether this very process has it
    if settings.fresh:
        return f"Run {name} starts over (expkit.fresh=true): there was one ({record.state})"
    has_changed = record.config_hash not in (None, config_hash)
    if has_changed and settings.on_change == "continue":
        reason = reason_not_to_continue(record, data)
        if reason is None:
            return None
        raise ValueError(
            f"Run {name} ({record.state}) in {_shown(record.folder)} cannot continue with this "
            f"configuration: {reason}. Nothing was changed. expkit.fresh=true starts over (the old "
            "run moves to .trash)."
        )
    if record.state == "completed":
        return f"Run {name} was completed"
    if not has_changed:
        return None
    if settings.on_change == "rerun" or not find_checkpoints(record.folder):
        return f"Run {name} ({record.state}) had another configuration"
    changes = _changes(record, data) or "only in values that depend on the machine or the time"
    raise ValueError(
        f"Run {name} ({record.state}) in {_shown(record.folder)} has checkpoints, and it had "
        f"another configuration: {changes}. Choose "
        "expkit.on_change=continue to continue from its checkpoint, or expkit.fresh=true to start "
        "over (the old run moves to .trash)."
    )


def _changes(record: RunRecord, data: Mapping[str, object]) -> str:
    """How a configuration differs from the one that a run folder holds; empty if it does not."""
    from expkit_bookkeeping.launching import changes_text, config_changes

    from ._grid.identity import read_config

    old = read_config(record.folder)
    if old is None:
        return "" if record.config_hash is None else "what it was is not known"
    return changes_text(config_changes(old, data, list(record.unresolved)))


def _warn_of_rules(config: DictConfig, data: Mapping[str, object], folder: Path) -> None:
    """Say so if a grid would skip this run; a single run is never skipped."""
    from expkit_filter import FilterError, RunFilter

    from ._composing.plain_data import plain_value

    rules = plain_value(config.get("_filters")) or []
    if not isinstance(rules, list):
        return
    try:
        decision = RunFilter(rules).decide(data, folder=folder)
    except FilterError as error:
        _say(f"_filters: {error}")
        return
    if decision.skip and decision.kind == "rule":
        _say(f"A grid would skip this run: {decision.reason}. A single run is never skipped.")


def _claim_foreign_run(config: DictConfig, folder: Path) -> Claim | None:
    from expkit_bookkeeping import RunClaimed
    from expkit_bookkeeping.launching import claim_run, foreign_reason

    from ._grid.grid import read_grid
    from ._grid.identity import group_choices, identify, public_data

    experiment = Path(config.hydra.runtime.cwd, str(config.results_dir), str(config.experiment_id))
    foreign = foreign_reason(folder, experiment=experiment)
    if foreign is not None:
        log.warning(
            "%s %s: nothing is recorded of this run, which starts all the same, as a callback "
            "cannot stop it. %s",
            folder,
            foreign,
            _way_out(config, "sweep"),
        )
        return None
    run, grid_id = None, None
    try:
        grid = read_grid(folder.parents[1])
        grid_id = grid.grid_id
        run = next((run for run in grid.runs if run.run_name == folder.name), None)
    except (FileNotFoundError, ValueError):
        pass  # another sweeper than ours
    identity = identify(config, swept=[] if run is None else list(run.values))
    if run is not None and run.config_hash != identity.config_hash:
        log.warning(
            "This launcher composed run %s again, and its configuration is no longer the grid's. "
            "Have files in conf/ been edited meanwhile? hydra/launcher=expkit runs what was "
            "frozen when the grid was made.",
            folder.name,
        )
    try:
        return claim_run(
            folder,
            run_name=folder.name,
            experiment_id=folder.parents[1].name,
            config_hash=identity.config_hash,
            grid_id=grid_id if run is not None else None,
            swept=None if run is None else run.values,
            choices=group_choices(config),
            unresolved=identity.unresolved,
            ignored=identity.ignored,
            config=public_data(config),
            launches=True,
        )
    except RunClaimed as error:
        log.warning(
            "%s This launcher starts it all the same: a callback cannot stop it. Bookkeeping "
            "refuses it, if the script uses Bookkeeping.",
            error,
        )
        return None


def _say(text: str) -> None:
    # Before Hydra has configured logging for the run; stderr, so that a pipe stays clean.
    # If nobody reads it, the callback must not fail: the run would go on without a claim.
    from expkit_bookkeeping.launching import printable

    with suppress(OSError):
        sys.stderr.write(f"{printable(text)}\n")


def _shown(path: Path) -> str:
    from ._console.command_lines import short_path

    return short_path(path)
