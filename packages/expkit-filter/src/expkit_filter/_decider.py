"""The decision about one run: rules first, then the records of earlier runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ._earlier_runs import compare_configs, decide_by_state
from ._rules import Rule, apply_rule
from ._selection import Candidate, Decision

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord


class Decider:
    """Decides about one run at a time, and counts what each rule skips.

    The arguments are those of `RunFilter`, checked.
    """

    def __init__(
        self,
        rules: tuple[Rule, ...],
        runs: Sequence[RunRecord],
        *,
        rerun: str,
        attempts: int,
        on_change: str | None,
        ignore: tuple[str, ...],
        code_changes: Callable[[RunRecord], Sequence[str]] | None,
    ) -> None:
        self.rules = rules
        self.on_change = on_change
        self._rerun = rerun
        self._attempts = attempts
        self._ignore = ignore
        self._code_changes = code_changes
        self._changes_by_sources: dict[str, Sequence[str]] = {}
        self._by_name = {record.run_name: record for record in runs}
        self._by_hash: dict[str, list[RunRecord]] = {}
        for record in runs:
            if record.config_hash is not None:
                self._by_hash.setdefault(record.config_hash, []).append(record)
        self.reset_counts()

    @property
    def has_runs(self) -> bool:
        """Whether there are any earlier runs."""
        return bool(self._by_name)

    def reset_counts(self) -> None:
        """Counts from zero again, for another grid."""
        self._hits = [0] * len(self.rules)
        self._examples: list[str | None] = [None] * len(self.rules)

    def decide(self, run: Candidate) -> Decision:
        """The decision about a run.

        Raises:
            FilterError: If a rule cannot be applied to it.
        """
        namesake = self._by_name.get(run.run_name)
        same, has_changed = self._records(run.config_hash, namesake)
        completed = next((record for record in same if record.state == "completed"), None)
        match = self.first_match(run, completed)
        if match is not None:
            return self.skip_by_rule(*match, run.run_name, completed)
        return decide_by_state(
            same,
            namesake,
            has_changed=has_changed,
            rerun=self._rerun,
            attempts=self._attempts,
            on_change=self.on_change,
            code_changes=self.code_changes_of,
            differences=lambda record: _differences(record, run.config, self._ignore),
            obstacle=lambda record: _obstacle(record, run.config),
        )

    def first_match(
        self, run: Candidate, completed: RunRecord | None
    ) -> tuple[int, bool | str] | None:
        """The first rule that holds: its number and its answer."""
        for number, rule in enumerate(self.rules, start=1):
            answer = apply_rule(number, rule, run, completed)
            if answer:
                return number, answer
        return None

    def skip_by_rule(
        self, number: int, answer: bool | str, run_name: str, completed: RunRecord | None = None
    ) -> Decision:
        """The decision that a rule skips a run, counted.

        Args:
            number: The rule's number, from 1.
            answer: What the rule's `holds` returned: True or a reason.
            run_name: The run's name.
            completed: A completed run with its configuration, if there is one.
        """
        rule = self.rules[number - 1]
        self._hits[number - 1] += 1
        if self._examples[number - 1] is None:
            self._examples[number - 1] = run_name or None
        reason = f"rule {number}: {answer if isinstance(answer, str) else rule.text}"
        record = completed if rule.kind == "completed" else None
        return Decision(True, rule.kind, number, reason, record)

    def explain(self) -> list[dict[str, object]]:
        """One row per rule: its text, how many runs it skipped, and the first of them."""
        return [
            {"rule": rule.text, "hits": hits, "example": example}
            for rule, hits, example in zip(self.rules, self._hits, self._examples, strict=True)
        ]

    def code_changes_of(self, record: RunRecord) -> Sequence[str]:
        """The source files of a record that have changed since."""
        # Runs of one grid share their sources: hash those files once, not once per run.
        code = record.code or {}
        key = repr((code.get("sources_hash"), code.get("sources")))
        if key not in self._changes_by_sources:
            if self._code_changes is None:
                from expkit_bookkeeping.launching import code_changes

                self._code_changes = code_changes
            self._changes_by_sources[key] = list(self._code_changes(record))
        return self._changes_by_sources[key]

    def _records(
        self, config_hash: str | None, namesake: RunRecord | None
    ) -> tuple[list[RunRecord], bool]:
        """Records with this configuration, and whether the one of this name has another."""
        if config_hash is None:
            return ([namesake] if namesake is not None else []), False
        same = self._by_hash.get(config_hash, [])
        if namesake is None or namesake.config_hash == config_hash:
            return same, False
        if namesake.config_hash is None:  # nobody computed one: the name must do
            return [*same, namesake], False
        return same, True


def _obstacle(record: RunRecord, config: Mapping[str, object]) -> str | None:
    from expkit_bookkeeping.launching import reason_not_to_continue

    return reason_not_to_continue(record, config)


def _differences(
    record: RunRecord, config: Mapping[str, object], ignore: Sequence[str]
) -> list[str]:
    from expkit_bookkeeping.reading import read_config

    try:
        old = read_config(record.folder)
    except (OSError, ValueError):
        return ["? config.yaml of the earlier run is missing or damaged, only the hashes differ"]
    return compare_configs(old, config, ignore) or [
        "? config.yaml is the same, only the hashes differ (keys left out of them, or versions)"
    ]
