"""What is asked about a run, and what is answered."""

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
        run_name: Its name, by which messages call it.
        folder: Its folder, which need not exist; rules with `exists:` look there.
        config_hash: Identity of the configuration; None where nobody computed one, then the name
            alone tells whether the run has been done.
    """

    config: Mapping[str, object]
    run_name: str
    folder: Path | None = None
    config_hash: str | None = None


@dataclass(frozen=True)
class Decision:
    """What is to become of one run, and why.

    Attributes:
        skip: Whether the run is left out.
        kind: `rule` (a rule of `_filters` holds), `completed` (done, as its state or an `exists:`
            or `completed:` rule says), `running` (somebody has it), `given_up` (failed too often),
            `changed` (the folder of this name holds another configuration), `unknown` (its
            `run.json` cannot be read) or `run`.
        rule: Number of the rule that holds, from 1, or None.
        reason: For people: one line, or a difference by key after it.
        record: The earlier run that decided, if any.
        to_trash: The folder of this name must move to the trash before the run starts.
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
        number: The rule's, from 1.
        names: Dotted names that it reads.
        warning: For people, with a guess why.
    """

    number: int
    names: frozenset[str]
    warning: str


@dataclass(frozen=True)
class Selection:
    """The decisions about a whole grid.

    Attributes:
        decisions: One for each candidate, in their order.
        rules: A row a rule: `{"rule": text, "hits": runs it skipped, "example": name or None}`.
        warnings: Rules that never fire, and runs that cannot be read.
        completed: How the completed runs stand to today's code
            (`24 completed, skipped: 18 with this code, 6 with older code (models.py changed)`);
            empty if there are none.
        unused: Rules that never fire, whose warnings are among `warnings`.
    """

    decisions: tuple[Decision, ...]
    rules: tuple[dict[str, object], ...] = ()
    warnings: tuple[str, ...] = ()
    completed: str = ""
    unused: tuple[UnusedRule, ...] = ()

    @property
    def to_run(self) -> tuple[int, ...]:
        """Positions of the runs that are left."""
        return tuple(i for i, decision in enumerate(self.decisions) if not decision.skip)

    def summary(self) -> str:
        """One line of counts.

        >>> skipped, left = Decision(True, "rule", 1, "rule 1"), Decision(False, "run", None, "")
        >>> Selection((skipped, left, left)).summary()
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
    ("unknown", "unreadable"),
)
