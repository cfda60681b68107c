"""A grid in the making: which runs there are, and what becomes of each, in one pass.

Only what a grid's files hold of a run is kept: configurations are looked at one after another.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ._composition import Composer, Place
from ._errors import GridError
from ._expansion import Expansion
from ._frozen import FrozenConfigs
from ._grid import GridRun
from ._identity import NO_PART_OF_IDENTITY, ignored_keys, plain_value
from ._members import Experiment, Member, members
from ._names import refuse_shared_names
from ._pruning import shape_of_run
from ._shapes import Facts, Naming, Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

    from expkit_bookkeeping import RunRecord
    from expkit_filter import Candidate, Decision, RunFilter, Selection


@dataclass
class Draft:
    """The runs of a grid, decided about.

    Attributes:
        experiment: The experiment's folder.
        records: Its runs on which that was decided.
        runs: The different runs of the product, in its order.
        selection: What becomes of them.
        frozen: The configurations of those that no rule skips.
        blocks: Size of each block of a union, and how many of its runs stand before them already.
    """

    experiment: Path
    records: "Sequence[RunRecord]"
    selection: "Selection"
    runs: list[GridRun] = field(default_factory=list)
    frozen: FrozenConfigs = field(default_factory=FrozenConfigs)
    blocks: list[dict[str, int]] = field(default_factory=list)


def draft_grid(
    config: "DictConfig", expansion: Expansion, composer: Composer, naming: Naming
) -> Draft:
    """Compose, name, identify and decide about the runs of a grid.

    Args:
        config: The configuration of the sweep.
        expansion: The runs' overrides.
        composer: Composes a run.
        naming: How they are named.

    Raises:
        GridError: If a rule or an option cannot be read, if the runs have no names or folders of
            their own, if rules leave nothing, or if folders hold other configurations and
            `expkit.on_change` is not given.
    """
    from expkit_filter import FilterError

    try:
        return _Drafting(config, expansion, composer, naming).draft()
    except FilterError as error:
        raise GridError(str(error)) from error


class _Drafting:
    def __init__(
        self, config: "DictConfig", expansion: Expansion, composer: Composer, naming: Naming
    ) -> None:
        from expkit_filter import RunFilter

        self._config = config
        self._expansion = expansion
        self._composer = composer
        self._naming = naming
        self._rules = RunFilter(read_rules(config)).rules
        self._experiment = Experiment()
        self._runs: list[GridRun] = []
        self._frozen = FrozenConfigs()
        self._seen: dict[str, GridRun] = {}  # by hash
        self._shapes: set[Shape] = set()
        self._places: list[int] = []  # in the product, of the runs that are no duplicates

    def draft(self) -> Draft:
        stream = members(self._expansion, self._composer, self._naming, self._rules)
        first = next(stream)
        # Whatever becomes of the first run: it says where the experiment is.
        self._experiment.enter(first.facts())
        records, run_filter = self._open()
        self._lasting = _without_state(run_filter)
        self._selecting = run_filter.selecting(self._candidates)
        self._take(first)
        for member in stream:
            self._take(member)
        kept = [run for run in self._runs if run.skipped_by is None]
        refuse_shared_names(
            [run.run_name for run in kept],
            [run.values for run in kept],
            [str(run.config_hash) for run in kept],
            indices=[run.index for run in kept],
            template=self._naming.template,
            groups=list(self._config.hydra.runtime.choices),
        )
        assert self._experiment.folder is not None
        return Draft(
            experiment=self._experiment.folder,
            records=records,
            selection=self._selecting.finish(),
            runs=self._runs,
            frozen=self._frozen,
            blocks=self._count_blocks(),
        )

    def _open(self) -> "tuple[Sequence[RunRecord], RunFilter]":
        from expkit_bookkeeping import find_runs
        from expkit_filter import RunFilter

        from ._schedulers import ask_schedulers

        settings = self._config.expkit
        ignored = plain_value(settings.get("ignore")) or []
        if not isinstance(ignored, list):
            raise GridError(
                f"expkit.ignore is a list of keys, got {ignored!r}. "
                f"Write expkit.ignore: [{ignored}]."
            )
        assert self._experiment.folder is not None
        folder = self._experiment.folder
        records = find_runs(folder, is_alive=ask_schedulers(folder).is_alive)
        return records, RunFilter(
            self._rules,
            runs=records,
            rerun=settings.get("rerun", "missing"),
            attempts=settings.get("attempts", 3),
            on_change=settings.get("on_change"),
            ignore=[*sorted(NO_PART_OF_IDENTITY), *map(str, ignored)],
        )

    def _take(self, member: Member) -> None:
        index = len(self._runs)
        if member.held is not None:
            if member.shape not in self._shapes:
                self._shapes.add(member.shape)
                self._selecting.note_names(member.shape.static)
            values, run_name = member.shape.name(member.plan)
            self._selecting.skip(*member.held, run_name)
            folder = self._folder(run_name)
            self._append(member, index, run_name, values, None, member.held[0], folder)
            return
        facts = member.facts()
        folder = self._experiment.enter(facts)
        if facts.config_hash in self._seen:
            self._refuse_ignored(self._seen[facts.config_hash], member, facts)
            return
        candidate = _candidate(facts, folder)
        decision = self._selecting.add(candidate)
        rule = self._lasting_rule(decision, candidate)
        if rule is None:
            self._frozen.add(index, member.plan, Place(facts.run_name, self._naming.pinned))
        hashed = facts.config_hash
        self._append(member, index, facts.run_name, facts.values, hashed, rule, folder)
        self._seen[hashed] = self._runs[-1]

    def _refuse_ignored(self, first: GridRun, member: Member, facts: Facts) -> None:
        """Refuse to take a run for a repeated one that was asked for and differs.

        Raises:
            GridError: If a group that the grid sweeps sets a key that `expkit.ignore` names.
        """
        if first.values == facts.values:
            return
        plan = self._composer.plan(member.position, first.overrides)
        before = shape_of_run(plan, self._naming).facts(plan).data
        ignored = ignored_keys(facts.data, self._naming.keys)
        for key in ignored:
            path = key.split(".")
            values = _value_at(before, path), _value_at(facts.data, path)
            if values[0] != values[1]:
                raise GridError(
                    f"The runs {' '.join(first.overrides)} and {' '.join(member.overrides)} differ "
                    f"only in {key} ({values[0]} and {values[1]}), which expkit.ignore leaves out "
                    "of what a run is: one of them would never run. Take it out: expkit.ignore=["
                    f"{','.join(each for each in ignored if each != key)}]"
                )

    def _append(
        self,
        member: Member,
        index: int,
        run_name: str,
        values: Mapping[str, object],
        config_hash: str | None,
        rule: int | None,
        folder: Path,
    ) -> None:
        self._places.append(member.position)
        self._runs.append(
            GridRun(
                index=index,
                run_name=run_name,
                overrides=member.overrides,
                values=values,
                config_hash=config_hash,
                skipped_by=None if rule is None else f"rule {rule}",
                folder=folder,
            )
        )

    def _folder(self, run_name: str) -> Path:
        assert self._experiment.folder is not None
        return self._experiment.folder / "training" / run_name

    def _lasting_rule(self, decision: "Decision", candidate: "Candidate") -> int | None:
        """The rule by which a run is no part of the grid, whatever has been done.

        Rules about what is done (`exists:`, `completed:`) leave a run in the grid: what they say
        changes as runs finish, and the same grid is to stay the same.
        """
        from expkit_filter import FilterError

        if decision.rule is None or not self._rules[decision.rule - 1].about_state:
            return decision.rule
        try:
            return self._lasting.decide(candidate.config, folder=candidate.folder).rule
        except FilterError:  # a rule that the rule about state kept from runs it cannot judge
            return None

    def _candidates(self) -> "Iterator[Candidate]":
        """The different runs once more, without the short cuts: for messages."""
        seen = set()
        for member in members(self._expansion, self._composer, self._naming, show=False):
            facts = member.facts()
            if facts.config_hash not in seen:
                seen.add(facts.config_hash)
                yield _candidate(facts, self._folder(facts.run_name))

    def _count_blocks(self) -> list[dict[str, int]]:
        counts = []
        start = 0
        for size in self._expansion.sizes:
            kept = sum(1 for place in self._places if start <= place < start + size)
            counts.append({"product": size, "duplicates": size - kept})
            start += size
        return counts


def _value_at(data: object, path: Sequence[str]) -> object:
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _candidate(facts: Facts, folder: Path) -> "Candidate":
    from expkit_filter import Candidate

    return Candidate(facts.data, facts.run_name, folder, facts.config_hash)


def _without_state(run_filter: "RunFilter") -> "RunFilter":
    """The same rules, but for those about what is done; the others keep their numbers."""
    from expkit_filter import RunFilter

    return RunFilter(["False" if rule.about_state else rule for rule in run_filter.rules])


def read_rules(config: "DictConfig") -> list[object]:
    """The list `_filters`.

    Raises:
        GridError: If it is no list.
    """
    rules = plain_value(config.get("_filters")) or []
    if not isinstance(rules, list):
        raise GridError(f"_filters is a list of rules, got {rules!r}. Write _filters: [RULE, …].")
    return rules
