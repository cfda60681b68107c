"""An experiment's folder, and the journals in it."""

import contextlib
from pathlib import Path

from ._journal import NAME, ends


def find_journals(folder: Path) -> list[Path]:
    """The journals of an experiment's runs, by name."""
    return sorted((folder / "training").glob(f"*/{NAME}"))


def ended_with(journal: Path, others: list[Path]) -> list[Path]:
    """Those of `others` that ended at most a minute before `journal`, and wait to be sent."""
    found = []
    since = journal.stat().st_mtime - 60
    for path in others:
        with contextlib.suppress(FileNotFoundError):
            if path != journal and path.stat().st_mtime >= since and ends(path):
                found.append(path)
    return found


def experiment_at(folder: Path) -> Path:
    """The folder, absolute, if it is an experiment's.

    Raises:
        FileNotFoundError: Else, naming the experiments nearby.
    """
    folder = Path(folder).absolute()
    if _is_experiment(folder):
        return folder
    around = folder if folder.is_dir() else folder.parent
    names = sorted(path.name for path in around.glob("*") if _is_experiment(path))
    known = f"Name one of the experiments there: {', '.join(names[:10])}." if names else ""
    if not folder.is_dir():
        import difflib

        near = difflib.get_close_matches(folder.name, names, 1)
        hint = f"Did you mean {around / near[0]}?" if near else known
        raise FileNotFoundError(f"There is no folder {folder}. {hint}".rstrip())
    if folder.parent.name == "training":
        known = f"It is a run; its experiment is {folder.parent.parent}."
    hint = known or "Runs are expected in its folder training/."
    raise FileNotFoundError(f"{folder} is no experiment. {hint}")


def _is_experiment(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("training", "grids", "mlflow.db"))
