"""A grid before its files are written: which runs it has, and what becomes of each, in one pass.

Only what a grid's files hold of a run is kept: configurations pass by one after another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from expkit_bookkeeping.launching import NO_PART_OF_IDENTITY

from .._composing.composer import Composer
from .._composing.errors import GridError, refuse_unresolvable
from .._composing.internals import is_reference
from .._composing.nodes import node_at
from .._composing.plain_data import plain_value
from .._composing.run_location import RunLocation
from .._grid.frozen_configs import FrozenConfigs
from .._grid.identity import ignored_keys
from .._grid.names import RunName
from .._grid.run import GridRun
from .._grid.secrets import patterns_of
from .composed_runs import ComposedRun, ShowProgress, composed_runs
from .expansion import Expansion
from .experiment import Experiment
from .grid_wide import GridWideSettings
from .shape import Naming, ResolvedRun, Shape, shape_of_run
from .shared_names import (
    EarlierNames,
    file_system_ignores_case,
    refuse_shared_names,
    told_apart,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

    from expkit_bookkeeping import RunRecord
    from expkit_filter import Candidate, Decision, RunFilter, Selection


@dataclass
class Draft:
    """The runs of a grid, and what becomes of each.

    Attributes:
        experiment: The experiment's folder.
        records: The experiment's runs, on which that was decided.
        runs: The distinct runs of the product, in its order.
        selection: What becomes of them.
        frozen: The configurations of those that no rule skips.
        blocks: The size of each block of a union, and how many of its runs repeat earlier ones.
        missing: The keys that have no value (`???`), each with the names of the runs to start that
            lack it.
        without_effect: Sentences about settings that runs have and that the grid does not read.
    """

    experiment: Path
    records: Sequence[RunRecord]
    selection: Selection
    runs: list[GridRun] = field(default_factory=list)
    frozen: FrozenConfigs = field(default_factory=FrozenConfigs)
    blocks: list[dict[str, int]] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    without_effect: Sequence[str] = ()


def draft_grid(
    config: DictConfig,
    expansion: Expansion,
    composer: Composer,
    naming: Naming,
    *,
    grid_options: Collection[str] | None = None,
    show_progress: ShowProgress | None = None,
) -> Draft:
    """Compose, name, identify and decide about the runs of a grid.

    Args:
        config: The configuration of the sweep.
        expansion: The runs' overrides.
        composer: Composes a run.
        naming: How they are named.
        grid_options: The options that the launcher reads once for the whole grid; None: all.
        show_progress: Shows how far it is while it passes the runs on.

    Raises:
        GridError: If a rule or an option cannot be read, if runs share a name or a folder, if
            rules leave nothing, if a run asks for what holds for a whole grid only, or if folders
            hold other configurations and `expkit.on_change` is not given.
    """
    from expkit_filter import FilterError

    try:
        settings = GridWideSettings(config, composer, grid_options)
        return _Drafting(config, expansion, composer, naming, settings).draft(show_progress)
    except FilterError as error:
        raise GridError(str(error)) from error


class _Drafting:
    def __init__(
        self,
        config: DictConfig,
        expansion: Expansion,
        composer: Composer,
        naming: Naming,
        settings: GridWideSettings,
        suffixed: Mapping[int, str] | None = None,
    ) -> None:
        from expkit_filter import RunFilter

        self._config = config
        self._settings = settings
        self._expansion = expansion
        self._composer = composer
        self._naming = naming
        self._suffixed = suffixed or {}  # names that others would have as well, by position
        self._rules = RunFilter(read_rules(config)).rules
        self._experiment = Experiment()
        self._runs: list[GridRun] = []
        self._frozen = FrozenConfigs(patterns_of(config))
        self._seen: dict[str, GridRun] = {}  # by hash
        self._shapes: set[Shape] = set()
        self._missing: list[tuple[str, ...]] = []  # by run, its keys without a value
        self._positions: list[int] = []  # in the product, of the runs that are no duplicates
        self._names: list[RunName] = []

    def draft(self, show_progress: ShowProgress | None) -> Draft:
        stream = composed_runs(
            self._expansion,
            self._composer,
            self._naming,
            self._rules,
            show_progress=show_progress,
        )
        first = next(stream)
        # Whatever becomes of the first run, it says where the experiment is.
        self._experiment.enter(first.resolve())
        records, run_filter = self._open()
        self._stateless_filter = _without_state(run_filter)
        self._selecting = run_filter.selecting(self._candidates)
        self._earlier_names = EarlierNames(records)
        self._take(first)
        for run in stream:
            self._take(run)
        kept = [run for run in self._runs if run.skipped_by is None]
        folder = self._experiment.folder
        assert folder is not None
        suffixed = told_apart(
            [self._names[run.index] for run in kept],
            [run.run_name for run in kept],
            [run.config_hash for run in kept],
            self._earlier_names,
            lambda: file_system_ignores_case(folder),
        )
        if suffixed and not self._suffixed:
            # Decisions depend on the folder, so all are taken again.
            by_position = {self._positions[kept[at].index]: name for at, name in suffixed.items()}
            again = _Drafting(
                self._config,
                self._expansion,
                self._composer,
                self._naming,
                self._settings,
                by_position,
            )
            return again.draft(show_progress)
        refuse_shared_names(
            [run.run_name for run in kept],
            [run.values for run in kept],
            indices=[run.index for run in kept],
            template=self._naming.template,
            groups=list(self._config.hydra.runtime.choices),
        )
        selection = self._selecting.finish()
        return Draft(
            experiment=folder,
            records=records,
            selection=selection,
            runs=self._runs,
            frozen=self._frozen,
            blocks=self._count_blocks(),
            missing=self._missing_in(selection.to_run),
            without_effect=tuple(self._settings.warnings),
        )

    def _missing_in(self, positions: Sequence[int]) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for position in positions:
            for key in self._missing[position]:
                names.setdefault(key, []).append(self._runs[position].run_name)
        return names

    def _open(self) -> tuple[Sequence[RunRecord], RunFilter]:
        from expkit_bookkeeping import find_runs
        from expkit_filter import RunFilter

        from .._grid.grid import with_hashes_under
        from .._grid.schedulers import ask_schedulers

        settings = self._config.expkit
        ignored = plain_value(settings.get("ignore")) or []
        if not isinstance(ignored, list):
            raise GridError(
                f"expkit.ignore is a list of keys, got {ignored!r}. "
                f"Write expkit.ignore: [{ignored}]."
            )
        assert self._experiment.folder is not None
        folder = self._experiment.folder
        records = with_hashes_under(
            ignored_keys({"expkit": {"ignore": ignored}}, self._naming.keys),
            find_runs(folder, is_alive=ask_schedulers(folder).is_alive),
        )
        return records, RunFilter(
            self._rules,
            runs=records,
            rerun=settings.get("rerun", "missing"),
            attempts=settings.get("attempts", 3),
            on_change=settings.get("on_change"),
            ignore=[*sorted(NO_PART_OF_IDENTITY), *map(str, ignored)],
        )

    def _take(self, run: ComposedRun) -> None:
        index = len(self._runs)
        if run.skipping_rule is not None:
            if run.shape not in self._shapes:
                self._shapes.add(run.shape)
                self._selecting.note_names(run.shape.static)
            values, name = run.shape.name(run.composition)
            self._names.append(name)
            run_name = name.plain
            self._selecting.skip(*run.skipping_rule, run_name)
            folder = self._folder(run_name)
            self._append(run, index, run_name, values, None, run.skipping_rule[0], folder)
            return
        resolved = self._resolve(run)
        folder = self._experiment.enter(resolved)
        if resolved.config_hash in self._seen:
            self._settings.check(run.composition)  # it may differ in them alone
            self._refuse_ignored(self._seen[resolved.config_hash], run, resolved)
            return
        candidate = _candidate(resolved, folder)
        decision = self._selecting.add(candidate)
        rule = self._permanent_rule(decision, candidate)
        if rule is None:
            self._settings.check(run.composition)
            location = RunLocation(resolved.run_name, self._naming.pinned)
            self._frozen.add(index, run.composition, location)
        config_hash = resolved.config_hash
        self._names.append(resolved.name)
        self._append(run, index, resolved.run_name, resolved.values, config_hash, rule, folder)
        self._seen[config_hash] = self._runs[-1]

    def _resolve(self, run: ComposedRun) -> ResolvedRun:
        """A run under the name that it has in the grid."""
        suffixed = self._suffixed.get(run.position)
        if suffixed is not None:
            return run.resolve(suffixed)
        resolved = run.resolve()
        earlier = self._earlier_names.of(resolved)
        return resolved if earlier is None else run.resolve(earlier)

    def _refuse_ignored(self, first: GridRun, run: ComposedRun, resolved: ResolvedRun) -> None:
        """Refuse to drop as repeated a run that was asked for and differs.

        Raises:
            GridError: If a group that the grid sweeps sets a key that `expkit.ignore` names.
        """
        if first.values == resolved.values:
            return
        composition = self._composer.work_out(run.position, first.overrides)
        before = shape_of_run(composition, self._naming).resolve(composition).data
        ignored = ignored_keys(resolved.data, self._naming.keys)
        for key in ignored:
            path = key.split(".")
            values = _value_at(before, path), _value_at(resolved.data, path)
            if values[0] != values[1]:
                raise GridError(
                    f"The runs {' '.join(first.overrides)} and {' '.join(run.overrides)} differ "
                    f"only in {key} ({values[0]} and {values[1]}), which expkit.ignore leaves out "
                    "of what a run is: one of them would never run. Take it out: expkit.ignore=["
                    f"{','.join(other for other in ignored if other != key)}]"
                )

    def _append(
        self,
        run: ComposedRun,
        index: int,
        run_name: str,
        values: Mapping[str, object],
        config_hash: str | None,
        rule: int | None,
        folder: Path,
    ) -> None:
        self._positions.append(run.position)
        self._missing.append(run.shape.missing)
        self._runs.append(
            GridRun(
                index=index,
                run_name=run_name,
                overrides=run.overrides,
                values=values,
                config_hash=config_hash,
                skipped_by=None if rule is None else f"rule {rule}",
                folder=folder,
            )
        )

    def _folder(self, run_name: str) -> Path:
        assert self._experiment.folder is not None
        return self._experiment.folder / "training" / run_name

    def _permanent_rule(self, decision: Decision, candidate: Candidate) -> int | None:
        """The rule that takes a run out of the grid, whatever has been done.

        Rules about what is done (`exists:`, `completed:`) leave a run in the grid: their answer
        changes as runs finish, and the same grid must stay the same.
        """
        from expkit_filter import FilterError

        if decision.rule is None or not self._rules[decision.rule - 1].about_state:
            return decision.rule
        try:
            return self._stateless_filter.decide(candidate.config, folder=candidate.folder).rule
        except FilterError:  # the rule about state spared another rule runs it cannot judge
            return None

    def _candidates(self) -> Iterator[Candidate]:
        """The distinct runs once more, without the short cuts: for messages."""
        seen = set()
        for run in composed_runs(self._expansion, self._composer, self._naming):
            resolved = self._resolve(run)
            if resolved.config_hash not in seen:
                seen.add(resolved.config_hash)
                yield _candidate(resolved, self._folder(resolved.run_name))

    def _count_blocks(self) -> list[dict[str, int]]:
        counts = []
        start = 0
        for size in self._expansion.sizes:
            kept = sum(1 for position in self._positions if start <= position < start + size)
            counts.append({"product": size, "duplicates": size - kept})
            start += size
        return counts


def _value_at(data: object, path: Sequence[str]) -> object:
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _candidate(run: ResolvedRun, folder: Path) -> Candidate:
    from expkit_filter import Candidate

    return Candidate(run.data, run.run_name, folder, run.config_hash)


def _without_state(run_filter: RunFilter) -> RunFilter:
    """The same rules, except those about what is done; the others keep their numbers."""
    from expkit_filter import RunFilter

    return RunFilter(["False" if rule.about_state else rule for rule in run_filter.rules])


def read_rules(config: DictConfig) -> list[object]:
    """The list `_filters`.

    Raises:
        GridError: If it is no list.
    """
    if "_filters" in config and is_reference(node_at(config, "_filters")):
        refuse_unresolvable(config, ("_filters",))
    rules = plain_value(config.get("_filters")) or []
    if not isinstance(rules, list):
        raise GridError(f"_filters is a list of rules, got {rules!r}. Write _filters: [RULE, …].")
    return rules
