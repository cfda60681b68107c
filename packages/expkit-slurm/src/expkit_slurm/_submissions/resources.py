"""What each run asks of Slurm: the `hydra.launcher` node of its own configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._cluster.options import RESOURCES, Options, merge_options, sbatch_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

    from expkit_hydra import Grid, GridRun

LAUNCHER = "expkit_slurm_launcher"  # part of the node's _target_


def run_options(grid: Grid, runs: Sequence[GridRun], for_all: Options = ()) -> list[Options]:
    """The sbatch options of each run.

    Hydra builds the launcher from the base configuration; a model's file, a swept value or an
    interpolation may ask for something else. Where configurations cannot differ in this, only one
    of them is read.

    Args:
        grid: The grid.
        runs: Some of its runs.
        for_all: Options that hold for all runs, whatever their configurations say.

    Raises:
        SlurmError: If a resource is unknown, or its value makes no sense.
    """
    options_by_key: dict[object, Options] = {}
    options_of_runs = []
    for run in runs:
        key = grid.launcher_key(run.index)
        if key is None or key not in options_by_key:
            options = merge_options(
                sbatch_options(_launcher_resources(grid.config(run.index))), for_all
            )
            if key is not None:
                options_by_key[key] = options
        else:
            options = options_by_key[key]
        options_of_runs.append(options)
    return options_of_runs


def _launcher_resources(config: DictConfig) -> dict[str, Any]:
    """The resources in a run's launcher node; none where it is another launcher's."""
    from omegaconf import OmegaConf

    from expkit_hydra.launching import current_config

    node = OmegaConf.select(config, "hydra.launcher")
    if node is None or LAUNCHER not in str(node.get("_target_")):
        return {}
    with current_config(config):
        values = OmegaConf.to_container(node, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key in RESOURCES}
