"""What the words behind `expkit plot` name: experiments, other sources, and runs of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .._data.siblings import reader_of_runs


def sources_and_runs(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The first word is a source; each other one is, too, if it is on disk, else names a run.

    The folder of a run stands for its experiment and the run.

    Raises:
        ImportError: If one is a folder, and expkit-bookkeeping is missing or too old.
    """
    sources: list[Path] = []
    runs: list[str] = []
    for word in words:
        path = Path(word)
        if sources and not (path.is_file() or _holds_runs(path)):
            runs.append(word)
            continue
        home = _experiment_of_run(path)
        if home is None:
            sources.append(path)
        else:
            runs.append(path.name)
            if not any(home.resolve() == source.resolve() for source in sources):
                sources.append(home)
    return sources, runs


def _holds_runs(path: Path) -> bool:
    if not path.is_dir():
        return False
    with reader_of_runs():
        from expkit_bookkeeping.reading import folders_with_metrics
    return (path / "training").is_dir() or bool(folders_with_metrics(path))


def _experiment_of_run(path: Path) -> Path | None:
    """The experiment of a run's folder; None for anything else."""
    if not path.is_dir():
        return None
    with reader_of_runs():
        from expkit_bookkeeping.reading import experiment_folder
    home = experiment_folder(path)
    return None if home == path or path.name == "training" else home
