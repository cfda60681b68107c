"""Which folders are experiments."""

from __future__ import annotations

import os
from pathlib import Path


def find_experiment(folder: Path) -> Path:
    """The experiment's folder, checked.

    Raises:
        FileNotFoundError: If it is none, with the folder that was probably meant.
    """
    from .._grid.grid import with_records

    folder = with_records(folder)
    if _is_experiment(folder):
        return folder
    if (folder / "run.json").is_file() and folder.absolute().parent.name == "training":
        raise FileNotFoundError(
            f"{folder} is a run. Give the folder of its experiment: "
            f"{os.path.relpath(folder.absolute().parent.parent)}"
        )
    inside = experiments_in(folder)
    if inside:
        raise FileNotFoundError(
            f"{folder} is not an experiment, but holds some: "
            f"{', '.join(str(folder / path.name) for path in inside)}. Give one of them."
        )
    beside = [path.name for path in experiments_in(folder.parent)]
    from difflib import get_close_matches

    near = get_close_matches(folder.name, beside, n=1)
    hint = f" Did you mean {folder.parent / near[0]}?" if near else ""
    others = f" In {folder.parent}: {', '.join(beside)}." if beside else ""
    problem = "has no training/ folder" if folder.is_dir() else "is a file"
    if not folder.exists():
        problem = "does not exist"
    raise FileNotFoundError(
        f"{folder} {problem}, so it is no experiment.{hint}{others} "
        "An experiment's folder is results/EXPERIMENT; `python train.py -m` makes one."
    )


def experiments_in(folder: Path) -> list[Path]:
    """The experiments in a folder of results, sorted by name; none if it cannot be read."""
    from .._grid.grid import with_records

    try:
        return [
            path for path in map(with_records, sorted(folder.iterdir())) if _is_experiment(path)
        ]
    except OSError:
        return []


def experiment_name(folder: Path) -> str:
    """The name of an experiment; of a sweep that keeps its records in a folder below, its own."""
    from .._grid.grid import RECORDS

    folder = folder.absolute()
    return folder.parent.name if folder.name == RECORDS else folder.name


def _is_experiment(folder: Path) -> bool:
    return (folder / "training").is_dir() or (folder / "grid_search.yaml").is_file()
