"""The sources and changes of runs, stored once per content in `code/` of the experiment's folder.

Hundreds of runs share their sources, and run.json is written anew at each checkpoint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from .._files.durable import Check, make_folder, sync_folder, write_file
from .._files.json_files import MAX_BYTES, read_bounded, read_json
from .hashes import config_hash
from .repository import changes_patch

SCHEMA = 1
FOLDER = "code"
_HASH = re.compile("[0-9a-f]{64}")  # nothing else from run.json becomes part of a path


class RecordedRun(Protocol):
    """What is asked of a run here: a `RunRecord` has it."""

    @property
    def folder(self) -> Path:
        """The run folder, which may lie in the trash."""

    @property
    def code(self) -> Mapping[str, object] | None:
        """What `record_code` has returned."""


def record_code(
    folder: Path, facts: Mapping[str, object], *, check: Check | None = None
) -> dict[str, object]:
    """Store the sources and changes of a process, unless they are; return what is to be recorded.

    Args:
        folder: The experiment's folder.
        facts: What `code_facts` returns.
        check: See `write_file`.

    Returns:
        `commit`, `dirty`, `changes_hash` (None also if the changes cannot be stored) and
        `sources_hash` (None without sources). Where the sources cannot be stored, the facts
        themselves, with `sources`, as version 0.1.0 recorded them.
    """
    sources = facts.get("sources")
    facts = {**facts, "changes_hash": _record_changes(folder, facts.get("changes_hash"), check)}
    code = {key: value for key, value in facts.items() if key != "sources"}
    if not isinstance(sources, Mapping) or not sources:
        return {**code, "sources_hash": None}
    digest = config_hash(sources)
    try:
        content = {"schema": SCHEMA, "sources": dict(sorted(sources.items()))}
        _store(folder / FOLDER / f"{digest}.json", json.dumps(content, indent=1) + "\n", check)
    except OSError:
        return dict(facts)
    return {**code, "sources_hash": digest}


def record_code_of_run(
    folder: Path, facts: Mapping[str, object], *, check: Check | None = None
) -> dict[str, object]:
    """`record_code` for a run folder; a run outside an experiment stores its sources in its own."""
    experiment = folder.parent.parent if folder.parent.name == "training" else folder
    return record_code(experiment, facts, check=check)


def _record_changes(folder: Path, digest: object, check: Check | None) -> str | None:
    if not isinstance(digest, str):
        return None
    patch = changes_patch(digest)
    try:
        if patch is not None:  # else a task imports from a snapshot, with which it was stored
            _store(folder / FOLDER / f"{digest}.patch", patch, check)
    except OSError:
        return None
    return digest


def recorded_changes(record: RecordedRun) -> bytes | None:
    """The patch with what differed from the commit when a run was started.

    Args:
        record: A run, also one in the trash.

    Returns:
        None if the record of it is missing or damaged, or nothing differed: then `code` has no
        `changes_hash`.
    """
    import hashlib

    digest = (record.code or {}).get("changes_hash")
    if not isinstance(digest, str) or not _HASH.fullmatch(digest):
        return None
    for folder in _folders(record):
        patch = read_bounded(str(folder / FOLDER / f"{digest}.patch"))
        if isinstance(patch, bytes) and hashlib.sha256(patch[:MAX_BYTES]).hexdigest() == digest:
            return patch
    return None


def recorded_sources(record: RecordedRun) -> dict[str, str] | None:
    """The source files that a run had imported: their sha256 by path, relative to the project.

    Args:
        record: A run, also one in the trash.

    Returns:
        None if there is no record of them, or if it is damaged.
    """
    return read_sources(record.code or {}, *_folders(record))


def _folders(record: RecordedRun) -> tuple[Path, Path]:
    """Where the code of a run may be stored."""
    # `training/RUN` and `.trash/RUN` lie as deep.
    return record.folder.absolute().parent.parent, record.folder


def read_sources(code: Mapping[str, object], *folders: Path) -> dict[str, str] | None:
    """The sources that `record_code` has stored in one of these folders; see `recorded_sources`."""
    inline = code.get("sources")
    if isinstance(inline, Mapping):  # of version 0.1.0
        return dict(inline)
    digest = code.get("sources_hash")
    if not isinstance(digest, str) or not _HASH.fullmatch(digest):
        return None
    for folder in folders:
        sources = _read(folder / FOLDER / f"{digest}.json", digest)
        if sources is not None:
            return sources
    return None


def _store(path: Path, content: str | bytes, check: Check | None) -> None:
    if path.exists():
        return
    made = not path.parent.exists()
    if check is None:
        path.parent.mkdir(exist_ok=True)  # not its parents: the experiment may have moved away
    else:
        make_folder(path.parent, check)
    # Two runs that do this at once write the same.
    write_file(path, content, check=check)
    if made:
        sync_folder(path.parent.parent)


def _read(path: Path, digest: str) -> dict[str, str] | None:
    try:  # a file of a newer schema may mean something else
        content = read_json(path, schema=SCHEMA)
    except (OSError, ValueError):
        return None
    sources = content.get("sources") if isinstance(content, dict) else None
    if not isinstance(sources, dict):
        return None
    return sources if config_hash(sources) == digest else None  # a damaged one has another
