"""Bookkeeping wrote run.json and removed.jsonl, and reads them; where it is missing, what to do."""

import contextlib
from collections.abc import Iterator

# As in pyproject.toml's extra `runs`; the metadata of an installation may be older than the code.
BOOKKEEPING = "expkit-bookkeeping>=0.1,<1"


@contextlib.contextmanager
def reader_of_runs(purpose: str) -> Iterator[None]:
    """The block imports from `expkit_bookkeeping.reading`.

    Args:
        purpose: What it is needed for, as the beginning of a sentence.

    Raises:
        ImportError: If expkit-bookkeeping is missing, or too old for the import.
    """
    try:
        yield
    except ImportError as error:
        import re
        from importlib.metadata import PackageNotFoundError, version

        name = re.split("[<>=]", BOOKKEEPING)[0]
        try:
            state = f"{name} {version(name)} is installed, which lacks what is needed"
        except PackageNotFoundError:
            state = "it is not installed"
        raise ImportError(
            f"{purpose} needs {BOOKKEEPING}, and {state}: "
            "pip install --upgrade 'expkit-mlflow[runs]'"
        ) from error
