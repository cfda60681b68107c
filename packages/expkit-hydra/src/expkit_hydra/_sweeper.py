"""The sweeper `expkit`: expands, composes, names, hashes and filters a grid, then launches it."""

import logging
import platform
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from ._composition import Composer, Place, pinned_keys, settle, warn_about_order
from ._errors import GridError
from ._expansion import Expansion, expand
from ._frozen import FrozenConfigs
from ._grid import Grid, GridRun, write_grid
from ._hydra_state import current_config
from ._identity import NO_PART_OF_IDENTITY, Identity, identify, plain_value
from ._names import clean, name_of, refuse_shared_names, swept_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_filter import Selection

log = logging.getLogger(__name__)
T = TypeVar("T")

DEFAULT_TEMPLATE = "${expkit.name:}"
PROGRESS_AFTER_S = 2.0
MOST_LINES = 10  # of a list that grows with the grid


@dataclass(frozen=True)
class _Member:
    """A run of the grid before it is decided what becomes of it."""

    position: int  # in the product
    overrides: tuple[str, ...]
    identity: Identity
    values: Mapping[str, object]
    run_name: str
    experiment: tuple[str, str]  # results_dir, experiment_id
    output_dir: Path  # where Hydra would run it


class GridSweeper:
    """Runs what is missing of a grid.

    With `defaults: [expkit, …]` the grid has files, names and states. Without, in an app that only
    selects `hydra/sweeper=expkit`, it sweeps as Hydra's basic sweeper does, rules aside.

    Args:
        max_batch_size: Most runs that the launcher is given at once; None is all.
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

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra before `sweep`."""
        from hydra.core.plugins import Plugins

        self.config = config
        self.hydra_context = hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Run the grid.

        Args:
            arguments: Overrides of the command line; those with several values are swept.

        Returns:
            What the runs returned, a list a batch.

        Raises:
            GridError: If the grid cannot be run as asked, or when runs of it have failed.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        config = self.config
        params = config.hydra.sweeper.params
        if OmegaConf.is_config(params):
            params = OmegaConf.to_container(params, resolve=True)
        expansion = expand(params, arguments, loader)
        composer = Composer(loader, config)
        with current_config(config):
            if not _has_tree(config):
                return self._sweep_plainly(expansion, composer)
            warn_about_order(loader, config.hydra.job.config_name)
            return self._sweep_grid(expansion, composer)

    def _sweep_grid(self, expansion: Expansion, composer: Composer) -> list[Sequence[JobReturn]]:
        assert self.config is not None
        config = self.config
        _refuse_keys(expansion.keys)
        pinned = pinned_keys(config)
        frozen = FrozenConfigs()
        composed = _compose(expansion, composer, config, pinned=pinned, frozen=frozen)
        members = _collapse(composed)
        refuse_shared_names(
            [member.run_name for member in members],
            [member.values for member in members],
            [member.identity.config_hash for member in members],
            template=_template(config),
            groups=list(config.hydra.runtime.choices),
        )
        experiment = _experiment(config, members)
        selection = _select(config, members, experiment)
        for line in _explain(expansion, members, selection):
            log.info(line)
        for warning in selection.warnings:
            log.warning(warning)
        if config.expkit.get("dry_run"):
            for line in _ends(members, selection):
                log.info(line)
            return []
        grid = _write(
            config,
            expansion,
            members,
            selection,
            frozen=frozen,
            experiment=experiment,
        )
        return self._launch(grid, pinned)

    def _launch(self, grid: Grid, pinned: tuple[tuple[str, str], ...]) -> list[Sequence[JobReturn]]:
        from ._after import finish_grid

        assert self.config is not None
        config = self.config
        has_grids = hasattr(self.launcher, "launch_grid")
        batches: list[Sequence[JobReturn]] = []
        broken: Exception | None = None
        for start, pending in _batches(grid.pending, self.max_batch_size):
            if has_grids:
                returns = self.launcher.launch_grid(replace(grid, pending=tuple(pending)))
            else:
                jobs = [[*run.overrides, *Place(run.run_name, pinned).overrides] for run in pending]
                try:
                    returns = self.launcher.launch(jobs, initial_job_idx=start)
                except Exception as error:
                    # Some launchers raise for a job that was killed; the other batches go on.
                    log.error("The launcher stopped with %s: %s", type(error).__name__, error)
                    broken = broken or error
                    continue
            batches.append(returns)
        # Launchers that know grids finish them, some of them long after this process.
        if not has_grids or not grid.pending:
            nothing_new = not grid.pending and (grid.experiment / "plots").is_dir()
            finish_grid(grid, config=config, draw=not nothing_new)
        if broken is not None:
            raise broken
        _raise_for_failures(grid, batches)
        return batches

    def _sweep_plainly(self, expansion: Expansion, composer: Composer) -> list[Sequence[JobReturn]]:
        """Without expkit's keys in the configuration: as Hydra's basic sweeper, and rules."""
        assert self.config is not None
        assert self.launcher is not None
        config = self.config
        jobs = list(expansion)
        composed = [composer.compose(index, job) for index, job in _progress(list(enumerate(jobs)))]
        rules = config.get("_filters")
        if rules:
            selection = _decide(
                plain_value(rules),
                [(identify(one).data, str(index)) for index, one in enumerate(composed)],
            )
            log.info(selection.summary())
            jobs = [jobs[position] for position in selection.to_run]
        # As Hydra's own sweeper does; tools that read a sweep's folder look for this file.
        sweep_dir = Path(str(config.hydra.sweep.dir))
        sweep_dir.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, sweep_dir / "multirun.yaml")
        batches = [
            self.launcher.launch([list(job) for job in batch], initial_job_idx=start)
            for start, batch in _batches(jobs, self.max_batch_size)
        ]
        for batch in batches:
            for result in batch:
                _ = result.return_value  # raises what the job raised
        return batches


def _has_tree(config: DictConfig) -> bool:
    """Whether the line `expkit` of the defaults list, or the user, gave the keys of the tree."""
    return all(key in config for key in ("results_dir", "experiment_id", "run_name", "expkit"))


def _refuse_keys(keys: Sequence[str]) -> None:
    for key in keys:
        if key.partition(".")[0] in NO_PART_OF_IDENTITY - {"plotting"}:
            raise GridError(
                f"{key} cannot be swept: it is no part of what a run is, so its values would make "
                "no different runs. Start one grid for each value instead."
            )


def _compose(
    expansion: Expansion,
    composer: Composer,
    config: DictConfig,
    *,
    pinned: tuple[tuple[str, str], ...],
    frozen: FrozenConfigs,
) -> Iterator[_Member]:
    keys = expansion.keys
    template = _template(config)
    for position, overrides in _progress(list(enumerate(expansion))):
        composed = composer.compose(position, overrides)
        with current_config(composed):
            values = swept_values(composed, keys)
            name = name_of(values) if template is None else _fill_template(composed, overrides)
            experiment = (str(composed.results_dir), str(composed.experiment_id))
        settle(composed, Place(name, pinned))
        # Frozen at once: a composed configuration takes a hundred times the room.
        frozen.add(position, composed)
        identity = identify(composed, swept=keys)
        with current_config(composed):
            output_dir = Path(str(composed.hydra.sweep.dir), str(composed.hydra.sweep.subdir))
        yield _Member(position, overrides, identity, values, name, experiment, output_dir)


def _template(config: DictConfig) -> str | None:
    """The user's template of the name, None for the default."""
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    text = str(raw["run_name"])
    if re.search(r"hydra[:.]job\.(num|id)", text):
        raise GridError(
            f"run_name: {text} uses the job's number, which changes with what is left to run: a "
            "run would find another's folder. Use keys of the configuration, e.g. "
            "${model.name}_${seed}, or leave run_name out: it is then made of the swept keys."
        )
    return None if text == DEFAULT_TEMPLATE else text


def _fill_template(config: DictConfig, overrides: Sequence[str]) -> str:
    from omegaconf.errors import OmegaConfBaseException

    try:
        return clean(config.run_name)
    except OmegaConfBaseException as error:
        reason = str(error).partition("\n")[0]
        raise GridError(
            f"run_name cannot be made for the run ({' '.join(overrides)}): {reason}. "
            "A template may use keys of the run's configuration, e.g. ${model.name}_${seed}."
        ) from error


def _collapse(members: Iterable[_Member]) -> list[_Member]:
    """The first run of each configuration."""
    first: dict[str, _Member] = {}
    for member in members:
        first.setdefault(member.identity.config_hash, member)
    return list(first.values())


def _count_blocks(expansion: Expansion, members: Sequence[_Member]) -> list[dict[str, int]]:
    """Size of each block of a union, and how many of its runs stand before them already."""
    counts = []
    start = 0
    for size in expansion.sizes:
        kept = sum(1 for member in members if start <= member.position < start + size)
        counts.append({"product": size, "duplicates": size - kept})
        start += size
    return counts


def _experiment(config: DictConfig, members: Sequence[_Member]) -> Path:
    """The folder of the experiment, one for the whole grid."""
    folders = {member.experiment for member in members}
    if len(folders) != 1:
        shown = ", ".join("/".join(folder) for folder in sorted(folders)[:3])
        raise GridError(
            f"The runs of one grid have several experiment folders ({shown}): results_dir and "
            "experiment_id must not depend on a swept key. Put what differs into run_name."
        )
    ((results_dir, experiment_id),) = folders
    if not experiment_id or experiment_id in (".", "..") or "/" in experiment_id:
        raise GridError(
            f"experiment_id is the name of one folder in results_dir, got {experiment_id!r}. "
            "Use letters, digits and ._-"
        )
    experiment = Path(results_dir).absolute() / experiment_id
    for member in members:
        folder = experiment / "training" / member.run_name
        if member.output_dir.absolute() != folder:
            raise GridError(
                f"hydra.sweep.dir and hydra.sweep.subdir lead to {member.output_dir}, but the run "
                f"{member.run_name} belongs into {folder}. Leave both out and set results_dir and "
                "experiment_id instead."
            )
    return experiment


def _select(config: DictConfig, members: Sequence[_Member], experiment: Path) -> "Selection":
    from expkit_bookkeeping import find_runs

    settings = config.expkit
    rules = plain_value(config.get("_filters")) or []
    ignored = [str(key) for key in settings.get("ignore") or ()]
    return _decide(
        rules,
        [(member.identity.data, member.run_name) for member in members],
        folders=[experiment / "training" / member.run_name for member in members],
        hashes=[member.identity.config_hash for member in members],
        runs=find_runs(experiment) if experiment.is_dir() else [],
        rerun=settings.get("rerun", "missing"),
        attempts=settings.get("attempts", 3),
        on_change=settings.get("on_change"),
        ignore=[*sorted(NO_PART_OF_IDENTITY), *ignored],
    )


def _decide(
    rules: object,
    runs_data: Sequence[tuple[Mapping[str, object], str]],
    *,
    folders: Sequence[Path | None] | None = None,
    hashes: Sequence[str | None] | None = None,
    **options: Any,
) -> "Selection":
    from expkit_filter import Candidate, FilterError, RunFilter

    nothing = [None] * len(runs_data)
    candidates = [
        Candidate(config=data, run_name=name, folder=folder, config_hash=config_hash)
        for (data, name), folder, config_hash in zip(
            runs_data, folders or nothing, hashes or nothing, strict=True
        )
    ]
    if not isinstance(rules, list):
        raise GridError(f"_filters is a list of rules, got {rules!r}. Write _filters: [RULE, …].")
    try:
        return RunFilter(rules, **options).select(candidates)
    except FilterError as error:
        raise GridError(str(error)) from error


def _explain(
    expansion: Expansion, members: Sequence[_Member], selection: "Selection"
) -> Iterator[str]:
    """What the user is told before anything starts."""
    blocks = _count_blocks(expansion, members)
    if len(blocks) > 1 or blocks[0]["duplicates"]:
        for number, block in enumerate(blocks, start=1):
            yield f"block {number}: {block['product']} runs, {block['duplicates']} of them repeated"
    done = sum(1 for decision in selection.decisions if decision.kind == "completed")
    ruled_out = sum(1 for decision in selection.decisions if decision.kind == "rule")
    yield selection.summary()
    if not selection.to_run and done == len(members) - ruled_out:
        yield f"{done} completed, nothing to do (expkit.rerun=all runs them again)"
    if ":" in selection.completed:  # with this code, with older code
        yield selection.completed
    others = [
        f"{member.run_name} is not started: {decision.reason}"
        for member, decision in zip(members, selection.decisions, strict=True)
        if decision.skip and decision.kind not in ("rule", "completed", "unknown")
    ]
    yield from _shorten(others)


def _ends(members: Sequence[_Member], selection: "Selection") -> Iterator[str]:
    """Rules with an example each, the first and the last run."""
    for number, row in enumerate(selection.rules, start=1):
        example = f", e.g. {row['example']}" if row["example"] else ""
        yield f"rule {number} skips {row['hits']}: {row['rule']}{example}"
    left = [members[position] for position in selection.to_run]
    for title, member in (("first", left[0]), ("last", left[-1])) if left else ():
        yield f"{title} run: {member.run_name} ({' '.join(member.overrides)})"
    yield "expkit.dry_run=true: nothing is written or started"


def _shorten(lines: Sequence[str]) -> list[str]:
    if len(lines) <= MOST_LINES:
        return list(lines)
    return [*lines[:MOST_LINES], f"… and {len(lines) - MOST_LINES} more"]


def _write(
    config: DictConfig,
    expansion: Expansion,
    members: Sequence[_Member],
    selection: "Selection",
    *,
    frozen: FrozenConfigs,
    experiment: Path,
) -> Grid:
    runs = []
    for index, (member, decision) in enumerate(zip(members, selection.decisions, strict=True)):
        ruled_out = decision.kind == "rule"
        runs.append(
            GridRun(
                index=index,
                run_name=member.run_name,
                overrides=member.overrides,
                values=member.values,
                config_hash=member.identity.config_hash,
                skipped_by=f"rule {decision.rule}" if ruled_out else None,
                folder=experiment / "training" / member.run_name,
            )
        )
    kept = {run.index: members[run.index].position for run in runs if run.skipped_by is None}
    skipped = sum(1 for run in runs if run.skipped_by is not None)
    counts: dict[str, object] = {
        "product": len(expansion),
        "duplicates": len(expansion) - len(runs),
        "skipped by rule": skipped,
        "to run": len(runs) - skipped,
    }
    if len(expansion.blocks) > 1:
        counts["blocks"] = _count_blocks(expansion, members)
    description = {
        "command": _command(sys.argv),
        "experiment_id": experiment.name,
        "metric": config.expkit.get("metric"),
        "direction": config.expkit.get("direction"),
        "swept": _swept(expansion.keys, runs),
        "counts": counts,
        "filters": [dict(row) for row in selection.rules],
        "versions": _versions(),
        "code": _code(),
        "config": _base(config),
    }
    fresh = [position for position in selection.to_run if selection.decisions[position].to_trash]
    try:
        return write_grid(
            experiment,
            runs,
            frozen.select(kept),
            description,
            pending=[runs[position] for position in selection.to_run],
            fresh=fresh,
        )
    except OSError as error:
        raise GridError(
            f"The grid cannot be written into {experiment}: {error}. Nothing has been started. "
            "Choose another folder with results_dir=…"
        ) from error


def _swept(keys: Sequence[str], runs: Sequence[GridRun]) -> dict[str, list[object]]:
    swept: dict[str, list[object]] = {key: [] for key in keys}
    for run in runs:
        for key in keys:
            value = run.values[key]
            # Not `in` alone: 1, 1.0 and True are equal and yet three values.
            if not any(value == other and type(value) is type(other) for other in swept[key]):
                swept[key].append(value)
    return swept


def _command(argv: Sequence[str]) -> list[str]:
    """The command line without absolute paths of this machine."""
    script, *arguments = argv or [""]
    path = Path(script)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        script = str(path.relative_to(Path.cwd()))
    elif path.is_absolute():
        script = path.name
    return [script, *arguments]


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("hydra-core", "omegaconf", "expkit-hydra", "expkit-filter", "expkit-bookkeeping")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def _code() -> dict[str, object]:
    from expkit_bookkeeping import code_facts

    facts = code_facts()
    return {key: facts.get(key) for key in ("commit", "dirty")}


def _base(config: DictConfig) -> object:
    """The configuration before sweeping, as data, references kept."""
    from ._identity import plain_text

    return {key: value for key, value in plain_text(config).items() if key != "hydra"}


def _batches(items: Sequence[T], size: int | None) -> Iterable[tuple[int, Sequence[T]]]:
    step = size or max(len(items), 1)
    return [(start, items[start : start + step]) for start in range(0, len(items), step)]


def _raise_for_failures(grid: Grid, batches: Sequence[Sequence[JobReturn]]) -> None:
    returns = [result for batch in batches for result in batch]
    failed = [result for result in returns if result.status == JobStatus.FAILED]
    if not failed:
        return
    lines = []
    for result in failed:
        run = _run_of(result, grid)
        name = run.run_name if run is not None else " ".join(result.overrides or ())
        lines.append(f"  {name}: {_describe(result._return_value)}")
    raise GridError(
        "\n".join(
            [
                f"{len(failed)} of {len(returns)} runs failed; the same command tries them again:",
                *_shorten(lines),
            ]
        )
    )


def _run_of(result: JobReturn, grid: Grid) -> GridRun | None:
    """The run that a result is of: launchers need not return one for each, nor in order."""
    overrides = tuple(result.overrides or ())
    # The run's name comes behind its own; a run of another block may have fewer.
    fitting = [run for run in grid.pending if overrides[: len(run.overrides)] == run.overrides]
    return max(fitting, key=lambda run: len(run.overrides), default=None)


def _describe(error: object) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _progress(items: Sequence[T]) -> Iterator[T]:
    """The items; with a line on stderr when composing them takes more than two seconds."""
    with _progress_line(len(items)) as advance:
        for item in items:
            yield item
            advance()


@contextmanager
def _progress_line(
    total: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[], None]]:
    started = clock()
    line: Any = None
    done = 0

    def advance() -> None:
        nonlocal line, done
        done += 1
        if line is None and clock() - started > PROGRESS_AFTER_S:
            from rich.console import Console
            from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

            columns = ("Composing", MofNCompleteColumn(), TimeRemainingColumn())
            line = Progress(*columns, console=Console(stderr=True), transient=True)
            line.add_task("Composing", total=total)
            line.start()
        if line is not None:
            line.update(line.task_ids[0], completed=done)

    try:
        yield advance
    finally:
        if line is not None:
            line.stop()
