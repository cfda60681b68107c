"""The sources of runs, stored once per content in `code/` of the experiment's folder.

Hundreds of runs share their sources, and run.json is written anew at each checkpoint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from .._files.durable import Check, make_folder, sync_folder, write_file
from .._files.json_files import read_json
from .hashes import config_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .records import RunRecord

SCHEMA = 1
FOLDER = "code"
_HASH = re.compile("[0-9a-f]{64}")  # nothing else from run.json becomes part of a path


def record_code(
    folder: Path, facts: Mapping[str, object], *, check: Check | None = None
) -> dict[str, object]:
    """Store the sources of a process, unless they are, and return what else is to be recorded.

    Args:
        folder: The experiment's folder.
        facts: What `code_facts` returns.
        check: See `write_file`.

    Returns:
        `commit`, `dirty` and `sources_hash` (None without sources). Where the sources cannot be
        stored, the facts themselves, with `sources`, as version 0.1.0 recorded them.
    """
    sources = facts.get("sources")
    code = {key: value for key, value in facts.items() if key != "sources"}
    if not isinstance(sources, Mapping) or not sources:
        return {**code, "sources_hash": None}
    digest = config_hash(sources)
    try:
        _store(folder / FOLDER / f"{digest}.json", sources, check)
    except OSError:
        return dict(facts)
    return {**code, "sources_hash": digest}


def record_code_of_run(
    folder: Path, facts: Mapping[str, object], *, check: Check | None = None
) -> dict[str, object]:
    """`record_code` for a run folder; a run outside an experiment stores its sources in its own."""
    experiment = folder.parent.parent if folder.parent.name == "training" else folder
    return record_code(experiment, facts, check=check)


def recorded_sources(record: RunRecord) -> dict[str, str] | None:
    """The source files that a run had imported: their sha256 by path, relative to the project.

    Args:
        record: A run, also one in the trash.

    Returns:
        None if there is no record of them, or if it is damaged.
    """
    # `training/RUN` and `.trash/RUN` lie as deep.
    experiment = record.folder.absolute().parent.parent
    return read_sources(record.code or {}, experiment, record.folder)


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


def _store(path: Path, sources: Mapping[str, object], check: Check | None) -> None:
    if path.exists():
        return
    made = not path.parent.exists()
    if check is None:
        path.parent.mkdir(exist_ok=True)  # not its parents: the experiment may have moved away
    else:
        make_folder(path.parent, check)
    content = {"schema": SCHEMA, "sources": dict(sorted(sources.items()))}
    # Two runs that do this at once write the same.
    write_file(path, json.dumps(content, indent=1) + "\n", check=check)
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
