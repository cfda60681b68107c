"""What folders of runs and their grid say besides curves: saved numbers and results, the sweep."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .run_folders import grid_settings
from .siblings import reader_of_grids, reader_of_runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .runs import Run


@dataclass(frozen=True)
class Sweep:
    """What a grid says about its runs.

    Attributes:
        values: By swept key all its values, in the order of the sweep.
        skipped: The settings of the runs that rules skip, by name.
    """

    values: Mapping[str, tuple[object, ...]]
    skipped: Mapping[str, Mapping[str, object]]


def sweep_of(experiment: Path | None) -> Sweep:
    """What the latest grid of an experiment says; nothing where no grid can be asked.

    Warns:
        UserWarning: If there is a grid, and it is damaged.
    """
    try:
        settings = None if experiment is None else grid_settings(experiment)
        if experiment is None or settings is None:
            return Sweep({}, {})
        with reader_of_grids("The grid of an experiment"):
            from expkit_hydra.reading import grid_runs
        runs = grid_runs(experiment)
    except (FileNotFoundError, ValueError) as error:
        warnings.warn(
            f"What the grid says, its order and what rules skip, is not shown: {error}",
            stacklevel=5,
        )
        return Sweep({}, {})
    return Sweep(
        values={key: tuple(values) for key, values in settings.swept.items()},
        skipped={run.run_name: dict(run.values) for run in runs if run.skipped_by},
    )


def saved_numbers(run: Run) -> Mapping[str, float]:
    """By name the numbers in a run's folder that are no curves: of its results, and returned ones.

    Raises:
        ImportError: If expkit-bookkeeping is too old.
    """
    if run.folder is None:
        return {}
    with reader_of_runs():
        from expkit_bookkeeping.reading import outcome_numbers
    return outcome_numbers(run.folder)


def saved_results(run: Run) -> Mapping[str, object]:
    """The results that a run has saved, by name; each is read when asked for.

    Raises:
        ImportError: If expkit-bookkeeping is missing or too old.
    """
    if run.folder is None:
        return {}
    with reader_of_runs():
        from expkit_bookkeeping.reading import SavedResults
    return SavedResults(run.folder)
