"""Which runs of a grid are left, and what the user is told about it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ._errors import GridError
from ._expansion import Expansion
from ._identity import NO_PART_OF_IDENTITY, plain_value
from ._members import Member, count_blocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

    from expkit_bookkeeping import RunRecord
    from expkit_filter import Candidate, Selection

_ABOUT_STATE = frozenset(["exists", "completed"])  # keys of such rules
MOST_LINES = 10  # of a list that grows with the grid


def select(
    config: "DictConfig",
    members: Sequence[Member],
    experiment: Path,
    records: "Sequence[RunRecord]",
) -> "Selection":
    """Decide about a grid: by its rules, and by what its experiment's folder says is done.

    Raises:
        GridError: If a rule or an option cannot be read, if rules leave nothing, or if folders
            hold other configurations and `expkit.on_change` is not given.
    """
    from expkit_filter import Candidate

    settings = config.expkit
    ignored = plain_value(settings.get("ignore")) or []
    if not isinstance(ignored, list):
        raise GridError(
            f"expkit.ignore is a list of keys, got {ignored!r}. Write expkit.ignore: [{ignored}]."
        )
    candidates = [
        Candidate(
            config=member.identity.data,
            run_name=member.run_name,
            folder=experiment / "training" / member.run_name,
            config_hash=member.identity.config_hash,
        )
        for member in members
    ]
    return decide(
        config.get("_filters"),
        candidates,
        runs=records,
        rerun=settings.get("rerun", "missing"),
        attempts=settings.get("attempts", 3),
        on_change=settings.get("on_change"),
        ignore=[*sorted(NO_PART_OF_IDENTITY), *map(str, ignored)],
    )


def decide(rules: object, candidates: "Sequence[Candidate]", **options: Any) -> "Selection":
    """Decide by the rules of `_filters`, with `RunFilter`'s options.

    Raises:
        GridError: As `RunFilter` says it.
    """
    from expkit_filter import FilterError, RunFilter

    plain = plain_value(rules) or []
    if not isinstance(plain, list):
        raise GridError(f"_filters is a list of rules, got {plain!r}. Write _filters: [RULE, …].")
    try:
        return RunFilter(plain, **options).select(candidates)
    except FilterError as error:
        raise GridError(str(error)) from error


def lasting_rules(
    config: "DictConfig", members: Sequence[Member], selection: "Selection", experiment: Path
) -> list[int | None]:
    """By member, the rule by which it is no part of the grid, whatever has been done.

    Rules about what is done (`exists:`, `completed:`) leave a run in the grid: what they say
    changes as runs finish, and the same grid is to stay the same.
    """
    from expkit_filter import FilterError, RunFilter

    rules = plain_value(config.get("_filters")) or []
    assert isinstance(rules, list)  # or `decide` would have refused it
    passing = [isinstance(rule, Mapping) and set(rule) <= _ABOUT_STATE for rule in rules]
    numbers = [decision.rule for decision in selection.decisions]
    if not any(number is not None and passing[number - 1] for number in numbers):
        return numbers
    # The others keep their places, and so their numbers.
    lasting = RunFilter(
        ["False" if passes else rule for passes, rule in zip(passing, rules, strict=True)]
    )
    for place, (number, member) in enumerate(zip(numbers, members, strict=True)):
        if number is not None and passing[number - 1]:
            try:
                numbers[place] = lasting.decide(
                    member.identity.data, folder=experiment / "training" / member.run_name
                ).rule
            except FilterError:  # a rule that the rule about state kept from runs it cannot judge
                numbers[place] = None
    return numbers


def explain(
    expansion: Expansion, members: Sequence[Member], selection: "Selection"
) -> Iterator[str]:
    """What the user is told before anything starts."""
    blocks = count_blocks(expansion, members)
    if len(blocks) > 1 or blocks[0]["duplicates"]:
        for number, block in enumerate(blocks, start=1):
            yield f"block {number}: {block['product']} runs, {block['duplicates']} of them repeated"
    done = sum(1 for decision in selection.decisions if decision.kind == "completed")
    ruled_out = sum(1 for decision in selection.decisions if decision.kind == "rule")
    yield selection.summary()
    if not selection.to_run and done == len(members) - ruled_out:
        yield f"{done} completed, nothing to do (expkit.rerun=all runs them again)"
    if ":" in selection.completed:  # with this code, with older code
        yield selection.completed
    others = [
        f"{member.run_name} is not started: {decision.reason}"
        for member, decision in zip(members, selection.decisions, strict=True)
        if decision.skip and decision.kind not in ("rule", "completed", "unknown")
    ]
    yield from shorten(others)


def ends(members: Sequence[Member], selection: "Selection") -> Iterator[str]:
    """Rules with an example each, the first and the last run."""
    for number, row in enumerate(selection.rules, start=1):
        example = f", e.g. {row['example']}" if row["example"] else ""
        yield f"rule {number} skips {row['hits']}: {row['rule']}{example}"
    left = [members[position] for position in selection.to_run]
    for title, member in (("first", left[0]), ("last", left[-1])) if left else ():
        yield f"{title} run: {member.run_name} ({' '.join(member.overrides)})"
    yield "expkit.dry_run=true: nothing is written or started"


def shorten(lines: Sequence[str]) -> list[str]:
    if len(lines) <= MOST_LINES:
        return list(lines)
    return [*lines[:MOST_LINES], f"… and {len(lines) - MOST_LINES} more"]
