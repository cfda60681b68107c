"""What follows a grid for which nobody waited: `python -m expkit_slurm.finish results/digits`.

It writes results.csv, synchronises MLflow, draws the figures and prints the table, as the sweep's
own process does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

    from expkit_hydra import Grid


def has_aftermath(grid: Grid) -> bool:
    """Whether `expkit.after` lists anything to do after the runs."""
    from expkit_hydra.launching import grid_settings

    return bool(grid_settings(_config(grid)).after)


def finish(grid: Grid, *, unless_done: bool = False) -> None:
    """Write, synchronise, draw and show the results of a grid.

    Args:
        grid: The grid.
        unless_done: True leaves out `sync`, `plot` and `report` where they have succeeded for the
            present runs.
    """
    from expkit_hydra.launching import finish_grid

    command = grid.description.get("command")
    finish_grid(grid, config=_config(grid), unless_done=unless_done, command=command)


def _config(grid: Grid) -> DictConfig:
    from omegaconf import OmegaConf

    return OmegaConf.create(grid.description.get("config") or {})


def main(argv: Sequence[str] | None = None) -> int:
    """Finish the latest grid of an experiment; returns the exit code."""
    from expkit_hydra.launching import read_grid

    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 1:
        print("usage: python -m expkit_slurm.finish results/EXPERIMENT", file=sys.stderr)
        return 2
    finish(read_grid(Path(arguments[0])), unless_done=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
