"""Which runs of a grid are left, and what the user is told about it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ._errors import GridError
from ._expansion import Expansion
from ._identity import NO_PART_OF_IDENTITY, plain_value
from ._members import Member, count_blocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

    from expkit_filter import Candidate, Selection

MOST_LINES = 10  # of a list that grows with the grid


def select(config: "DictConfig", members: Sequence[Member], experiment: Path) -> "Selection":
    """Decide about a grid: by its rules, and by what its experiment's folder says is done.

    Raises:
        GridError: If a rule or an option cannot be read, if rules leave nothing, or if folders
            hold other configurations and `expkit.on_change` is not given.
    """
    from expkit_bookkeeping import find_runs
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
        runs=find_runs(experiment) if experiment.is_dir() else [],
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
