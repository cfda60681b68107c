"""Taking a run over so that a former owner, should it wake up, reaches nothing.

An owner that was taken for gone may only have been stopped, or cut off from the file server, and go
on in the middle of anything. What it does next is one of these:

- It puts a whole file into its place, by renaming a temporary one. It asked whether its claim is
  the highest when the temporary file was complete. If it asked before the next claim was linked,
  the temporary file was there by then, `sweep` has removed it, and the rename fails. If it asks
  later, it learns that it has lost the run. The same holds for links and folders.
- It appends to a file that it has open, or cuts it. `detach` has put a copy into the place of that
  file, and nobody sees the old one any more. It asks for its claim once the file is open: one that
  it opened later is the new owner's, and it writes nothing there.
- It removes a file. It renames it first to a temporary name, and asks: if the claim is lost, the
  file gets its name back.

What it did between the new claim and the end of `sweep` and `detach` is there before the new owner
reads anything. So the order is: link the claim, sweep, read run.json again, detach, write run.json.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from .._files.durable import Check, atomic_path, is_temporary
from .._provenance.hashes import changes_text, config_changes
from .settings import read_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .records import RunRecord

# What an open run appends to. Files of other names are the user's, who may have them open.
APPEND_FILES = ("metrics.jsonl", "tracking.jsonl", "training.log", "console.log")
_OF_OTHER_RUNS = ("claims", "grids")  # what a folder holds that is no part of the run


def sweep(folder: Path, check: Check, *, deep: bool = True) -> None:
    """Remove the temporary files of former owners, also those that are about to be renamed.

    Args:
        folder: The run folder.
        check: Raises if the caller has lost the run. Asked between looking and removing, so that
            what is removed is never a later owner's.
        deep: Whether to look into all folders; else only where claims are made.
    """
    if deep:
        leftovers = list(_temporaries(folder))
    else:
        leftovers = [*_temporaries_in(folder), *_temporaries_in(folder / "claims")]
    if not leftovers:
        return
    check()
    for entry in leftovers:
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                Path(entry.path).rmdir()
            else:
                Path(entry.path).unlink()


def detach(folder: Path, check: Check, *, others: Iterable[str] = ()) -> None:
    """Put copies into the place of the files that a former owner may have open to append to.

    Args:
        folder: The run folder.
        check: Raises if the caller has lost the run; see `write_file`.
        others: Names of more such files of the run.

    Raises:
        OSError: If the disk is full; the files are then as they were.
    """
    open_here = _open_files()
    for name in dict.fromkeys((*APPEND_FILES, *others)):
        path = folder / name
        try:
            stat = path.lstat()
        except OSError:
            continue
        # One that this process has open already is its own, such as the journal of an MLFlowLogger
        # that was opened first; and a link leads to what is not the run's.
        if path.is_symlink() or not path.is_file() or (stat.st_dev, stat.st_ino) in open_here:
            continue
        with atomic_path(path, check) as copy:
            shutil.copy2(path, copy)


def continued_under(
    former: RunRecord,
    config: Mapping[str, object] | None,
    *,
    attempt: int,
    config_hash: str | None = None,
    unresolved: Collection[str] = (),
) -> list[Mapping[str, object]]:
    """What run.json says under `continued` once an attempt begins with this configuration.

    The folder's config.yaml, which tells the one before, must not have been written anew yet.

    Args:
        former: The run as the attempt before has left it.
        config: The configuration; None if it is not known.
        attempt: The number of the attempt.
        config_hash: The configuration's hash, if it has one.
        unresolved: Keys whose values depend on the machine or the time.
    """
    continued = list(former.continued)
    # A script may add to its configuration, and config.yaml then holds more: the hash decides.
    is_same = config_hash is not None and config_hash == former.config_hash
    if config is None or is_same:
        return continued
    try:
        before = read_config(former.folder)
    except (OSError, ValueError):  # missing or damaged: nobody knows
        return continued
    changes = config_changes(before, config, [*former.unresolved, *unresolved])
    if not changes:
        return continued
    # Killed before it wrote config.yaml, an attempt has said so already.
    kept = [entry for entry in continued if entry.get("changes") != changes or _resumed(entry)]
    return [*kept, {"attempt": attempt, "epoch": None, "changes": changes}]


def resumed_at(
    continued: Sequence[Mapping[str, object]], epoch: int | None
) -> list[Mapping[str, object]]:
    """What run.json says under `continued` once the training has been restored.

    Args:
        continued: What it said before.
        epoch: The epoch to run next; None if the training starts over, so that nothing of earlier
            configurations is left.
    """
    if epoch is None:
        return []
    epochs = [before if type(before := entry.get("epoch")) is int else epoch for entry in continued]
    return [
        {**entry, "epoch": min(before, epoch)}
        for entry, before in zip(continued, epochs, strict=True)
    ]


def continuation_text(continued: Sequence[Mapping[str, object]]) -> str:
    """How a run's configuration changed while it was trained; empty if it did not.

    Args:
        continued: What run.json says under this key.

    Examples:
        >>> change = {"key": "epochs", "before": 20, "after": 40}
        >>> continuation_text([{"attempt": 2, "epoch": 20, "changes": [change]}])
        'epochs 20 → 40 at epoch 20'
    """
    texts = []
    for entry in continued:
        changes = entry.get("changes")
        text = changes_text(changes if isinstance(changes, list) else [])
        texts.append(f"{text} at epoch {entry['epoch']}" if _resumed(entry) else text)
    return "; ".join(texts)


def _resumed(entry: Mapping[str, object]) -> bool:
    return entry.get("epoch") is not None


def _temporaries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """All in the folder, but for those in folders of other runs and behind links."""
    pending = [os.fspath(folder)]
    while pending:
        inner = pending.pop()
        entries = _entries(inner)
        if inner != os.fspath(folder) and any(entry.name in _OF_OTHER_RUNS for entry in entries):
            continue
        for entry in entries:
            if is_temporary(entry.name):
                yield entry
            elif entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)


def _temporaries_in(folder: Path) -> list[os.DirEntry[str]]:
    return [entry for entry in _entries(os.fspath(folder)) if is_temporary(entry.name)]


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _open_files() -> set[tuple[int, int]]:
    """Device and number of each file that this process has open, where the system tells."""
    identities = set()
    with contextlib.suppress(OSError):  # Windows, where an open file cannot be replaced anyway
        for name in os.listdir("/dev/fd"):  # noqa: PTH208 (no Path objects)
            with contextlib.suppress(OSError, ValueError):
                stat = os.fstat(int(name))
                identities.add((stat.st_dev, stat.st_ino))
    return identities
