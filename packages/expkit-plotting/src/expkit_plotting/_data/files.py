"""Files: written whole, so that no reader sees half; YAML read; paths named in messages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .errors import PlottingError


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary name in the same folder, flush to disk, move over the target."""
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner may read; plots are for everybody.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def short_path(path: Path) -> str:
    """A path as the user would type it: relative where it lies below the working directory."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def read_yaml(path: Path) -> Mapping[str, object]:
    """The mapping in a YAML file; an empty file holds an empty one.

    Raises:
        PlottingError: If the file cannot be read or holds anything else.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise PlottingError(f"{short_path(path)}: cannot be read: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise PlottingError(
            f"{short_path(path)}: expected a mapping of keys; got {type(content).__name__}."
        )
    return content
