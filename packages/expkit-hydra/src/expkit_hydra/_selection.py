"""What the user is told about a grid before anything starts."""

from collections.abc import Iterator, Sequence

from ._draft import Draft

MOST_LINES = 10  # of a list that grows with the grid


def explain(draft: Draft) -> Iterator[str]:
    """What becomes of the runs."""
    selection = draft.selection
    if len(draft.blocks) > 1 or draft.blocks[0]["duplicates"]:
        for number, block in enumerate(draft.blocks, start=1):
            yield f"block {number}: {block['product']} runs, {block['duplicates']} of them repeated"
    done = sum(1 for decision in selection.decisions if decision.kind == "completed")
    ruled_out = sum(1 for decision in selection.decisions if decision.kind == "rule")
    yield selection.summary()
    if not selection.to_run and done == len(draft.runs) - ruled_out:
        yield f"{done} completed, nothing to do (expkit.rerun=all runs them again)"
    if ":" in selection.completed:  # with this code, with older code
        yield selection.completed
    others = [
        f"{run.run_name} is not started: {decision.reason}"
        for run, decision in zip(draft.runs, selection.decisions, strict=True)
        if decision.skip and decision.kind not in ("rule", "completed", "unknown")
    ]
    yield from shorten(others)


def ends(draft: Draft) -> Iterator[str]:
    """Rules with an example each, the first and the last run."""
    for number, row in enumerate(draft.selection.rules, start=1):
        example = f", e.g. {row['example']}" if row["example"] else ""
        yield f"rule {number} skips {row['hits']}: {row['rule']}{example}"
    left = [draft.runs[position] for position in draft.selection.to_run]
    for title, run in (("first", left[0]), ("last", left[-1])) if left else ():
        yield f"{title} run: {run.run_name} ({' '.join(run.overrides)})"
    yield "expkit.dry_run=true: nothing is written or started"


def shorten(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    if len(lines) <= MOST_LINES:
        return list(lines)
    return [*lines[:MOST_LINES], f"… and {len(lines) - MOST_LINES} more"]
