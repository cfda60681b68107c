"""The selection of a whole grid, built run by run, and checks that need the whole grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ._dotted_names import flatten, is_defined, look_up, split
from ._earlier_runs import completed_by_code
from ._errors import FilterError
from ._messages import did_you_mean_key, own_keys
from ._rules import MissingNameInRule, Rule, rule_title
from ._selection import Candidate, Decision, Selection, UnusedRule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._decider import Decider

MOST_LINES = 20  # of a difference or a list in an error


class SelectionBuilder:
    """Builds the selection of a grid run by run; `RunFilter.selecting` returns one.

    Holds the decisions, never the configurations.
    """

    def __init__(self, decider: Decider, again: Callable[[], Iterable[Candidate]]) -> None:
        self._decider = decider
        self._again = again
        self._decisions: list[Decision] = []
        self._run_names: list[str] = []
        # By rule, the names that no configuration has had so far.
        self._missing = [{name: split(name) for name in rule.names} for rule in decider.rules]
        self._skips: dict[tuple[int, bool | str], Decision] = {}

    def note_names(self, config: Mapping[str, object]) -> None:
        """Notes which names a configuration has; for a run that `skip` takes without it."""
        for missing in self._missing:
            for name in [name for name, path in missing.items() if is_defined(config, path)]:
                del missing[name]

    def add(self, candidate: Candidate) -> Decision:
        """Decides about the next run.

        Raises:
            FilterError: If a rule cannot be applied to it.
        """
        self.note_names(candidate.config)
        try:
            decision = self._decider.decide(candidate)
        except MissingNameInRule as error:
            raise self._missing_name(error, candidate) from error.__cause__
        return self._append(decision, candidate.run_name)

    def skip(self, number: int, answer: bool | str, run_name: str) -> Decision:
        """Adds the next run as skipped by a rule that was applied without its configuration.

        Args:
            number: The rule's number, from 1.
            answer: What the rule's `holds` returned: True or a reason.
            run_name: The run's name.
        """
        decision = self._decider.skip_by_rule(number, answer, run_name)
        # One object for all: a grid may have a hundred thousand of them.
        return self._append(self._skips.setdefault((number, answer), decision), run_name)

    def finish(self) -> Selection:
        """The selection.

        Raises:
            FilterError: If a rule reads a name that no configuration has, if the rules skip all
                runs, or if folders have other configurations and `on_change` is None.
        """
        undefined = self._check_names()
        self._check_something_left()
        self._check_unchanged()
        unused = tuple(self._unused(undefined))
        warnings = [rule.warning for rule in unused]
        warnings += [
            f"{name} is skipped: {decision.reason}"
            for name, decision in zip(self._run_names, self._decisions, strict=True)
            if decision.kind == "unknown"
        ]
        continuing = [decision for decision in self._decisions if _continues(decision)]
        warnings += self._nothing_continues()
        completed = completed_by_code(
            self._decider.code_changes_of(decision.record) if decision.record is not None else ()
            for decision in self._decisions
            if decision.skip and decision.kind == "completed"
        )
        return Selection(
            decisions=tuple(self._decisions),
            rules=tuple(self._decider.explain()),
            warnings=tuple(warnings),
            completed=completed,
            unused=unused,
            continuing=_describe_continuing(continuing),
        )

    def _append(self, decision: Decision, run_name: str) -> Decision:
        self._decisions.append(decision)
        self._run_names.append(run_name)
        return decision

    def _missing_name(self, error: MissingNameInRule, run: Candidate) -> FilterError:
        """The error about a name that this run lacks and the rule does not ask `defined()` for."""
        lacking = total = 0
        for candidate in self._again():
            total += 1
            lacking += not is_defined(candidate.config, split(error.name))
        title = rule_title(error.number, error.rule)
        if lacking == total:
            return self._unknown_name(title, error.name)
        subject = f"run {run.run_name!r}" if run.run_name else "the configuration"
        names = [name for name, _ in flatten(run.config)]
        return FilterError(
            f"{title} reads {error.name!r}, which {subject} does not have ({lacking} of {total} "
            f"runs lack it).{did_you_mean_key(error.name, names)} If only some runs have it, ask "
            f"first: defined({error.name}) and …"
        )

    def _unknown_name(self, title: str, name: str) -> FilterError:
        names = self._all_names()
        return FilterError(
            f"{title} reads {name!r}, which no configuration of this grid has."
            f"{did_you_mean_key(name, names) or _list(own_keys(names))} If only other grids have "
            f"it, ask first: defined({name}) and …"
        )

    def _all_names(self) -> list[str]:
        return sorted({name for run in self._again() for name, _ in flatten(run.config)})

    def _check_names(self) -> dict[int, list[str]]:
        """Refuses names that no configuration has.

        Returns:
            By rule, such names that it asks about with `defined()`, which are allowed.
        """
        undefined: dict[int, list[str]] = {}
        if not self._decisions:
            return undefined
        rules = zip(self._decider.rules, self._missing, strict=True)
        for number, (rule, missing) in enumerate(rules, start=1):
            guards = tuple(name for name in sorted(missing) if name in rule.optional)
            for name in sorted(missing):
                if not any(name == guard or name.startswith(f"{guard}.") for guard in guards):
                    raise self._unknown_name(rule_title(number, rule), name)
            if guards:
                undefined[number] = list(guards)
        return undefined

    def _check_something_left(self) -> None:
        decisions = self._decisions
        if not decisions or any(decision.kind != "rule" for decision in decisions):
            return
        hits_by_rule = "; ".join(
            f"rule {number} ({row['rule']}) skipped {row['hits']}"
            for number, row in enumerate(self._decider.explain(), 1)
            if row["hits"]
        )
        raise FilterError(
            f"0 of {len(decisions)} runs are left: {hits_by_rule}. A true rule skips the run; "
            "remove or narrow one."
        )

    def _check_unchanged(self) -> None:
        if self._decider.on_change == "keep":
            return
        changed = [decision for decision in self._decisions if _has_changed(decision)]
        if not changed:
            return
        shown = [f"  {line}" for line in _differences_of(changed)]
        records = [decision.record for decision in changed if decision.record is not None]
        first = records[0].folder
        running = sum(record.state == "running" for record in records)
        if running:
            shown.append(f"  ({_run_count(running)} of them still running: wait or cancel)")
        raise FilterError(
            "\n".join(
                [
                    f"1 run of this grid has a folder with another configuration, {first}:"
                    if len(changed) == 1
                    else f"{len(changed)} runs of this grid have a folder with another "
                    f"configuration, the first is {first}:",
                    *shown,
                    "Choose expkit.on_change=keep (skip them), continue (go on training from their "
                    "checkpoints, for instance for more epochs) or rerun (move them to .trash and "
                    "start over), or give the grid another experiment_id.",
                ]
            )
        )

    def _nothing_continues(self) -> Iterator[str]:
        """A warning if `on_change=continue` continues nothing, and new runs start instead."""
        asked = [decision for decision in self._decisions if decision.kind != "rule"]
        if self._decider.on_change != "continue" or not asked or not self._decider.has_runs:
            return
        if all(decision.kind == "run" and decision.record is None for decision in asked):
            yield (
                "expkit.on_change=continue continues runs of the same name, and none of this grid "
                f"has been there before: {_run_count(len(asked))} begin at epoch 0. Where names "
                "contain the number of epochs, as it is swept or in run_name, a run with more "
                "epochs is another run."
            )

    def _unused(self, undefined: Mapping[int, Sequence[str]]) -> Iterator[UnusedRule]:
        for number, row in enumerate(self._decider.explain(), start=1):
            rule = self._decider.rules[number - 1]
            if row["hits"] or rule.about_state or not self._decisions:
                continue
            text = f"{rule_title(number, rule)} never fires in this grid."
            for name in undefined.get(number, ()):
                text += f" No run has {name!r}.{did_you_mean_key(name, self._all_names())}"
            covering, config = self._covered_by(rule)
            if covering:
                numbers = ", ".join(f"rule {other}" for other in covering)
                text += f" All runs for which it holds are already skipped by {numbers}."
            for name in sorted(rule.names):
                value = look_up(config, split(name))
                if isinstance(value, Mapping) and value and not covering:
                    options = [
                        f"{name}.{key}" for key, item in value.items() if isinstance(item, str)
                    ]
                    hint = f": did you mean {options[0]!r}?" if options else "."
                    text += f" {name!r} is not one value but a mapping{hint}"
            yield UnusedRule(number, rule.names, text)

    def _covered_by(self, rule: Rule) -> tuple[list[int], Mapping[str, object]]:
        """The rules that skip all runs for which this one holds; a configuration as an example."""
        numbers = set()
        config: Mapping[str, object] = {}
        any_skips = any(decision.rule is not None for decision in self._decisions)
        for candidate in self._again():
            config = config or candidate.config
            if not any_skips:  # nothing covers it: do not compose a large grid again
                break
            try:
                if not rule.holds(candidate, None):
                    continue
                match = self._decider.first_match(candidate, None)
            except FilterError:
                continue  # an earlier rule keeps it from runs to which it cannot be applied
            if match is not None:
                numbers.add(match[0])
        return sorted(numbers), config


def _continues(decision: Decision) -> bool:
    return decision.kind == "changed" and not decision.skip and not decision.to_trash


def _describe_continuing(decisions: Sequence[Decision]) -> str:
    if not decisions:
        return ""
    verb = "continues" if len(decisions) == 1 else "continue"
    differences = "; ".join(_differences_of(decisions))
    return f"{len(decisions)} {verb} with another configuration: {differences}"


def _differences_of(decisions: Sequence[Decision]) -> list[str]:
    """The differences by key, each with the number of runs."""
    counts: dict[str, int] = {}
    for decision in decisions:
        for line in decision.reason.split("\n")[1:]:
            counts[line] = counts.get(line, 0) + 1
    lines = sorted(counts, key=lambda line: (-counts[line], line[2:]))
    shown = [f"{line} ({_run_count(counts[line])})" for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        shown.append(f"… and {len(lines) - MOST_LINES} more differences")
    return shown


def _has_changed(decision: Decision) -> bool:
    return decision.kind == "changed" and decision.skip


def _list(names: Sequence[str]) -> str:
    more = ", …" if len(names) > MOST_LINES else ""
    return f" Names: {', '.join(names[:MOST_LINES])}{more}."


def _run_count(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"
