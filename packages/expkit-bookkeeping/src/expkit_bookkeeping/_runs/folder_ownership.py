"""Whether a folder may be claimed, moved or purged as a run's: only if expkit made it."""

import sys
from pathlib import Path

from .claim_files import highest_claim
from .records import read_run

# What a folder may hold that is still free: Hydra's own files, and what file systems leave.
# The journal is that of an MLFlowLogger that was opened first.
_FREE_NAMES = (".hydra", ".gitkeep", "multirun.yaml", "tracking.jsonl")


def foreign_reason(folder: Path) -> str | None:
    """Why a folder cannot be claimed or moved as a run's; None if expkit made it, or it is free.

    The current directory, the folder of the script and all folders above them are never a run's.

    Args:
        folder: The folder that is to become a run's, or is to be moved as one.

    Returns:
        The reason, as the end of a sentence that begins with the folder's name.
    """
    for inner in _folders_of_this_program():
        for outer in (inner, *inner.parents):
            if _is_same_folder(folder, outer):
                return f"is or contains {inner}, where this program was started or its script lies"
    if is_run_folder(folder):
        return None
    foreign = sorted(
        name
        for name in _names_in(folder)
        if not _is_free_name(name) and not (name == "claims" and _is_unfinished(folder / name))
    )
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        return f"holds files that expkit did not write ({', '.join(foreign[:3])}{more})"
    return None


def is_run_folder(folder: Path) -> bool:
    """Whether expkit made a folder: it holds a claim, or a run.json with our schema and id."""
    if highest_claim(folder) > 0:
        return True
    record = read_run(folder)
    return record is not None and "schema" in record.data and record.id is not None


def _folders_of_this_program() -> list[Path]:
    folders = [Path.cwd()]
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if isinstance(script, str):
        folders.append(Path(script).absolute().parent)
    return folders


def _is_same_folder(folder: Path, other: Path) -> bool:
    try:
        return folder.samefile(other)
    except OSError:  # one of them does not exist
        return False


def _names_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []


def _is_unfinished(claims: Path) -> bool:
    """Whether expkit was killed before its first claim: nothing but leftovers lies there."""
    return claims.is_dir() and all(name.endswith(".tmp") for name in _names_in(claims))


def _is_free_name(name: str) -> bool:
    return name in _FREE_NAMES or name.endswith((".log", ".tmp")) or name.startswith(".nfs")
