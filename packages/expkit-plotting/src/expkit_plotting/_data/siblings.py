"""Who wrote a folder is asked what it holds; where that package is missing, what to install."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

# As in pyproject.toml's extra `runs`; the metadata of an installation may be older than the code.
BOOKKEEPING = "expkit-bookkeeping>=0.1,<1"
HYDRA = "expkit-hydra>=0.1,<1"


@contextlib.contextmanager
def reader_of_runs() -> Iterator[None]:
    """The block imports from `expkit_bookkeeping.reading`.

    Raises:
        ImportError: If expkit-bookkeeping is missing, or too old for the import.
    """
    with _reader(BOOKKEEPING, "Plotting from run folders", "expkit-plotting[runs]"):
        yield


@contextlib.contextmanager
def reader_of_grids(purpose: str) -> Iterator[None]:
    """The block imports from `expkit_hydra.reading`.

    Args:
        purpose: What it is needed for, as the beginning of a sentence.

    Raises:
        ImportError: If expkit-hydra is missing, or too old for the import.
    """
    with _reader(HYDRA, purpose, HYDRA):
        yield


@contextlib.contextmanager
def _reader(requirement: str, purpose: str, install: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        import re
        from importlib.metadata import PackageNotFoundError, version

        name = re.split("[<>=]", requirement)[0]
        try:
            state = f"{name} {version(name)} is installed, which lacks what is needed"
        except PackageNotFoundError:
            state = "it is not installed"
        raise ImportError(
            f"{purpose} needs {requirement}, and {state}: pip install --upgrade '{install}'"
        ) from error
