"""Files: written whole, so that no reader sees half; YAML read; paths named in messages."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from .errors import PlottingError

REPORT = "report.html"  # in an experiment's folder, what `expkit report` writes
_MOST_BYTES = 1 << 28  # of a file; the data of a figure with a thousand runs have some ten million
_MOST_VALUES = 1_000_000  # in a style


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


def read_bytes(path: Path, *, follow_link: bool = True) -> bytes:
    """The content of a file, without ever waiting for it, as opening a pipe would.

    Args:
        path: The file.
        follow_link: Whether it may be a link, which can lead to anything.

    Raises:
        OSError: If it cannot be read, is a folder, pipe or device, or has more than 256 MiB.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    flags |= 0 if follow_link else os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            raise OSError(
                errno.EINVAL,
                f"It is no file, or has more than {_MOST_BYTES >> 20} MiB",
                os.fspath(path),
            )
        return file.read(_MOST_BYTES)


def check_aliases(content: object) -> None:
    """Check what aliases of aliases in YAML stand for, which takes no memory until it is walked.

    Raises:
        ValueError: If that is more than a million values, or a value lies in itself.
    """
    sizes: dict[int, int] = {}  # by id; 0 while a value's own are counted

    def size(value: object) -> int:
        if not isinstance(value, (dict, list)):
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = 0
            items = value.values() if isinstance(value, dict) else value
            sizes[id(value)] = 1 + sum(map(size, items))
        if not sizes[id(value)]:
            raise ValueError("it holds itself, by an alias")
        return sizes[id(value)]

    if size(content) > _MOST_VALUES:
        raise ValueError(f"its aliases stand for more than {_MOST_VALUES} values")


def read_yaml(path: Path) -> Mapping[str, object]:
    """The mapping in a YAML file; an empty file holds an empty one.

    Raises:
        PlottingError: If the file cannot be read or holds anything else.
    """
    try:
        content = read_bytes(path)
    except OSError as error:
        raise PlottingError(f"{short_path(path)}: cannot be read: {error}") from None
    return yaml_mapping(content, path)


def yaml_mapping(text: bytes, path: Path) -> Mapping[str, object]:
    """The mapping in the content of a YAML file; an empty one holds an empty one.

    Raises:
        PlottingError: If it holds anything else.
    """
    import yaml

    try:
        content = yaml.safe_load(text.decode("utf-8-sig"))
        check_aliases(content)
    except (
        *(ValueError, RecursionError, yaml.YAMLError),
        # PyYAML lets these through for values such as `!!bool x`.
        *(LookupError, ArithmeticError, AttributeError, TypeError),
    ) as error:
        raise PlottingError(f"{short_path(path)}: cannot be read: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise PlottingError(
            f"{short_path(path)}: expected a mapping of keys; got {type(content).__name__}."
        )
    return content
