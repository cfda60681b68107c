"""The filter: rules first, then what has been done; for one run or for a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ._decisions import Candidate, Decision, Selection
from ._errors import FilterError, MissingName
from ._names import MISSING, flatten, look_up, near, split
from ._rules import Rule, parse_rules
from ._states import ON_CHANGE, RERUN, compare_configs, completed_by_code, decide_by_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from expkit_bookkeeping import RunRecord

NO_IDENTITY = (
    "hydra", "_filters", "plotting", "results_dir", "experiment_id", "run_name", "expkit",
    "device", "num_workers",
)  # fmt: skip
MOST_LINES = 20  # of a difference or a list in an error


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

    def select(self, candidates: Sequence[Candidate]) -> Selection:
        """Decides about a whole grid, and checks the rules against it.

        Raises:
            FilterError: If a rule reads a name that no configuration has, or that some lack without
                asking `defined()`; if rules leave nothing; if folders hold other configurations
                and `on_change` is not given. Nothing has been run or moved then.
        """
        self._hits = [0] * len(self._rules)
        self._examples = [None] * len(self._rules)
        unknown = self._check_names(candidates)
        decisions = tuple(self._decide(candidate, candidates) for candidate in candidates)
        self._check_something_left(decisions)
        self._check_unchanged(candidates, decisions)
        warnings = [*self._unused(candidates, decisions, unknown)]
        warnings += [
            f"{candidate.run_name} is skipped: {decision.reason}"
            for candidate, decision in zip(candidates, decisions, strict=True)
            if decision.kind == "unknown"
        ]
        completed = completed_by_code(
            self._changes_of(decision.record) if decision.record is not None else ()
            for decision in decisions
            if decision.skip and decision.kind == "completed"
        )
        return Selection(decisions, tuple(self.explain()), tuple(warnings), completed)

    def explain(self) -> list[dict[str, object]]:
        """A row a rule: its text, the runs that it skipped, the first of them.

        Counts the last `select` and every `decide` since.
        """
        return [
            {"rule": rule.text, "hits": hits, "example": example}
            for rule, hits, example in zip(self._rules, self._hits, self._examples, strict=True)
        ]

    def _decide(self, run: Candidate, grid: Sequence[Candidate] = ()) -> Decision:
        named = self._by_name.get(run.run_name)
        same, is_other = self._records(run.config_hash, named)
        completed = next((record for record in same if record.state == "completed"), None)
        for number, rule in enumerate(self._rules, start=1):
            answer = self._ask(number, rule, run, completed, grid)
            if not answer:
                continue
            self._hits[number - 1] += 1
            if self._examples[number - 1] is None:
                self._examples[number - 1] = run.run_name or None
            reason = f"rule {number}: {answer if isinstance(answer, str) else rule.text}"
            record = completed if rule.kind == "completed" else None
            return Decision(True, rule.kind, number, reason, record)
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

    def _ask(
        self,
        number: int,
        rule: Rule,
        run: Candidate,
        completed: RunRecord | None,
        grid: Sequence[Candidate],
    ) -> bool | str:
        try:
            return rule.holds(run, completed)
        except MissingName as error:
            lacking = [other for other in grid if not _has(other.config, error.name)]
            count = f" ({len(lacking)} of {len(grid)} runs lack it)" if grid else ""
            which = f"run {run.run_name!r}" if run.run_name else "the configuration"
            known = [name for name, _ in flatten(run.config)]
            raise FilterError(
                f"{_title(number, rule)} reads {error.name!r}, which {which} does not have{count}."
                f"{_guess(error.name, known)} If only some runs have it, ask first: "
                f"defined({error.name}) and …"
            ) from error
        except FilterError as error:
            where = f"run {run.run_name!r}: " if run.run_name else ""
            raise FilterError(f"{_title(number, rule)}: {where}{error}") from error

    def _check_names(self, candidates: Sequence[Candidate]) -> dict[int, list[str]]:
        """Refuses names that no configuration has; those asked about with `defined()` by rule."""
        if not candidates:
            return {}
        optional: dict[int, list[str]] = {}
        for number, rule in enumerate(self._rules, start=1):
            absent = [
                name
                for name in sorted(rule.names)
                if not any(_has(candidate.config, name) for candidate in candidates)
            ]
            guards = tuple(name for name in absent if name in rule.optional)
            for name in absent:
                if not any(name == guard or name.startswith(f"{guard}.") for guard in guards):
                    known = _known(candidates)
                    raise FilterError(
                        f"{_title(number, rule)} reads {name!r}, which no configuration of this "
                        f"grid has.{_guess(name, known) or _some(known)}"
                    )
            if guards:
                optional[number] = list(guards)
        return optional

    def _check_something_left(self, decisions: Sequence[Decision]) -> None:
        if not decisions or any(decision.kind != "rule" for decision in decisions):
            return
        removed = "; ".join(
            f"rule {number} ({rule.text}) skipped {hits}"
            for number, (rule, hits) in enumerate(zip(self._rules, self._hits, strict=True), 1)
            if hits
        )
        raise FilterError(
            f"0 of {len(decisions)} runs are left: {removed}. A true rule skips the run; remove or "
            "narrow one."
        )

    def _check_unchanged(
        self, candidates: Sequence[Candidate], decisions: Sequence[Decision]
    ) -> None:
        stopped = [
            (candidate, decision)
            for candidate, decision in zip(candidates, decisions, strict=True)
            if decision.kind == "changed" and decision.skip and self._on_change != "keep"
        ]
        if not stopped:
            return
        counts: dict[str, int] = {}
        for _, decision in stopped:
            for line in decision.reason.split("\n")[1:]:
                counts[line] = counts.get(line, 0) + 1
        lines = sorted(counts, key=lambda line: (-counts[line], line[2:]))
        shown = [f"  {line} ({_runs(counts[line])})" for line in lines[:MOST_LINES]]
        if len(lines) > MOST_LINES:
            shown.append(f"  … and {len(lines) - MOST_LINES} more differences")
        example, decision = stopped[0]
        folder = decision.record.folder if decision.record is not None else example.folder
        running = sum(
            decision.record is not None and decision.record.state == "running"
            for _, decision in stopped
        )
        if running:
            shown.append(f"  ({_runs(running)} of them still running: wait for them or cancel)")
        raise FilterError(
            "\n".join(
                [
                    f"{_runs(len(stopped))} of this grid have a folder with another configuration, "
                    f"the first is {folder}:",
                    *shown,
                    "Choose expkit.on_change=keep (skip them), continue (train on in those "
                    "folders) or rerun (move them to .trash and start afresh), or give the grid "
                    "another experiment_id.",
                ]
            )
        )

    def _unused(
        self,
        candidates: Sequence[Candidate],
        decisions: Sequence[Decision],
        unknown: Mapping[int, Sequence[str]],
    ) -> Iterable[str]:
        for number, rule in enumerate(self._rules, start=1):
            if self._hits[number - 1] or rule.about_state or not candidates:
                continue
            text = f"{_title(number, rule)} never fires in this grid."
            for name in unknown.get(number, ()):
                text += f" No run has {name!r}.{_guess(name, _known(candidates))}"
            earlier = self._covered_by(rule, candidates, decisions)
            if earlier:
                numbers = ", ".join(f"rule {other}" for other in earlier)
                text += f" All that it holds for is skipped by {numbers} already."
            config = candidates[0].config
            for name in sorted(rule.names):
                value = look_up(config, split(name))
                if isinstance(value, Mapping) and value and not earlier:
                    below = [
                        f"{name}.{key}" for key, item in value.items() if isinstance(item, str)
                    ]
                    hint = f": did you mean {below[0]!r}?" if below else "."
                    text += f" {name!r} is not one value but a mapping{hint}"
            yield text

    def _covered_by(
        self, rule: Rule, candidates: Sequence[Candidate], decisions: Sequence[Decision]
    ) -> list[int]:
        numbers = set()
        for candidate, decision in zip(candidates, decisions, strict=True):
            if decision.rule is None:
                continue
            try:
                if rule.holds(candidate, None):
                    numbers.add(decision.rule)
            except FilterError:
                continue  # an earlier rule keeps it from runs that it cannot judge
        return sorted(numbers)

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
        f"{_guess(value, allowed) if isinstance(value, str) else ''}"
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


def _has(config: Mapping[str, object], name: str) -> bool:
    return look_up(config, split(name)) is not MISSING


def _known(candidates: Sequence[Candidate]) -> list[str]:
    return sorted({name for candidate in candidates for name, _ in flatten(candidate.config)})


def _guess(name: str, known: Iterable[str]) -> str:
    guesses = near(name, known)
    return f" Did you mean {' or '.join(map(repr, guesses))}?" if guesses else ""


def _some(known: Sequence[str]) -> str:
    more = ", …" if len(known) > MOST_LINES else ""
    return f" Names: {', '.join(known[:MOST_LINES])}{more}."


def _title(number: int, rule: Rule) -> str:
    return f"rule {number} ({rule.text})"


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"
