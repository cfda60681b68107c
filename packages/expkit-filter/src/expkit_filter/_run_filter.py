"""The filter: rules first, then what has been done; for one run or for a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ._earlier_runs import ON_CHANGE, RERUN, compare_configs, decide_by_state
from ._errors import FilterError
from ._messages import did_you_mean
from ._rules import Rule, parse_rules
from ._selection import Candidate, Decision, Selection
from ._selection_builder import Selecting, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from expkit_bookkeeping import RunRecord

NO_IDENTITY = (
    "hydra", "_filters", "plotting", "results_dir", "experiment_id", "run_name", "expkit",
    "device", "num_workers",
)  # fmt: skip


class RunFilter:
    """Decides which runs are skipped: by rules, and by what has been done already.

    Args:
        rules: The list `_filters`. A rule that holds skips the run; the first one decides. Forms:
            an expression, `{"expr": …, "reason": …}`, a mapping of keys to values that all match
            (a list means one of these, unless the configuration's value is a list), `{"exists":
            path in the run's folder}`, `{"completed": bool}`, or `{"package.module.Class":
            {arguments}}`, made once, with a method `skip(config, run)` that returns True, False or
            the reason to skip; `run` is the `Candidate`.
        runs: The experiment's records (`expkit_bookkeeping.find_runs`).
        rerun: `missing` runs what is not completed; `failed` also what failed `attempts` times;
            `changed` also what was completed with other code; `all` everything that is not running.
        attempts: How often a failed run is tried.
        on_change: For a folder of this name with another configuration: `keep` skips, `continue`
            trains on in that folder, `rerun` puts it aside and starts afresh; None is an error.
        ignore: Keys that are no part of a run's identity, left out of differences.
        code_changes: Which source files of a record changed; `expkit_bookkeeping.code_changes` by
            default.

    Raises:
        FilterError: If a rule or an option cannot be read.

    >>> run_filter = RunFilter(["model.name == 'mlp' and lr > 0.01"])
    >>> run_filter.decide({"model": {"name": "mlp"}, "lr": 0.1}).reason
    "rule 1: model.name == 'mlp' and lr > 0.01"
    """

    def __init__(
        self,
        rules: Sequence[object] = (),
        *,
        runs: Sequence[RunRecord] = (),
        rerun: str = "missing",
        attempts: int = 3,
        on_change: str | None = None,
        ignore: Sequence[str] = NO_IDENTITY,
        code_changes: Callable[[RunRecord], Sequence[str]] | None = None,
    ) -> None:
        self._rules = parse_rules(rules)
        self._rerun = _one_of("rerun", rerun, RERUN)
        self._on_change = None if on_change is None else _one_of("on_change", on_change, ON_CHANGE)
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
            raise FilterError(f"attempts is a whole number from 1, got {attempts!r}")
        self._attempts = attempts
        self._ignore = tuple(ignore)
        self._code_changes = code_changes
        self._changes: dict[str, Sequence[str]] = {}
        self._by_name = {record.run_name: record for record in runs}
        self._by_hash: dict[str, list[RunRecord]] = {}
        for record in runs:
            if record.config_hash is not None:
                self._by_hash.setdefault(record.config_hash, []).append(record)
        self._hits = [0] * len(self._rules)
        self._examples: list[str | None] = [None] * len(self._rules)

    def decide(
        self,
        config: Mapping[str, object],
        *,
        run_name: str | None = None,
        folder: Path | None = None,
        config_hash: str | None = None,
    ) -> Decision:
        """Decides about one run.

        Args:
            config: Its configuration, resolved.
            run_name: Its name; by default that of the folder.
            folder: Its folder, which need not exist.
            config_hash: Identity of the configuration.

        Raises:
            FilterError: If a rule cannot be applied to it.
        """
        name = run_name or (folder.name if folder is not None else "")
        return self._decide(Candidate(config, name, folder, config_hash))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules as they were understood, in their order."""
        return self._rules

    @property
    def on_change(self) -> str | None:
        """What becomes of a folder of a run's name with another configuration; None is an error."""
        return self._on_change

    def select(self, candidates: Sequence[Candidate]) -> Selection:
        """Decides about a whole grid, and checks the rules against it.

        Raises:
            FilterError: If a rule reads a name that no configuration has, or that some lack without
                asking `defined()`; if rules leave nothing; if folders hold other configurations
                and `on_change` is not given. Nothing has been run or moved then.
        """
        selecting = self.selecting(lambda: candidates)
        for candidate in candidates:
            selecting.add(candidate)
        return selecting.finish()

    def selecting(self, again: Callable[[], Iterable[Candidate]]) -> Selecting:
        """Decides about a grid one run after another, for grids that are not held in memory.

        Args:
            again: Gives all runs of the grid once more; asked only where a message needs them.
        """
        self._hits = [0] * len(self._rules)
        self._examples = [None] * len(self._rules)
        return Selecting(self, again)

    def explain(self) -> list[dict[str, object]]:
        """A row a rule: its text, the runs that it skipped, the first of them.

        Counts the last `select` and every `decide` since.
        """
        return [
            {"rule": rule.text, "hits": hits, "example": example}
            for rule, hits, example in zip(self._rules, self._hits, self._examples, strict=True)
        ]

    def _decide(self, run: Candidate) -> Decision:
        named = self._by_name.get(run.run_name)
        same, is_other = self._records(run.config_hash, named)
        completed = next((record for record in same if record.state == "completed"), None)
        held = self._holding(run, completed)
        if held is not None:
            return self._skip(*held, run.run_name, completed)
        return decide_by_state(
            same,
            named,
            is_other=is_other,
            rerun=self._rerun,
            attempts=self._attempts,
            on_change=self._on_change,
            code_changes=self._changes_of,
            differences=lambda record: _differences(record, run.config, self._ignore),
        )

    def _holding(
        self, run: Candidate, completed: RunRecord | None
    ) -> tuple[int, bool | str] | None:
        """The first rule that holds: its number and its answer."""
        for number, rule in enumerate(self._rules, start=1):
            answer = ask(number, rule, run, completed)
            if answer:
                return number, answer
        return None

    def _records(
        self, config_hash: str | None, named: RunRecord | None
    ) -> tuple[list[RunRecord], bool]:
        """Records of this configuration, and whether the one of this name is of another."""
        if config_hash is None:
            return ([named] if named is not None else []), False
        same = self._by_hash.get(config_hash, [])
        if named is None or named.config_hash == config_hash:
            return same, False
        if named.config_hash is None:  # nobody computed one: the name has to do
            return [*same, named], False
        return same, True

    def _skip(
        self, number: int, answer: bool | str, run_name: str, completed: RunRecord | None
    ) -> Decision:
        rule = self._rules[number - 1]
        self._hits[number - 1] += 1
        if self._examples[number - 1] is None:
            self._examples[number - 1] = run_name or None
        reason = f"rule {number}: {answer if isinstance(answer, str) else rule.text}"
        record = completed if rule.kind == "completed" else None
        return Decision(True, rule.kind, number, reason, record)

    def _changes_of(self, record: RunRecord) -> Sequence[str]:
        # Runs of one grid share their sources: hash those files once, not once a run.
        key = repr((record.code or {}).get("sources"))
        if key not in self._changes:
            if self._code_changes is None:
                from expkit_bookkeeping import code_changes

                self._code_changes = code_changes
            self._changes[key] = list(self._code_changes(record))
        return self._changes[key]


def _one_of(option: str, value: object, allowed: Sequence[str]) -> str:
    if isinstance(value, str) and value in allowed:
        return value
    raise FilterError(
        f"{option} is one of {', '.join(allowed)}, got {value!r}."
        f"{did_you_mean(value, allowed) if isinstance(value, str) else ''}"
    )


def _differences(
    record: RunRecord, config: Mapping[str, object], ignore: Sequence[str]
) -> list[str]:
    import yaml

    try:
        old = yaml.safe_load((record.folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        old = None
    if not isinstance(old, Mapping):
        return ["? config.yaml of the earlier run is missing or damaged, only the hashes differ"]
    return compare_configs(old, config, ignore) or [
        "? config.yaml is the same, only the hashes differ (keys left out of them, or versions)"
    ]
