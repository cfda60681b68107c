"""Candidates, the decisions about them, and the selection of a whole grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from expkit_bookkeeping import RunRecord


@dataclass(frozen=True)
class Candidate:
    """One run of a grid before anything is decided about it.

    Attributes:
        config: The run's configuration, resolved: nested mappings, lists and plain values.
        run_name: Its name, as messages show it.
        folder: Its folder, which need not exist; rules with `exists:` look there.
        config_hash: Identity of the configuration. If None, the name alone decides whether the run
            has been done.
    """

    config: Mapping[str, object]
    run_name: str
    folder: Path | None = None
    config_hash: str | None = None


@dataclass(frozen=True)
class Decision:
    """Whether one run is skipped, and why.

    Attributes:
        skip: Whether the run is skipped.
        kind: `rule` (a rule of `_filters` holds), `completed` (done, according to its state or an
            `exists:` or `completed:` rule), `running` (another process has it), `given_up` (failed
            too often), `changed` (the folder of this name has another configuration),
            `cannot_continue` (it has, and cannot go on with this one), `unknown` (its `run.json`
            cannot be read) or `run`.
        rule: Number of the rule that holds, from 1, or None.
        reason: For people: one line, sometimes followed by the differences, one line per key.
        record: The record of the earlier run that decided, if any.
        to_trash: Whether the folder of this name must move to the trash before the run starts.
    """

    skip: bool
    kind: str
    rule: int | None
    reason: str
    record: RunRecord | None = None
    to_trash: bool = False


@dataclass(frozen=True)
class UnusedRule:
    """A rule that holds for no run of a grid.

    Attributes:
        number: The rule's number, from 1.
        names: The dotted names that it reads.
        warning: For people, with a guess at the reason.
    """

    number: int
    names: frozenset[str]
    warning: str


@dataclass(frozen=True)
class Selection:
    """The decisions about a whole grid.

    Attributes:
        decisions: One per candidate, in their order.
        rules: One row per rule:
            `{"rule": text, "hits": runs it skipped, "example": name or None}`.
        warnings: About rules that never fire, and about runs that cannot be read.
        completed: How many of the completed runs were made with today's code
            (`24 completed, skipped: 18 with this code, 6 with older code (models.py changed)`);
            empty if there are none.
        unused: Rules that never fire; their warnings are among `warnings`.
        continuing: How many runs go on in folders with another configuration, and the differences
            by key (`2 continue with another configuration: ~ epochs=20 → 40 (2 runs)`); empty if
            none does.
    """

    decisions: tuple[Decision, ...]
    rules: tuple[dict[str, object], ...] = ()
    warnings: tuple[str, ...] = ()
    completed: str = ""
    unused: tuple[UnusedRule, ...] = ()
    continuing: str = ""

    @property
    def to_run(self) -> tuple[int, ...]:
        """Positions of the runs that are not skipped."""
        return tuple(i for i, decision in enumerate(self.decisions) if not decision.skip)

    def summary(self) -> str:
        """The counts, in one line.

        Examples:
            >>> skipped = Decision(True, "rule", 1, "rule 1")
            >>> new = Decision(False, "run", None, "new")
            >>> Selection((skipped, new, new)).summary()
            '3 in the grid, 1 skipped by rule 1, 2 to run'
        """
        parts = [f"{len(self.decisions)} in the grid"]
        by_rule: dict[int, int] = {}
        by_kind: dict[str, int] = {}
        for decision in self.decisions:
            if decision.skip and decision.kind == "rule" and decision.rule is not None:
                by_rule[decision.rule] = by_rule.get(decision.rule, 0) + 1
            elif decision.skip:
                by_kind[decision.kind] = by_kind.get(decision.kind, 0) + 1
        parts += [f"{hits} skipped by rule {rule}" for rule, hits in sorted(by_rule.items())]
        parts += [f"{count} {text}" for kind, text in _KINDS if (count := by_kind.get(kind, 0))]
        return ", ".join([*parts, f"{len(self.to_run)} to run"])


_KINDS = (
    ("completed", "completed"),
    ("running", "running"),
    ("given_up", "given up"),
    ("changed", "kept with another configuration"),
    ("cannot_continue", "cannot continue"),
    ("unknown", "unreadable"),
)
