"""The decision about a run in view of earlier runs, and how these differ. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ._dotted_names import flatten
from ._selection import Decision

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

RERUN = ("missing", "failed", "changed", "all")
ON_CHANGE = ("keep", "continue", "rerun")


def decide_by_state(
    same: Sequence[RunRecord],
    namesake: RunRecord | None,
    *,
    has_changed: bool,
    rerun: str,
    attempts: int,
    on_change: str | None,
    code_changes: Callable[[RunRecord], Sequence[str]],
    differences: Callable[[RunRecord], Sequence[str]],
    obstacle: Callable[[RunRecord], str | None],
) -> Decision:
    """The decision about a run that no rule skips.

    Args:
        same: Records with this configuration, under any name.
        namesake: The record of this name, if there is one.
        has_changed: Whether `namesake` has another configuration.
        rerun: One of `RERUN`.
        attempts: How often a failed run is tried.
        on_change: One of `ON_CHANGE`, or None to ask.
        code_changes: Returns the recorded source files that have changed since.
        differences: Returns the differences, by key, between a record's configuration and the
            run's.
        obstacle: Returns why a record's run cannot go on with this configuration, or None.
    """
    running = _first(same, "running")
    if running is not None:
        return Decision(True, "running", None, _describe_running(running), running)
    completed = [record for record in same if record.state == "completed"]
    if completed and rerun != "all":
        current = completed
        if rerun == "changed":
            current = [record for record in completed if not code_changes(record)]
        if current:
            record = next((record for record in current if record is namesake), current[0])
            return Decision(True, "completed", None, f"completed as {record.run_name}", record)
    if namesake is not None and namesake.state == "unknown":
        return Decision(True, "unknown", None, _describe_unknown(namesake), namesake)
    if namesake is not None and has_changed:
        return _decide_changed(namesake, on_change, differences(namesake), obstacle)
    if completed:
        return _rerun(completed[0], namesake, rerun, code_changes)
    failed = max(
        (record for record in same if record.state == "failed"),
        key=lambda record: record.tries,
        default=None,
    )
    if failed is not None and rerun not in ("failed", "all") and failed.tries >= attempts:
        return Decision(True, "given_up", None, _describe_given_up(failed), failed)
    earlier = namesake or failed
    return Decision(False, "run", None, _describe_run(earlier, attempts), earlier)


def _rerun(
    completed: RunRecord,
    namesake: RunRecord | None,
    rerun: str,
    code_changes: Callable[[RunRecord], Sequence[str]],
) -> Decision:
    why = "rerun=all"
    if rerun == "changed":
        why = f"{_list(code_changes(completed))} changed"
    # A completed folder is not resumed: the launcher moves it to the trash first.
    to_trash = namesake is not None and namesake.state == "completed"
    return Decision(False, "run", None, f"completed, again because {why}", completed, to_trash)


def _decide_changed(
    namesake: RunRecord,
    on_change: str | None,
    differences: Sequence[str],
    obstacle: Callable[[RunRecord], str | None],
) -> Decision:
    text = "\n".join([f"another configuration in {namesake.run_name}:", *differences])
    if on_change == "keep":
        return Decision(True, "changed", None, f"kept as it is, {text}", namesake)
    if namesake.state == "running":
        reason = f"{_describe_running(namesake)}, with {text}"
        return Decision(True, "changed", None, reason, namesake)
    if on_change == "continue":
        why_not = obstacle(namesake)
        if why_not is not None:
            kept = f"{why_not}; it stays as it is"
            return Decision(True, "cannot_continue", None, kept, namesake)
        return Decision(False, "changed", None, f"continues from {text}", namesake)
    if on_change == "rerun":
        return Decision(False, "changed", None, f"starts over, {text}", namesake, to_trash=True)
    return Decision(True, "changed", None, text, namesake)


def _first(records: Iterable[RunRecord], state: str) -> RunRecord | None:
    return next((record for record in records if record.state == state), None)


def _describe_running(record: RunRecord) -> str:
    where = f" on {record.host}" if record.host else ""
    return f"running as {record.run_name}{where}"


def _describe_unknown(record: RunRecord) -> str:
    return (
        f"its state is unknown ({record.reason}). Look at it, or move the folder away to start over"
    )


def _describe_given_up(record: RunRecord) -> str:
    error = record.error or {}
    last = f", last with {error.get('type')}: {error.get('message')}" if error else ""
    times = "once" if record.tries == 1 else f"{record.tries} times"
    return f"failed {times}{last}; expkit.rerun=failed tries again"


def _describe_run(record: RunRecord | None, attempts: int) -> str:
    if record is None:
        return "new"
    if record.state == "failed":
        return f"failed, attempt {record.tries + 1} of {max(attempts, record.tries + 1)}"
    if record.state == "lost":
        return "lost (its process is gone), resumes"
    return f"{record.state}, resumes"


def compare_configs(
    old: Mapping[str, object], new: Mapping[str, object], ignore: Sequence[str] = ()
) -> list[str]:
    """The differences by key, sorted.

    Args:
        old: Nested configuration.
        new: Nested configuration.
        ignore: Keys that do not count, nor do those below them.

    Examples:
        >>> compare_configs({"lr": 0.1, "bias": True}, {"lr": 0.2, "model": {"dropout": 0.0}})
        ['- bias=True', '~ lr=0.1 → 0.2', '+ model.dropout=0.0']
    """
    from expkit_bookkeeping.launching import is_secret, public_config, secret_patterns

    patterns = secret_patterns(new)
    before, after = (dict(flatten(public_config(config, patterns))) for config in (old, new))
    lines = []
    for key in sorted({*before, *after}):
        if any(key == name or key.startswith(f"{name}.") for name in ignore):
            continue
        if is_secret(key, "text", patterns) and isinstance(before.get(key, after.get(key)), str):
            continue  # no part of what a run is
        if isinstance(before.get(key), str) and "${" in str(before[key]):
            continue  # an interpolation kept as text: its value at that time is unknown
        if key not in before:
            lines.append(f"+ {key}={after[key]}")
        elif key not in after:
            lines.append(f"- {key}={before[key]}")
        elif _comparable(before[key]) != _comparable(after[key]):
            lines.append(f"~ {key}={before[key]} → {after[key]}")
    return lines


def _comparable(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_comparable(item) for item in value]
    # As in a configuration's hash: 1, 1.0 and True differ, and nan equals nan.
    return (repr(value),) if isinstance(value, (int, float)) else value


def completed_by_code(changed_files: Iterable[Sequence[str]]) -> str:
    """How many completed runs were made with today's code, in one line.

    Args:
        changed_files: For each completed run, the source files that have changed since
            (`expkit_bookkeeping.code_changes`).

    Examples:
        >>> completed_by_code([[], [], ["models.py"]])
        '3 completed, skipped: 2 with this code, 1 with older code (models.py changed)'
        >>> completed_by_code([[], []])
        '2 completed, skipped'
    """
    files_by_run = [tuple(files) for files in changed_files]
    total = len(files_by_run)
    older = [files for files in files_by_run if files]
    if not total:
        return ""
    if not older:
        return f"{total} completed, skipped"
    counts: dict[str, int] = {}
    for file in (file for files in older for file in files):
        counts[file] = counts.get(file, 0) + 1
    ranked = sorted(counts, key=lambda file: (-counts[file], file))
    current = f"{total - len(older)} with this code, " if len(older) < total else ""
    return (
        f"{total} completed, skipped: {current}{len(older)} with older code "
        f"({_list(ranked)} changed)"
    )


def _list(items: Sequence[str], limit: int = 3) -> str:
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return f"{', '.join(items[:limit])}{more}"
