"""RunFilter: which runs are skipped, for one run or for a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ._decider import Decider
from ._earlier_runs import ON_CHANGE, RERUN
from ._errors import FilterError
from ._messages import did_you_mean
from ._rules import Rule, parse_rules
from ._selection import Candidate, Decision, Selection
from ._selection_builder import SelectionBuilder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

    from expkit_bookkeeping import RunRecord


class RunFilter:
    """Decides which runs are skipped: by rules, and by what has been done already.

    Args:
        rules: The list `_filters`. A rule that holds skips the run; the first one decides. Forms:
            an expression, `{"expr": …, "reason": …}`, a mapping of keys to values that must all
            match (a list means one of these, unless the configuration's value is a list),
            `{"exists": path in the run's folder}`, `{"completed": bool}`, or
            `{"package.module.Class": {arguments}}`. Such a class is instantiated once and has a
            method `skip(config, run)` that returns True, False or the reason to skip; `run` is the
            `Candidate`.
        runs: The experiment's records (`expkit_bookkeeping.find_runs`).
        rerun: `missing` runs what is not completed; `failed` also what failed `attempts` times;
            `changed` also what was completed with other code; `all` everything that is not running.
        attempts: How often a failed run is tried.
        on_change: For a folder of this name with another configuration: `keep` skips the run,
            `continue` goes on training in that folder, `rerun` moves it to the trash and starts
            over; None raises an error.
        ignore: Keys that are not part of a run's identity; differences leave them out. By default
            those that only steer expkit, `device` and `num_workers`.
        code_changes: Returns the source files of a record that have changed since; by default
            `expkit_bookkeeping.code_changes`.

    Raises:
        FilterError: If a rule or an option cannot be read.

    Examples:
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
        ignore: Sequence[str] | None = None,
        code_changes: Callable[[RunRecord], Sequence[str]] | None = None,
    ) -> None:
        parsed_rules = parse_rules(rules)
        rerun = _one_of("rerun", rerun, RERUN)
        on_change = None if on_change is None else _one_of("on_change", on_change, ON_CHANGE)
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
            raise FilterError(f"attempts is a whole number from 1, got {attempts!r}")
        self._decider = Decider(
            parsed_rules,
            runs,
            rerun=rerun,
            attempts=attempts,
            on_change=on_change,
            ignore=_no_identity() if ignore is None else tuple(ignore),
            code_changes=code_changes,
        )

    def decide(
        self,
        config: Mapping[str, object],
        *,
        run_name: str | None = None,
        folder: str | PathLike[str] | None = None,
        config_hash: str | None = None,
    ) -> Decision:
        """Decides about one run.

        Args:
            config: Its configuration, resolved.
            run_name: Its name; by default the folder's name.
            folder: Its folder, which need not exist.
            config_hash: Identity of the configuration.

        Raises:
            FilterError: If a rule cannot be applied to it.
        """
        path = None if folder is None else Path(folder)
        name = run_name or (path.name if path is not None else "")
        return self._decider.decide(Candidate(config, name, path, config_hash))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules as they were understood, in their order."""
        return self._decider.rules

    @property
    def on_change(self) -> str | None:
        """What happens to a folder of a run's name with another configuration; None: an error."""
        return self._decider.on_change

    def select(self, candidates: Sequence[Candidate]) -> Selection:
        """Decides about a whole grid, and checks the rules against it.

        Raises:
            FilterError: If a rule reads a name that no configuration has, or one that some lack
                without asking `defined()` first; if the rules skip all runs; if folders have other
                configurations and `on_change` is None. Nothing has been run or moved by then.
        """
        builder = self.selecting(lambda: candidates)
        for candidate in candidates:
            builder.add(candidate)
        return builder.finish()

    def selecting(self, again: Callable[[], Iterable[Candidate]]) -> SelectionBuilder:
        """Decides about a grid one run after another, for grids that are not held in memory.

        Args:
            again: Returns all runs of the grid once more; called only if a message needs them.
        """
        self._decider.reset_counts()
        return SelectionBuilder(self._decider, again)

    def explain(self) -> list[dict[str, object]]:
        """One row per rule: its text, how many runs it skipped, and the first of them.

        Counts the last `select` and every `decide` since.
        """
        return self._decider.explain()


def _no_identity() -> tuple[str, ...]:
    from expkit_bookkeeping.launching import IGNORED_BY_DEFAULT, NO_PART_OF_IDENTITY

    return (*sorted(NO_PART_OF_IDENTITY), *IGNORED_BY_DEFAULT)


def _one_of(option: str, value: object, allowed: Sequence[str]) -> str:
    if isinstance(value, str) and value in allowed:
        return value
    raise FilterError(
        f"{option} is one of {', '.join(allowed)}, got {value!r}."
        f"{did_you_mean(value, allowed) if isinstance(value, str) else ''}"
    )
