"""The sweeper `expkit`: expands, composes, names, hashes and filters a grid, and launches it."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from expkit_bookkeeping import process_rank
from expkit_bookkeeping.launching import typed_arguments

from ._checking.planning import plan_grid, remember_secrets
from ._composing.composer import Composer
from ._composing.config_files import files_read_once
from ._composing.errors import GridError, one_sentence
from ._composing.global_state import current_config
from ._composing.internals import raw_return_value
from ._composing.run_location import (
    RunLocation,
    folder_overrides,
    other_folders,
    pinned_keys,
    take_folders,
)
from ._console.command_lines import recordable, short_path
from ._console.preview import (
    dry_run_lines,
    explain,
    left_out,
    shorten,
)
from ._console.progress import progress
from ._console.texts import error_line, run_count, unused_folders
from ._drafting.description import describe
from ._drafting.draft import Draft, read_rules
from ._drafting.expansion import expand
from ._drafting.sweep_params import sweep_params
from ._grid.contents import has_tree
from ._grid.grid import Grid
from ._grid.identity import identify
from ._grid.run import GridRun
from ._grid.secrets import tracking_uri_handed_on
from ._grid.writing import write_grid
from ._program.program import describe_task
from ._running.job_returns import RunError
from ._running.lifetime import INTERRUPTED
from ._running.ranks import announced_run, join_announced
from ._running.yaml_text import public_yaml

log = logging.getLogger(__name__)
T = TypeVar("T")


class GridSweeper:
    """Runs what is missing of a grid.

    With `defaults: [expkit, …]` the grid has files, names and states. Without it, in an app that
    only selects `hydra/sweeper=expkit`, it sweeps as Hydra's basic sweeper does, except for rules.

    Args:
        max_batch_size: The most runs that the launcher is given at once; None means all.
        params: Keys and their values, or a list of such mappings whose grids are united.
    """

    def __init__(self, max_batch_size: int | None = None, params: object = None) -> None:
        if max_batch_size is not None and max_batch_size < 1:
            raise GridError(
                f"hydra.sweeper.max_batch_size is a number of runs from 1, got {max_batch_size}. "
                "Leave it out to launch the whole grid at once."
            )
        self.max_batch_size = max_batch_size
        self.params = params
        self.config: DictConfig | None = None
        self.launcher: Any = None
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None
        self._other_folders: Mapping[str, str] = {}  # of the project's own hydra.sweep

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra before `sweep`."""
        from hydra.core.plugins import Plugins

        self.config = config
        self.hydra_context = hydra_context
        self.task_function = task_function
        if has_tree(config):
            self._other_folders = other_folders(config, "sweep")
            take_folders(config, "sweep")  # which launchers of others read there
        with one_sentence("hydra.launcher cannot be made"):
            self.launcher = Plugins.instance().instantiate_launcher(
                hydra_context=hydra_context, task_function=task_function, config=config
            )

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Run the grid.

        Args:
            arguments: Overrides of the command line; those with several values are swept.

        Returns:
            What the runs returned, one list per batch.

        Raises:
            GridError: If the grid cannot be run as asked, or if runs of it have failed.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        announced = announced_run()
        if announced is not None and process_rank() != 0:
            assert self.task_function is not None
            result = join_announced(
                announced, task_function=self.task_function, hydra_context=self.hydra_context
            )
            _ = result.return_value  # raises what the run raised
            return [[result]]
        config = self.config
        with current_config(config):
            if not has_tree(config):
                return self._sweep_plainly(arguments)
            try:
                with one_sentence():
                    grid_and_left_out = self._make_grid(arguments)
            except KeyboardInterrupt:
                log.warning("Interrupted while the grid was made. Nothing has been started.")
                raise SystemExit(INTERRUPTED) from None
            if grid_and_left_out is None:
                return []
            with tracking_uri_handed_on(config):
                return self._launch(*grid_and_left_out)

    def _make_grid(self, arguments: Sequence[str]) -> tuple[Grid, list[str]] | None:
        """The grid, and sentences about runs that should start and cannot; None for a dry run."""
        assert self.config is not None
        assert self.hydra_context is not None
        config = self.config
        plan = plan_grid(
            config,
            self.hydra_context.config_loader,
            arguments,
            grid_options=getattr(self.launcher, "grid_options", None),
            warn=lambda text: log.warning("%s", text),
            show_progress=progress,
        )
        draft = plan.draft
        log.debug(
            "Hydra composed %d configurations for the %d runs, %d of them for one run alone",
            plan.composer.composed,
            len(plan.expansion),
            plan.composer.alone,
        )
        if self._other_folders:
            runs = short_path(draft.experiment / "training")
            log.info(
                "%s The runs of the grid are in %s.", unused_folders(self._other_folders), runs
            )
        for line in explain(draft):
            log.info(line)
        for warning in plan.warnings():
            log.warning(warning)
        if config.expkit.get("dry_run"):
            if hasattr(self.launcher, "explain_grid"):
                self._explain_launch(draft)
            for line in dry_run_lines(draft):
                log.info(line)
            return None
        task = None if self.task_function is None else describe_task(self.task_function)
        description = describe(
            config, plan.expansion, draft, task=task, command=recordable(typed_arguments())
        )
        return _write(draft, description), list(left_out(draft))

    def _explain_launch(self, draft: Draft) -> None:
        """Let the launcher say what it would do, for a grid that is deleted afterwards."""
        with TemporaryDirectory(prefix="expkit-") as folder:
            elsewhere = replace(draft, experiment=Path(folder) / draft.experiment.name)
            grid = _write(elsewhere, {})
            for line in self.launcher.explain_grid(grid, draft.experiment):
                log.info(line)

    def _launch(self, grid: Grid, left_out: Sequence[str]) -> list[Sequence[JobReturn]]:
        from ._after.finishing import finish_grid

        assert self.config is not None
        config = self.config
        pinned = pinned_keys(config)
        folders = folder_overrides("sweep") if self._other_folders else []
        has_grids = hasattr(self.launcher, "launch_grid")
        batches: list[Sequence[JobReturn]] = []
        broken: Exception | None = None
        for start, pending in _batches(grid.pending, self.max_batch_size):
            if has_grids:
                is_last = start + len(pending) == len(grid.pending)
                batch = replace(grid, pending=tuple(pending), is_last_batch=is_last)
                returns = self.launcher.launch_grid(batch)
            else:
                override_lists = [
                    [*run.overrides, *RunLocation(run.run_name, pinned).overrides, *folders]
                    for run in pending
                ]
                try:
                    returns = self.launcher.launch(override_lists, initial_job_idx=start)
                except Exception as error:
                    # Some launchers raise if a job was killed; the other batches go on.
                    log.error("The launcher stopped with %s", _describe(error))
                    broken = broken or error
                    continue
            batches.append(returns)
        # Launchers that know grids finish them, some long after this process has ended.
        if not has_grids or not grid.pending:
            finish_grid(grid, config=config, unless_done=not grid.pending)
        if broken is not None:
            raise broken
        _raise_for_failures(grid, batches, attempts=int(config.expkit.get("attempts") or 3))
        if left_out:  # else a chain of commands would go on as if the grid were complete
            raise GridError("\n".join(left_out))
        return batches

    def _sweep_plainly(self, arguments: Sequence[str]) -> list[Sequence[JobReturn]]:
        """Sweep as Hydra's basic sweeper, and by rules: the configuration lacks expkit's keys."""
        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        config = self.config
        loader = self.hydra_context.config_loader
        with one_sentence(), files_read_once(loader):
            expansion = expand(sweep_params(config), arguments, loader)
            remember_secrets(config, expansion)
            composer = Composer(loader, config)
            rules = read_rules(config)
            runs = list(expansion)
            for index, overrides in progress(enumerate(runs), len(runs)):
                composer.work_out(index, overrides)  # which refuses what Hydra refuses
            if rules:
                runs = _left_by_rules(rules, runs, composer)
        # As Hydra's own sweeper does; tools that read a sweep's folder look for this file.
        sweep_dir = Path(str(config.hydra.sweep.dir))
        sweep_dir.mkdir(parents=True, exist_ok=True)
        (sweep_dir / "multirun.yaml").write_text(public_yaml(config), encoding="utf-8")
        batches = [
            self.launcher.launch([list(overrides) for overrides in batch], initial_job_idx=start)
            for start, batch in _batches(runs, self.max_batch_size)
        ]
        for batch in batches:
            for result in batch:
                _ = result.return_value  # raises what the run raised
        return batches


def _left_by_rules(
    rules: list[object], runs: list[tuple[str, ...]], composer: Composer
) -> list[tuple[str, ...]]:
    from expkit_filter import Candidate, FilterError, RunFilter

    def candidates() -> Iterator[Candidate]:
        for index, overrides in enumerate(runs):
            yield Candidate(identify(composer.compose(index, overrides)).data, run_name=str(index))

    try:
        selecting = RunFilter(rules).selecting(candidates)
        for candidate in candidates():
            selecting.add(candidate)
        selection = selecting.finish()
    except FilterError as error:
        raise GridError(str(error)) from error
    log.info(selection.summary())
    return [runs[position] for position in selection.to_run]


def _write(draft: Draft, description: Mapping[str, object]) -> Grid:
    selection = draft.selection
    fresh = [position for position in selection.to_run if selection.decisions[position].to_trash]
    try:
        return write_grid(
            draft.experiment,
            draft.runs,
            draft.frozen,
            description,
            pending=[draft.runs[position] for position in selection.to_run],
            fresh=fresh,
            records=draft.records,
        )
    except OSError as error:
        raise GridError(
            f"The grid cannot be written into {draft.experiment}: {error}. Nothing has been "
            "started. Choose another folder with results_dir=…"
        ) from error


def _batches(items: Sequence[T], size: int | None) -> Iterable[tuple[int, Sequence[T]]]:
    step = size or max(len(items), 1)
    return [(start, items[start : start + step]) for start in range(0, len(items), step)]


def _raise_for_failures(
    grid: Grid, batches: Sequence[Sequence[JobReturn]], *, attempts: int
) -> None:
    from expkit_bookkeeping import read_run

    returns = [result for batch in batches for result in batch]
    failed = [result for result in returns if result.status == JobStatus.FAILED]
    if not failed:
        return
    names: dict[str, list[str]] = {}  # by error: mostly it is one for all
    again = "the same command tries again"
    for result in failed:
        run = _run_of(result, grid)
        record = None if run is None else read_run(run.folder)
        if record is not None and record.state == "failed" and record.tries >= attempts:
            again = "expkit.attempts is reached, expkit.rerun=failed tries again"
        name = run.run_name if run is not None else " ".join(result.overrides or ())
        names.setdefault(_describe(raw_return_value(result)), []).append(name)
    lines = [
        f"  {', '.join(shorten(failed_runs))}: {error}" for error, failed_runs in names.items()
    ]
    raise GridError(
        "\n".join(
            [
                f"{len(failed)} of {run_count(len(returns))} failed; {again}:",
                *shorten(lines),
            ]
        )
    )


def _run_of(result: JobReturn, grid: Grid) -> GridRun | None:
    """The run that a result belongs to: launchers may return fewer results, in any order."""
    overrides = tuple(result.overrides or ())
    # The override of the run's name follows its own; a run of another block may have fewer.
    matches = [run for run in grid.pending if overrides[: len(run.overrides)] == run.overrides]
    return max(matches, key=lambda run: len(run.overrides), default=None)


def _describe(error: BaseException) -> str:
    from expkit_bookkeeping.launching import error_facts

    if isinstance(error, RunError):
        return str(error).partition("\n")[0]
    return error_line(error_facts(error)) or ""
