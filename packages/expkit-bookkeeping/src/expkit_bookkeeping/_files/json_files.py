"""Reading JSON that may be damaged, hostile, or written by a newer version.

Whatever is wrong with a file becomes one error that names it, so that it spoils nothing else.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

MAX_BYTES = 1 << 26  # of a file; the largest known, of a run with 10,000 metrics, has one MB
MAX_DEPTH = 200  # of nested values; code that walks them recursively stands several times that
MAX_DIGITS = 308  # of a whole number; more do not fit into a float
PACKAGE = "expkit-bookkeeping"
_CHUNK_BYTES = 1 << 14  # read at once; a run.json has two to five thousand


class UnreadableFileError(ValueError):
    """A file that cannot be read as what its name says; the message says which and why."""


class NewerFileError(UnreadableFileError):
    """A file that a newer version wrote, which may mean something else by it."""


def read_json(
    path: Path,
    kind: type = dict,
    *,
    schema: int | None = None,
    package: str = PACKAGE,
    depth: int = MAX_DEPTH,
) -> object:
    """Read a JSON file, whatever somebody has made of it.

    Args:
        path: The file.
        kind: The type that its content must have: dict, list, or object for any.
        schema: The highest schema that the caller knows; None for a file without one.
        package: Who wrote the file, and has to be upgraded if its schema is higher.
        depth: How deep its content may be nested.

    Raises:
        FileNotFoundError: If there is no such file.
        NewerFileError: If a newer version wrote it.
        UnreadableFileError: If it cannot be read, is not JSON of this kind, is larger than 64 MiB,
            nested deeper, or holds a whole number that no float can hold.
    """
    raw = read_bounded(os.fspath(path))
    if raw is None:
        raise FileNotFoundError(2, os.strerror(2), os.fspath(path))
    if isinstance(raw, OSError):
        raise UnreadableFileError(f"{path} cannot be read: {raw}") from raw
    return parse_json(raw, path, kind, schema=schema, package=package, depth=depth)


def parse_json(
    raw: bytes | str,
    path: str | PathLike[str],
    kind: type = dict,
    *,
    schema: int | None = None,
    package: str = PACKAGE,
    depth: int = MAX_DEPTH,
) -> object:
    """The content of a JSON text from the file `path`, such as one of its lines; as `read_json`."""
    try:
        content = decode(raw, depth)
        if not isinstance(content, kind):
            raise ValueError(f"it holds {type(content).__name__}, not {kind.__name__}")
    except (ValueError, RecursionError) as error:
        raise UnreadableFileError(f"{path} is damaged: {error}") from error
    if schema is not None and isinstance(content, dict):
        check_schema(content, path, schema, package=package)
    return content


def check_schema(
    content: Mapping[str, object], path: str | PathLike[str], schema: int, *, package: str = PACKAGE
) -> None:
    """Check that a file's schema is one that the caller knows; a file without one passes.

    Raises:
        NewerFileError: If it is higher.
        UnreadableFileError: If it is no number.
    """
    written = content.get("schema", schema)
    if not isinstance(written, int) or isinstance(written, bool):
        raise UnreadableFileError(f"{path} is damaged: its schema is {written!r}")
    if written > schema:
        raise NewerFileError(
            f"{path} was written by a newer version of {package} (schema {written}; this one reads "
            f"{schema}): upgrade it, pip install -U {package}"
        )


def decode(raw: bytes | str, depth: int = MAX_DEPTH) -> object:
    """The content of a JSON text within the bounds of `read_json`.

    Raises:
        ValueError: If it is not JSON, or beyond a bound.
        RecursionError: If it is nested so deep that Python refuses it first.
    """
    content = decode_shallow(raw)
    if may_be_deep(raw) and _is_deeper(content, depth):
        raise ValueError(f"it is nested more than {depth} deep")
    return content


def decode_shallow(raw: bytes | str) -> object:
    """As `decode`, for a text that is known not to be nested deep."""
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES >> 20} MiB")
    content: object = _decoder.decode(raw if isinstance(raw, str) else raw.decode())
    return content


def may_be_deep(raw: bytes | str) -> bool:
    """Whether a text has so many brackets that its depth must be counted."""
    if isinstance(raw, str):
        return raw.count("[") + raw.count("{") > MAX_DEPTH
    return raw.count(b"[") + raw.count(b"{") > MAX_DEPTH


def read_bounded(path: str) -> bytes | OSError | None:
    """The bytes of a file, cut off somewhere above `MAX_BYTES`; None if it is missing."""
    # For tens of thousands of runs: no Path and no file object, which doubles the system calls.
    # NONBLOCK: a pipe by this name would block for ever.
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        file = os.open(path, flags)
        try:
            content = b""
            while len(content) <= MAX_BYTES and (
                chunk := os.read(file, max(_CHUNK_BYTES, len(content)))
            ):
                content += chunk
                if len(content) == _CHUNK_BYTES and not stat.S_ISREG(os.fstat(file).st_mode):
                    return OSError(errno.EINVAL, "It is a pipe or a device, not a file", path)
            return content
        finally:
            os.close(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return error


def _is_deeper(content: object, depth: int) -> bool:
    """Whether a value is nested more than `depth` deep; without recursion."""
    level = [content]
    for _ in range(depth + 1):
        inner: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inner.extend(value.values())
            elif isinstance(value, list):
                inner.extend(value)
        if not inner:
            return False
        level = inner
    return True


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


_decoder = json.JSONDecoder(parse_int=_whole_number)
