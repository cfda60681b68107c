"""An experiment's folder, and the journals in it."""

import contextlib
import logging
import os
import re
from os import PathLike
from pathlib import Path

from .entries import JOURNAL_NAME
from .reading import has_ended

logger = logging.getLogger(__name__)


def experiment_folder(
    experiment: str | PathLike[str] | None, results_dir: str | PathLike[str]
) -> Path | None:
    """The folder of an experiment that is a name or a folder.

    Raises:
        TypeError: If it is neither.
    """
    if experiment is None:
        return None
    if not isinstance(experiment, (str, PathLike)) or not os.fspath(experiment):
        raise TypeError(f"experiment must be a name or a folder, got {experiment!r}")
    by_name = isinstance(experiment, str) and not re.search(r"[/\\]", experiment)
    folder = Path(results_dir) / experiment if by_name else Path(experiment)
    return folder.absolute()


def find_journals(folder: Path) -> list[Path]:
    """The journals of an experiment's runs, by name; what is no file is none, and is told."""
    journals = []
    for path in sorted((folder / "training").glob(f"*/{JOURNAL_NAME}")):
        if path.is_file():
            journals.append(path)
        elif path.exists():
            logger.warning("%s is a folder, a pipe or a device, not a journal; left out.", path)
    return journals


def ended_together(journal: Path, others: list[Path]) -> list[Path]:
    """Those of `others` that ended with `journal`, at most a minute before it."""
    journals = []
    since = journal.stat().st_mtime - 60
    for path in others:
        with contextlib.suppress(FileNotFoundError):
            if path != journal and path.stat().st_mtime >= since and has_ended(path):
                journals.append(path)
    return journals


def experiment_at(folder: Path) -> Path:
    """The folder, absolute, if it is an experiment.

    Raises:
        FileNotFoundError: If it is not; names the experiments nearby.
    """
    folder = Path(folder).absolute()
    if _is_experiment(folder):
        return folder
    around = folder if folder.is_dir() else folder.parent
    names = sorted(path.name for path in around.glob("*") if _is_experiment(path))
    hint = f"Name one of the experiments there: {', '.join(names[:10])}." if names else ""
    if not folder.is_dir():
        import difflib

        matches = difflib.get_close_matches(folder.name, names, 1)
        if matches:
            hint = f"Did you mean {around / matches[0]}?"
        raise FileNotFoundError(f"There is no folder {folder}. {hint}".rstrip())
    if folder.parent.name == "training":
        hint = f"It is a run; its experiment is {folder.parent.parent}."
    hint = hint or "Runs are expected in its folder training/."
    raise FileNotFoundError(f"{folder} is not an experiment. {hint}")


def _is_experiment(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("training", "grids", "mlflow.db"))
