"""Results that are added to a completed run, and the history of who added what and when."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from .._files.append_files import open_append_file, open_lines, open_to_read
from .._files.durable import Check, append_line_to, make_folder, wait_for_lock
from .._files.json_files import UnreadableFileError, parse_json
from .._files.plain_data import json_data
from .._provenance.environment import public_command
from .._results.values import load_results, results_path, save_results, to_plain
from .._runs.processes import this_process
from .._runs.records import Liveness, RunRecord, find_run
from .._runs.refusals import ClaimLost, RunClaimed, check_still_completed, claimed_message

_log = logging.getLogger(__name__)

FILE_NAME = "additions.jsonl"  # in results/
SCHEMA = 1
MOST_BYTES = 100_000  # of data that the history repeats
_OF_MAPPINGS = (".yaml", ".yml", ".json")


def add_results(
    judged: RunRecord,
    data: object,
    name: str,
    *,
    is_alive: Liveness,
    clock: Callable[[], float],
) -> Path:
    """Add results to a completed run, whose other files stay as they are.

    Args:
        judged: The run as the caller has read it.
        data: See `save_results`.
        name: See `save_results`. A mapping is merged into the one that has this name.
        is_alive: Says whether an owner of the run is alive.
        clock: Seconds since the epoch.

    Returns:
        The file.

    Raises:
        ClaimLost: If the run was moved away, or was run again since it was read.
        FileExistsError: If there is a file of this name that nothing can be merged into.
        RunClaimed: If the run is running.
        ValueError: If the run is not completed; see `save_results` for the others.
    """
    folder, root = judged.folder, judged.folder / "results"
    _check_completed(judged, is_alive)

    def check() -> None:
        record = find_run(folder, is_alive=is_alive)
        check_still_completed(record, judged)
        if record is not None and record.ended_at != judged.ended_at:
            raise ClaimLost(
                f"Run {judged.run_name!r} in {folder} was run again since it was opened here "
                f"(attempt {record.attempt}). Nothing was added. Open it again, and evaluate what "
                "it is now."
            )

    path = _target(folder, data, name)
    added = to_plain(data) if path.suffix in _OF_MAPPINGS else data
    check()
    make_folder(path.parent, check)
    with _open_history(root / FILE_NAME, check) as history:
        replaced: dict[str, object] = {}
        file = path.relative_to(root).as_posix()
        content = added
        if path.exists():
            former = load_results(folder, file)
            if not isinstance(former, Mapping) or not isinstance(added, Mapping):
                raise FileExistsError(
                    f"{path} exists, and only mappings are merged. Give the new results another "
                    "name; to replace the file, save them in the block of a Bookkeeping."
                )
            content = _merged(former, added, replaced)
        save_results(folder, content, file, check=check)
        line = json.dumps(
            {
                "schema": SCHEMA,
                "added_at": datetime.fromtimestamp(clock(), UTC).isoformat(timespec="microseconds"),
                "file": file,
                "data": _repeated(added),
                "replaced": _repeated(replaced),
                "sha256": _sha256(path),
                "attempt": judged.attempt,
                **_who(),
            },
            ensure_ascii=False,
        )
        append_line_to(history, root / FILE_NAME, line)
    for key, value in replaced.items():
        _log.warning(
            "%s in %s was %r before; %s has both values.", key, path, value, root / FILE_NAME
        )
    return path


def read_additions(folder: Path) -> list[dict[str, object]]:
    """The history of a run's additions, oldest first, as docs/formats.md describes its lines.

    A torn last line is passed over; any other that cannot be read is, too, with a warning.
    """
    path = folder / "results" / FILE_NAME
    try:
        with open_lines(path) as file:
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    additions = []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            content = parse_json(line, f"{path}, line {number},", schema=SCHEMA)
        except UnreadableFileError as error:
            if number < len(lines):
                _log.warning("%s; left out.", error)
            continue
        assert isinstance(content, dict)
        additions.append(content)
    return additions


def _check_completed(judged: RunRecord, is_alive: Liveness) -> None:
    record = find_run(judged.folder, is_alive=is_alive)
    if record is not None and record.id == judged.id and record.state == "running":
        claimed = RunClaimed(claimed_message(record.folder, record))
        claimed.owner = record
        raise claimed
    if judged.state != "completed":
        reason = f": {judged.reason}" if judged.reason else ""
        raise ValueError(
            f"Results are added to completed runs, and {judged.run_name!r} in {judged.folder} was "
            f"{judged.state} when it was opened here{reason}. Finish it, then open it again; or "
            "save them in the block of a Bookkeeping, which continues it."
        )


def _target(folder: Path, data: object, name: str) -> Path:
    """The file for data of this name: where the name has no suffix, the mapping that is there."""
    path = results_path(folder, data, name)
    if path.suffix in _OF_MAPPINGS and not name.endswith(path.suffix):
        files = [path.with_suffix(suffix) for suffix in _OF_MAPPINGS]
        files = [file for file in files if file.exists()]
        if len(files) > 1:
            names = ", ".join(repr(file.name) for file in files)
            raise ValueError(f"{name!r} could be {names}. Give the suffix.")
        path = files[0] if files else path
    return path


@contextlib.contextmanager
def _open_history(path: Path, check: Check) -> Iterator[int]:
    """The history, locked: whoever adds reads, merges and writes alone."""
    descriptor = open_append_file(path, check)
    try:
        wait_for_lock(descriptor)
        check()
        yield descriptor
    finally:
        os.close(descriptor)


def _merged(
    former: Mapping[object, object],
    added: Mapping[object, object],
    replaced: dict[str, object],
    prefix: str = "",
) -> dict[object, object]:
    """Both mappings in one; `replaced` gets the former values of keys that have another one now."""
    merged = dict(former)
    for key, value in added.items():
        old, name = former.get(key), f"{prefix}{key}"
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(old, value, replaced, f"{name}.")
            continue
        if key in former and json_data(old) != json_data(value):
            replaced[name] = old
        merged[key] = value
    return merged


def _repeated(data: object) -> object:
    """A mapping as the history repeats it; None for anything else, or what is too large."""
    if not isinstance(data, Mapping) or not data:
        return None
    content = json_data(data)
    return content if len(json.dumps(content)) <= MOST_BYTES else None


def _sha256(path: Path) -> str:
    with open_to_read(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _who() -> dict[str, object]:
    import getpass

    user = None
    with contextlib.suppress(KeyError, OSError, ImportError):  # no such user here, or no users
        user = getpass.getuser()
    process = this_process()
    return {"user": user, "host": process.host, "pid": process.pid, "command": public_command()}
