"""What the files of an experiment's latest grid say, without its configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .grid import DESCRIPTION, read_description, read_grid
from .run import GridRun


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


def grid_runs(path: Path | str) -> Sequence[GridRun]:
    """The runs of a grid in its order, those that a rule skips included.

    Args:
        path: The folder of an experiment, for its latest grid, or of a grid.

    Raises:
        FileNotFoundError: If there is no grid.
        ValueError: If its files are damaged.
    """
    return read_grid(path).runs


def grid_settings(path: Path | str) -> GridSettings | None:
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
