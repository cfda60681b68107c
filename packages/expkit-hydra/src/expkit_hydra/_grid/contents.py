"""What the files of an experiment's latest grid say, without its configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from .grid import DESCRIPTION, Grid, open_grid, read_description, read_grid
from .run import GridRun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig


def has_tree(config: DictConfig) -> bool:
    """Whether `expkit` in the defaults list, or the user, has set the keys of the results tree."""
    return all(key in config for key in ("results_dir", "experiment_id", "run_name", "expkit"))


def sweep_runs(grid: Grid) -> Sequence[GridRun]:
    """The runs of a grid and, if it is a batch, of the sweep's other batches; numbered in order."""
    if grid.sweep_id is None:
        return grid.runs
    batches = [grid.runs]
    for path in grid.path.parent.iterdir():
        with suppress(OSError, ValueError, IndexError):  # damaged, or no grid
            if path != grid.path and open_grid(path).sweep_id == grid.sweep_id:
                batches.append(read_grid(path).runs)
    runs = [run for batch in batches for run in batch]
    runs.sort(key=lambda run: -1 if run.job is None else run.job.number)
    return [replace(run, index=index) for index, run in enumerate(runs)]


@dataclass(frozen=True, slots=True)
class GridSettings:
    """What `grid_search.yaml` says about a grid.

    Attributes:
        grid_id: The name of the grid's folder below `grids/`.
        metric: The metric that the experiment optimises, if it has one.
        direction: "minimize" or "maximize", of `metric`.
        swept: By swept key its values, in the order of the run names.
        config: The base configuration, before anything is swept; interpolations are kept as text.
    """

    grid_id: str
    metric: str | None
    direction: str | None
    swept: Mapping[str, Sequence[object]]
    config: Mapping[str, object]


def grid_runs(path: str | PathLike[str]) -> Sequence[GridRun]:
    """The runs of a grid in its order, those that a rule skips included.

    Args:
        path: The folder of an experiment, for its latest grid, or for all batches of its latest
            sweep; or the folder of a grid.

    Raises:
        FileNotFoundError: If there is no grid.
        ValueError: If its files are damaged.
    """
    grid = read_grid(path)
    return grid.runs if grid.path == Path(path).absolute() else sweep_runs(grid)


def grid_settings(path: str | PathLike[str]) -> GridSettings | None:
    """The settings of a grid.

    Args:
        path: The folder of an experiment, for its latest grid, or of a grid.

    Returns:
        The settings; None if there is no grid.

    Raises:
        ValueError: If the grid's description is damaged.
    """
    path = Path(path)
    if not (path / DESCRIPTION).is_file():
        return None
    description = read_description(path)
    direction = _text(description.get("direction"))
    swept, config = description.get("swept"), description.get("config")
    return GridSettings(
        grid_id=_text(description.get("grid_id")) or "",
        metric=_text(description.get("metric")),
        direction=direction if direction in ("minimize", "maximize") else None,
        swept=swept if isinstance(swept, dict) else {},
        config=config if isinstance(config, dict) else {},
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
