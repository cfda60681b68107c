"""What each run asks of Slurm: its own `hydra.launcher` node, as far as it is read one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._options import RESOURCES, Options, merged, sbatch_options

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from expkit_hydra import Grid, GridRun

LAUNCHER = "expkit_slurm_launcher"  # part of the node's _target_


def run_options(grid: Grid, runs: Sequence[GridRun], given: Options = ()) -> list[Options]:
    """The sbatch options of each run.

    Hydra builds the launcher from the base configuration; a model's file, a swept value or an
    interpolation may ask for something else. Configurations that can only say the same are read
    once.

    Args:
        grid: The grid.
        runs: Some of its runs.
        given: Options that hold for all runs, whatever their configurations say.

    Raises:
        SlurmError: If a resource is not one, or senseless.
    """
    known: dict[object, Options] = {}
    found = []
    for run in runs:
        key = grid.launcher_key(run.index)
        if key is None or key not in known:
            own = merged(sbatch_options(_node(grid.config(run.index))), given)
            if key is not None:
                known[key] = own
        else:
            own = known[key]
        found.append(own)
    return found


def job_options(config: DictConfig) -> Options:
    """The sbatch options of a job with this configuration.

    Raises:
        SlurmError: If a resource is not one, or senseless.
    """
    return sbatch_options(_node(config))


def _node(config: DictConfig) -> dict[str, Any]:
    """The resources of a run's launcher node; none where it is another launcher's."""
    from omegaconf import OmegaConf

    from expkit_hydra.launching import current_config

    node = OmegaConf.select(config, "hydra.launcher")
    if node is None or LAUNCHER not in str(node.get("_target_")):
        return {}
    with current_config(config):
        values = OmegaConf.to_container(node, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key in RESOURCES}
