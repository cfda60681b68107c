"""Paths of files that users name: kept inside their folder, with a helpful error if missing."""

import errno
import os
from os import PathLike
from pathlib import Path, PurePosixPath, PureWindowsPath


def path_inside(folder: Path, name: str) -> Path:
    """The path of a file below a folder; a name that would leave the folder is refused.

    Args:
        folder: The folder that must hold the file.
        name: A relative name; `"fold1/predictions.csv"` makes a sub-folder when it is written.

    Raises:
        TypeError: If the name is not text.
        ValueError: If the name is empty or absolute, has a `..` or a part that starts with a dot,
            or leads outside through a symbolic link.

    Examples:
        >>> path_inside(Path("run"), "fold1/scores.csv").as_posix()
        'run/fold1/scores.csv'
    """
    if not isinstance(name, str):
        raise TypeError(f"A name must be text such as 'predictions', not {name!r}.")
    parts = PurePosixPath(name).parts
    fault = None
    if not parts:
        fault = "is empty"
    elif "\0" in name or "\\" in name:
        fault = "has a character that no file name may have"
    elif name.startswith("/") or PureWindowsPath(name).drive:
        fault = "is absolute"
    elif ".." in parts:
        fault = "leaves the run folder"
    elif any(part.startswith(".") for part in parts):
        fault = "is hidden"
    elif not _real(folder / name).is_relative_to(_real(folder)):
        fault = "leads out of the run folder through a link"
    if fault:
        raise ValueError(
            f"The name {name!r} {fault}. Give a name below {folder}, such as 'predictions' or "
            "'fold1/predictions'."
        )
    return folder / name


def _real(path: Path) -> Path:
    """The path without links; `resolve` raises for a link to itself, before Python 3.13."""
    return Path(os.path.realpath(path))


def missing_file_error(path: Path, reason: str = "") -> FileNotFoundError:
    """Error for a missing file: a near match or the reason, and which files exist.

    Args:
        path: The file.
        reason: Why it is missing and what to do, if that is known; a near match comes first.
    """
    from difflib import get_close_matches

    names = []
    if path.parent.is_dir():
        files = (entry.name for entry in path.parent.iterdir() if entry.is_file())
        names = sorted(name for name in files if not name.startswith("."))
    near = get_close_matches(path.name, names, 1)
    hint = f" Did you mean {near[0]!r}?" if near else f" {reason}" if reason else ""
    listing = f"There are: {', '.join(names)}." if names else "The folder holds no files."
    return FileNotFoundError(
        errno.ENOENT, f"No file {path.name!r} in {path.parent}.{hint} {listing}"
    )


def exists(path: str | PathLike[str]) -> bool:
    """Whether there is such a file or folder.

    Raises:
        OSError: If that cannot be found out.
    """
    # Not Path.exists: since Python 3.14 it is False for every error, and a server that is away for
    # a moment must not look like a run that is gone.
    try:
        os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
