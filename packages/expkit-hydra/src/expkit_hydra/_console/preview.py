"""What a sweep says about its grid before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from expkit_bookkeeping.launching import without_known_secrets

from .._composing.overrides import overlap
from .._drafting.draft import Draft
from .._drafting.expansion import Expansion
from .texts import run_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_filter import Selection

MAX_LINES = 10  # of a list that grows with the grid
MOST_NAMES = 4


def explain(draft: Draft) -> Iterator[str]:
    """What becomes of the runs."""
    selection = draft.selection
    if len(draft.blocks) > 1 or draft.blocks[0]["duplicates"]:
        for number, block in enumerate(draft.blocks, start=1):
            size = run_count(block["product"])
            yield f"block {number}: {size}, {block['duplicates']} of them repeated"
    done = sum(1 for decision in selection.decisions if decision.kind == "completed")
    ruled_out = sum(1 for decision in selection.decisions if decision.kind == "rule")
    yield selection.summary()
    if not selection.to_run and done == len(draft.runs) - ruled_out:
        yield f"{done} completed, nothing to do (expkit.rerun=all runs them again)"
    if ":" in selection.completed:  # with this code, with older code
        yield selection.completed
    if selection.continuing:
        yield selection.continuing
    others = [
        f"{run.run_name} is not started: {decision.reason}"
        for run, decision in zip(draft.runs, selection.decisions, strict=True)
        if decision.skip and decision.kind not in ("rule", "completed", "unknown")
    ]
    yield from shorten(others)


def warnings(selection: Selection, narrowed: Mapping[str, str]) -> Iterator[str]:
    """Warnings: rules that skip nothing, and runs that cannot be read.

    Args:
        selection: What became of the runs.
        narrowed: Keys of which the command line leaves fewer values, and how many.
    """
    names = {rule.warning: rule.names for rule in selection.unused}
    for warning in selection.warnings:
        left = [
            f"{key} to {counts}"
            for key, counts in narrowed.items()
            if any(overlap([key, name]) for name in names.get(warning, ()))
        ]
        guess = f" This command line narrows {', '.join(left)}: perhaps that is why."
        yield warning + (guess if left else "")


def missing_values(draft: Draft) -> Iterator[str]:
    """Warnings about keys that have no value in runs that are about to start."""
    for key, names in draft.missing.items():
        count = len(names)
        where = "every run" if count == len(draft.selection.to_run) else run_count(count)
        some = ", ".join(names[:MOST_NAMES]) + (", …" if count > MOST_NAMES else "")
        yield f"{key} is ??? in {where} ({some}): what reads it fails. Give it a value: {key}=…"


def left_out(draft: Draft) -> Iterator[str]:
    """Sentences about runs that are not done and are not started."""
    kinds = [decision.kind for decision in draft.selection.decisions]
    total = run_count(len(draft.runs))
    if "given_up" in kinds:
        yield (
            f"{kinds.count('given_up')} of {total} failed too often, not started. Once the cause "
            "is gone, expkit.rerun=failed tries again."
        )
    if "cannot_continue" in kinds:
        yield (
            f"{kinds.count('cannot_continue')} of {total} cannot continue with this configuration, "
            "not started (see above). expkit.on_change=rerun moves such runs to .trash and trains "
            "them from epoch 0, expkit.on_change=keep leaves them as they are."
        )


def narrowed(declared: Expansion, swept: Expansion) -> dict[str, str]:
    """Keys of which a command line leaves fewer values than the configuration sweeps.

    Args:
        declared: The axes of `hydra.sweeper.params` alone.
        swept: The axes with the command line.

    Returns:
        By key, how many are left: `1 of 3 values`.
    """
    before, after = _values(declared), _values(swept)
    return {
        key: f"{len(after[key])} of {len(values)} values"
        for key, values in before.items()
        if len(after[key]) < len(values)
    }


def _values(expansion: Expansion) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {}
    for axis in (axis for block in expansion.blocks for axis in block):
        values.setdefault(axis.key, set()).update(axis.overrides)
    return values


def dry_run_lines(draft: Draft) -> Iterator[str]:
    """The rules with an example each, the first and the last run."""
    warned = {rule.number for rule in draft.selection.unused}
    for number, row in enumerate(draft.selection.rules, start=1):
        if number in warned:
            continue
        example = f", e.g. {row['example']}" if row["example"] else ""
        yield f"rule {number} skips {row['hits']}: {row['rule']}{example}"
    left = [draft.runs[position] for position in draft.selection.to_run]
    for title, run in (("first", left[0]), ("last", left[-1])) if left else ():
        yield f"{title} run: {run.run_name} ({without_known_secrets(' '.join(run.overrides))})"
    yield "expkit.dry_run=true: nothing is written or started"


def shorten(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    if len(lines) <= MAX_LINES:
        return list(lines)
    return [*lines[:MAX_LINES], f"… and {len(lines) - MAX_LINES} more"]
