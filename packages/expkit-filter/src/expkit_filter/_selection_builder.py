"""Deciding about a whole grid, one run after another, and what only the whole grid can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ._dotted_names import flatten, is_defined, look_up, split
from ._earlier_runs import completed_by_code
from ._errors import FilterError, MissingName
from ._messages import did_you_mean
from ._rules import Rule
from ._selection import Candidate, Decision, Selection, UnusedRule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

    from ._run_filter import RunFilter

MOST_LINES = 20  # of a difference or a list in an error


class Selecting:
    """A selection in the making; `RunFilter.selecting` makes it.

    Holds the decisions, never the configurations.
    """

    def __init__(self, run_filter: RunFilter, again: Callable[[], Iterable[Candidate]]) -> None:
        self._filter = run_filter
        self._again = again
        self._decisions: list[Decision] = []
        self._names: list[str] = []
        self._unseen = [{name: split(name) for name in rule.names} for rule in run_filter.rules]
        self._skips: dict[tuple[int, bool | str], Decision] = {}

    def note_names(self, config: Mapping[str, object]) -> None:
        """Notes which names a configuration has, of a run that `skip` may leave out."""
        for unseen in self._unseen:
            for name in [name for name, path in unseen.items() if is_defined(config, path)]:
                del unseen[name]

    def add(self, candidate: Candidate) -> Decision:
        """Decides about the next run.

        Raises:
            FilterError: If a rule cannot be applied to it.
        """
        self.note_names(candidate.config)
        try:
            decision = self._filter._decide(candidate)
        except MissingRuleName as error:
            raise self._refusal(error, candidate) from error.__cause__
        return self._append(decision, candidate.run_name)

    def skip(self, number: int, answer: bool | str, run_name: str) -> Decision:
        """Takes the next run as skipped by a rule that was asked without its configuration.

        Args:
            number: The rule's, from 1.
            answer: What the rule's `holds` said: True or a reason.
            run_name: The run's name.
        """
        decision = self._filter._skip(number, answer, run_name, None)
        # One object for all: a grid may hold a hundred thousand of them.
        return self._append(self._skips.setdefault((number, answer), decision), run_name)

    def finish(self) -> Selection:
        """The selection.

        Raises:
            FilterError: If a rule reads a name that no configuration has, if rules leave nothing,
                or if folders hold other configurations and `on_change` is not given.
        """
        unknown = self._check_names()
        self._check_something_left()
        self._check_unchanged()
        unused = tuple(self._unused(unknown))
        warnings = [each.warning for each in unused]
        warnings += [
            f"{name} is skipped: {decision.reason}"
            for name, decision in zip(self._names, self._decisions, strict=True)
            if decision.kind == "unknown"
        ]
        completed = completed_by_code(
            self._filter._changes_of(decision.record) if decision.record is not None else ()
            for decision in self._decisions
            if decision.skip and decision.kind == "completed"
        )
        return Selection(
            decisions=tuple(self._decisions),
            rules=tuple(self._filter.explain()),
            warnings=tuple(warnings),
            completed=completed,
            unused=unused,
        )

    def _append(self, decision: Decision, run_name: str) -> Decision:
        self._decisions.append(decision)
        self._names.append(run_name)
        return decision

    def _refusal(self, error: MissingRuleName, run: Candidate) -> FilterError:
        """Of a rule that reads a name without asking `defined()`, which this run does not have."""
        lacking = total = 0
        for other in self._again():
            total += 1
            lacking += not is_defined(other.config, split(error.name))
        title = _title(error.number, error.rule)
        if lacking == total:
            return self._unknown_name(title, error.name)
        which = f"run {run.run_name!r}" if run.run_name else "the configuration"
        known = [name for name, _ in flatten(run.config)]
        return FilterError(
            f"{title} reads {error.name!r}, which {which} does not have ({lacking} of {total} runs "
            f"lack it).{did_you_mean(error.name, known)} If only some runs have it, ask first: "
            f"defined({error.name}) and …"
        )

    def _unknown_name(self, title: str, name: str) -> FilterError:
        known = self._known()
        return FilterError(
            f"{title} reads {name!r}, which no configuration of this grid has."
            f"{did_you_mean(name, known) or _some(known)}"
        )

    def _known(self) -> list[str]:
        return sorted({name for run in self._again() for name, _ in flatten(run.config)})

    def _check_names(self) -> dict[int, list[str]]:
        """Refuses names that no configuration has; those asked about with `defined()` by rule."""
        optional: dict[int, list[str]] = {}
        if not self._decisions:
            return optional
        for number, (rule, unseen) in enumerate(self._numbered(), start=1):
            guards = tuple(name for name in sorted(unseen) if name in rule.optional)
            for name in sorted(unseen):
                if not any(name == guard or name.startswith(f"{guard}.") for guard in guards):
                    raise self._unknown_name(_title(number, rule), name)
            if guards:
                optional[number] = list(guards)
        return optional

    def _numbered(self) -> Iterator[tuple[Rule, Mapping[str, object]]]:
        return zip(self._filter.rules, self._unseen, strict=True)

    def _check_something_left(self) -> None:
        decisions = self._decisions
        if not decisions or any(decision.kind != "rule" for decision in decisions):
            return
        removed = "; ".join(
            f"rule {number} ({row['rule']}) skipped {row['hits']}"
            for number, row in enumerate(self._filter.explain(), 1)
            if row["hits"]
        )
        raise FilterError(
            f"0 of {len(decisions)} runs are left: {removed}. A true rule skips the run; remove or "
            "narrow one."
        )

    def _check_unchanged(self) -> None:
        if self._filter.on_change == "keep":
            return
        stopped = [each for each in self._decisions if each.kind == "changed" and each.skip]
        if not stopped:
            return
        counts: dict[str, int] = {}
        for decision in stopped:
            for line in decision.reason.split("\n")[1:]:
                counts[line] = counts.get(line, 0) + 1
        lines = sorted(counts, key=lambda line: (-counts[line], line[2:]))
        shown = [f"  {line} ({_runs(counts[line])})" for line in lines[:MOST_LINES]]
        if len(lines) > MOST_LINES:
            shown.append(f"  … and {len(lines) - MOST_LINES} more differences")
        first = next(each.record.folder for each in stopped if each.record is not None)
        running = sum(
            each.record is not None and each.record.state == "running" for each in stopped
        )
        if running:
            shown.append(f"  ({_runs(running)} of them still running: wait for them or cancel)")
        raise FilterError(
            "\n".join(
                [
                    f"1 run of this grid has a folder with another configuration, {first}:"
                    if len(stopped) == 1
                    else f"{len(stopped)} runs of this grid have a folder with another "
                    f"configuration, the first is {first}:",
                    *shown,
                    "Choose expkit.on_change=keep (skip them), continue (train on in those "
                    "folders) or rerun (move them to .trash and start afresh), or give the grid "
                    "another experiment_id.",
                ]
            )
        )

    def _unused(self, unknown: Mapping[int, Sequence[str]]) -> Iterator[UnusedRule]:
        for number, row in enumerate(self._filter.explain(), start=1):
            rule = self._filter.rules[number - 1]
            if row["hits"] or rule.about_state or not self._decisions:
                continue
            text = f"{_title(number, rule)} never fires in this grid."
            for name in unknown.get(number, ()):
                text += f" No run has {name!r}.{did_you_mean(name, self._known())}"
            earlier, config = self._covered_by(rule)
            if earlier:
                numbers = ", ".join(f"rule {other}" for other in earlier)
                text += f" All that it holds for is skipped by {numbers} already."
            for name in sorted(rule.names):
                value = look_up(config, split(name))
                if isinstance(value, Mapping) and value and not earlier:
                    below = [
                        f"{name}.{key}" for key, item in value.items() if isinstance(item, str)
                    ]
                    hint = f": did you mean {below[0]!r}?" if below else "."
                    text += f" {name!r} is not one value but a mapping{hint}"
            yield UnusedRule(number, rule.names, text)

    def _covered_by(self, rule: Rule) -> tuple[list[int], Mapping[str, object]]:
        """Rules before it that skip all that it holds for; a configuration as an example."""
        numbers = set()
        config: Mapping[str, object] = {}
        any_skips = any(each.rule is not None for each in self._decisions)
        for candidate in self._again():
            config = config or candidate.config
            if not any_skips:  # nothing covers it: a large grid need not be made again
                break
            try:
                if not rule.holds(candidate, None):
                    continue
                decided = self._filter._holding(candidate, None)
            except FilterError:
                continue  # an earlier rule keeps it from runs that it cannot judge
            if decided is not None:
                numbers.add(decided[0])
        return sorted(numbers), config


class MissingRuleName(FilterError):
    """A rule read a name that the run does not have: what to say depends on the others."""

    def __init__(self, number: int, rule: Rule, run: Candidate, error: MissingName) -> None:
        which = f"run {run.run_name!r}" if run.run_name else "the configuration"
        known = [name for name, _ in flatten(run.config)]
        super().__init__(
            f"{_title(number, rule)} reads {error.name!r}, which {which} does not have."
            f"{did_you_mean(error.name, known)} If only some runs have it, ask first: "
            f"defined({error.name}) and …"
        )
        self.number = number
        self.rule = rule
        self.name = error.name


def ask(number: int, rule: Rule, run: Candidate, completed: RunRecord | None) -> bool | str:
    """What a rule says of a run.

    Raises:
        FilterError: With the rule's number and text, and the run's name.
    """
    try:
        return rule.holds(run, completed)
    except MissingName as error:
        raise MissingRuleName(number, rule, run, error) from error
    except FilterError as error:
        where = f"run {run.run_name!r}: " if run.run_name else ""
        raise FilterError(f"{_title(number, rule)}: {where}{error}") from error


def _some(known: Sequence[str]) -> str:
    more = ", …" if len(known) > MOST_LINES else ""
    return f" Names: {', '.join(known[:MOST_LINES])}{more}."


def _title(number: int, rule: Rule) -> str:
    return f"rule {number} ({rule.text})"


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"
