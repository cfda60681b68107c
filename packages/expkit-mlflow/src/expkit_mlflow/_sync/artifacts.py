"""Files that a journal names as artifacts: only what lies in the run's folder is sent."""

import os
import stat
from pathlib import Path


class OutsideRun(ValueError):
    """An artifact, or the place for it, is not inside the run; the text says why."""


def artifact_files(folder: Path, path: str, *, follow_links: bool) -> tuple[list[Path], list[str]]:
    """The files of an artifact, and what of it is not sent.

    Args:
        folder: The run's folder.
        path: The artifact, relative to it, as the journal has it.
        follow_links: Whether links that lead out of the folder are followed.

    Returns:
        The files, and one text for each that is left out.

    Raises:
        OutsideRun: If the artifact as a whole is left out.
        FileNotFoundError: If there is none.
    """
    source = folder / path
    if not Path(os.path.abspath(source)).is_relative_to(os.path.abspath(folder)):  # noqa: PTH100
        raise OutsideRun(f"artifact {path!r} is outside the run's folder")
    if not source.exists():
        raise FileNotFoundError(f"artifact {path!r} no longer exists")
    root = folder.resolve()
    files, left_out = [], []
    waiting, visited = [source], set()
    while waiting:
        entry = waiting.pop()
        name, target = entry.relative_to(folder).as_posix(), entry.resolve()
        if not follow_links and not target.is_relative_to(root):
            left_out.append(
                f"artifact {name!r} is a link out of the run's folder, to {target}: skipped. "
                "--follow-links sends it"
            )
        elif target.is_dir():
            if target not in visited:  # else a link to a folder above would never end
                visited.add(target)
                waiting += sorted(entry.iterdir(), reverse=True)
        elif target.exists() and not stat.S_ISREG(target.stat().st_mode):
            left_out.append(f"artifact {name!r} is no file: skipped")
        elif target.exists():
            files.append(entry)
    return files, left_out


def artifact_folder(target: str | None) -> str | None:
    """The folder among the run's artifacts that a journal names.

    Raises:
        OutsideRun: If it leads out of them.
    """
    if target is None or not target.strip("/"):
        return None
    parts = target.replace("\\", "/").split("/")
    if target.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise OutsideRun(f"artifact_path {target!r} is outside the run's artifacts")
    return target
