"""What grid_search.yaml says about a grid."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from expkit_bookkeeping.launching import public_config, public_override

from .._composing.plain_data import plain_text
from .._grid.run import GridRun
from .._grid.secrets import patterns_of
from .._grid.settings import grid_settings
from .draft import Draft
from .expansion import Expansion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig


def describe(
    config: DictConfig,
    expansion: Expansion,
    draft: Draft,
    *,
    task: Mapping[str, object] | None = None,
    command: Sequence[str] = (),
) -> dict[str, object]:
    """The description of a grid, except for what writing its files adds.

    Args:
        config: The configuration of the sweep.
        expansion: The grid's axes.
        draft: Its runs.
        task: Where the user's function is; None if no other process would find it.
        command: What runs the grid again, behind `python`.
    """
    skipped = sum(1 for run in draft.runs if run.skipped_by is not None)
    counts: dict[str, object] = {
        "product": len(expansion),
        "duplicates": len(expansion) - len(draft.runs),
        "skipped by rule": skipped,
        "to run": len(draft.runs) - skipped,
    }
    if len(expansion.blocks) > 1:
        counts["blocks"] = draft.blocks
    return describe_runs(
        config,
        draft.experiment,
        expansion.keys,
        draft.runs,
        {"counts": counts, "filters": [dict(row) for row in draft.selection.rules]},
        task=task,
        command=command,
    )


def describe_runs(
    config: DictConfig,
    experiment: Path,
    keys: Sequence[str],
    runs: Sequence[GridRun],
    facts: Mapping[str, object],
    *,
    task: Mapping[str, object] | None = None,
    command: Sequence[str] = (),
) -> dict[str, object]:
    """The description of runs, wherever they come from.

    Args:
        config: The configuration of the sweep.
        experiment: The experiment's folder.
        keys: The swept keys.
        runs: The runs.
        facts: What else is to be said of them.
        task: As for `describe`.
        command: As for `describe`.
    """
    settings, patterns = grid_settings(config), patterns_of(config)
    return {
        "command": [public_override(text, patterns) for text in command],
        "task": None if task is None else dict(task),
        "experiment_id": experiment.name,
        "metric": settings.metric,
        "direction": settings.direction,
        "swept": _swept(keys, runs),
        **facts,
        "versions": _versions(),
        "code": _code(),
        "config": public_config(
            {key: value for key, value in plain_text(config).items() if key != "hydra"}, patterns
        ),
    }


def _swept(keys: Sequence[str], runs: Sequence[GridRun]) -> dict[str, list[object]]:
    """The values of each swept key, in their order."""
    # By their text: 1, 1.0 and True are equal and yet three values, and lists have no hash.
    swept: dict[str, dict[str, object]] = {key: {} for key in keys}
    for run in runs:
        for key, value in run.values.items():
            swept[key].setdefault(repr(value), value)
    return {key: list(values.values()) for key, values in swept.items()}


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("hydra-core", "omegaconf", "expkit-hydra", "expkit-filter", "expkit-bookkeeping")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def _code() -> dict[str, object]:
    from expkit_bookkeeping.launching import code_facts

    facts = code_facts()
    return {key: facts.get(key) for key in ("commit", "dirty")}
