"""Names that users give to files, kept inside the run folder."""

from pathlib import Path, PurePosixPath, PureWindowsPath


def path_inside(folder: Path, name: str) -> Path:
    """Path of a file below a folder, refusing every name that would leave it.

    Args:
        folder: The folder that must hold the file.
        name: A relative name; `"fold1/predictions.csv"` makes a sub-folder when it is written.

    Raises:
        TypeError: If the name is not text.
        ValueError: If the name is empty, absolute, has a `..`, a part that starts with a dot, or
            leads outside through a symbolic link.

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
    elif not (folder / name).resolve().is_relative_to(folder.resolve()):
        fault = "leads out of the run folder through a link"
    if fault:
        raise ValueError(
            f"The name {name!r} {fault}. Give a name below {folder}, such as 'predictions' or "
            "'fold1/predictions'."
        )
    return folder / name
