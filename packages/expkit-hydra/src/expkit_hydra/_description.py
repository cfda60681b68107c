"""What grid_search.yaml says of a grid."""

import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from ._expansion import Expansion
from ._grid import GridRun
from ._identity import plain_text
from ._members import Member, count_blocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

    from expkit_filter import Selection


def describe(
    config: "DictConfig",
    expansion: Expansion,
    members: Sequence[Member],
    runs: Sequence[GridRun],
    selection: "Selection",
    *,
    experiment_id: str,
    argv: Sequence[str] | None = None,
) -> dict[str, object]:
    """The description of a grid, but for what the files themselves add.

    Args:
        config: The configuration of the sweep.
        expansion: What was expanded.
        members: The different runs.
        runs: The same, with what rules skip.
        selection: The rules and how often they hold.
        experiment_id: Name of the experiment's folder.
        argv: The command line; this process's by default.
    """
    skipped = sum(1 for run in runs if run.skipped_by is not None)
    counts: dict[str, object] = {
        "product": len(expansion),
        "duplicates": len(expansion) - len(runs),
        "skipped by rule": skipped,
        "to run": len(runs) - skipped,
    }
    if len(expansion.blocks) > 1:
        counts["blocks"] = count_blocks(expansion, members)
    return {
        "command": _command(sys.argv if argv is None else argv),
        "experiment_id": experiment_id,
        "metric": config.expkit.get("metric"),
        "direction": config.expkit.get("direction"),
        "swept": _swept(expansion.keys, runs),
        "counts": counts,
        "filters": [dict(row) for row in selection.rules],
        "versions": _versions(),
        "code": _code(),
        "config": {key: value for key, value in plain_text(config).items() if key != "hydra"},
    }


def _swept(keys: Sequence[str], runs: Sequence[GridRun]) -> dict[str, list[object]]:
    swept: dict[str, list[object]] = {key: [] for key in keys}
    for run in runs:
        for key in keys:
            value = run.values[key]
            # Not `in` alone: 1, 1.0 and True are equal and yet three values.
            if not any(value == other and type(value) is type(other) for other in swept[key]):
                swept[key].append(value)
    return swept


def _command(argv: Sequence[str]) -> list[str]:
    """The command line without absolute paths of this machine."""
    script, *arguments = argv or [""]
    path = Path(script)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        script = str(path.relative_to(Path.cwd()))
    elif path.is_absolute():
        script = path.name
    return [script, *arguments]


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("hydra-core", "omegaconf", "expkit-hydra", "expkit-filter", "expkit-bookkeeping")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def _code() -> dict[str, object]:
    from expkit_bookkeeping import code_facts

    facts = code_facts()
    return {key: facts.get(key) for key in ("commit", "dirty")}
