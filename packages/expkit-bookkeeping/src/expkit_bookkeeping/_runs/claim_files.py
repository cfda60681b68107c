"""The files of claims/: who holds a run folder, what for, and since when.

A claim is to `run`, which is an attempt, or to `remove`, which is none. One that came to nothing is
`void`, and so is one whose process is gone before it has written run.json: all who read pass it
over.
"""

import contextlib
import errno
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .._files.durable import write_file, write_temporary
from .._files.json_files import NewerFileError, UnreadableFileError, read_json
from .processes import ProcessIdentity

SCHEMA = 1  # of claims
TO_RUN = "run"  # what a claim is for; also of those of version 0.1.0, which do not say
TO_REMOVE = "remove"
VOID = "void"
_LINKS_UNSUPPORTED = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # exFAT, FUSE
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """One file of claims/, as docs/formats.md describes it: who holds the run, and what for."""

    number: int
    attempt: int | None = None  # None if it is for no attempt, or unreadable
    purpose: str = TO_RUN  # a word of a newer version is kept as it is
    shared: bool = False
    claimed_at: str | None = None
    host: str | None = None
    pid: int | None = None
    process_start: str | None = None
    slurm: Mapping[str, object] | None = None


def claim_path(folder: Path, number: int) -> Path:
    """The file of claim `number` of a run."""
    return folder / "claims" / f"{number:04d}.json"


def highest_claim(folder: Path) -> int:
    """The highest number in claims/, whatever that claim is for; 0 if there is none."""
    try:
        names = os.listdir(folder / "claims")  # noqa: PTH208 (called often; no Path objects)
    except OSError:
        return 0
    numbers = (name[:-5] for name in names if name.endswith(".json"))
    # Nine digits: more are no claim's number, and what isdigit() takes, int() may refuse.
    return max((int(number) for number in numbers if _NUMBER.fullmatch(number)), default=0)


def read_claim(folder: Path, number: int) -> ClaimFacts:
    """The claim with this number; one that cannot be read counts as somebody's, to run.

    Raises:
        NewerFileError: If a newer version wrote it.
    """
    data = _read_facts(folder, number)
    purpose = data.get("purpose", TO_RUN)
    return ClaimFacts(
        number,
        attempt=count_or_none(data.get("attempt")),
        purpose=purpose if isinstance(purpose, str) else repr(purpose),
        shared=data.get("shared") is True,
        claimed_at=text_or_none(data.get("claimed_at")),
        host=text_or_none(data.get("host")),
        pid=count_or_none(data.get("pid")),
        process_start=text_or_none(data.get("process_start")),
        slurm=mapping_or_none(data.get("slurm")),
    )


def claim_that_holds(
    folder: Path, above: int, is_void: Callable[[ClaimFacts], bool], *, below: int | None = None
) -> ClaimFacts | None:
    """The highest claim that is not void, of those with a number above `above`; None if all are.

    Args:
        folder: The run folder.
        above: Number of a claim; 0 considers all.
        below: Number of a claim, of which only lower ones count; None counts all.
        is_void: Says whether a claim to run or to remove is void because its process is gone.

    Raises:
        NewerFileError: If a newer version wrote a claim.
    """
    highest = highest_claim(folder) if below is None else below - 1
    for number in range(highest, above, -1):
        claim = read_claim(folder, number)
        if claim.purpose == VOID or (claim.purpose in (TO_RUN, TO_REMOVE) and is_void(claim)):
            continue
        return claim
    return None


def link_claim(
    folder: Path,
    number: int,
    process: ProcessIdentity,
    clock: Callable[[], float],
    *,
    attempt: int | None = None,
    purpose: str = TO_RUN,
    shared: bool = False,
) -> bool:
    """Make claim `number` for this process; False if another process was first.

    Args:
        folder: The run folder.
        number: Of the claim.
        process: This process.
        clock: Seconds since the epoch.
        attempt: Number of the attempt; None for a claim that is none, or whose number is the same.
        purpose: What the claim is for.
        shared: Whether the folder held files of others when it was first claimed.
    """
    path = claim_path(folder, number)
    facts = {
        "schema": SCHEMA,
        "attempt": (attempt or number) if purpose == TO_RUN else None,
        "purpose": purpose,
        "shared": shared,
        "claimed_at": datetime.fromtimestamp(clock(), UTC).isoformat(timespec="microseconds"),
        **process.facts(),
    }
    # To run, without waiting for the disk: run.json follows at once, durable, and says the same.
    text = json.dumps(facts, ensure_ascii=False) + "\n"
    finished = write_temporary(path, text, durable=purpose != TO_RUN)
    try:
        # Unlike O_EXCL this is atomic on NFS too, and the claim is complete when it appears.
        os.link(finished, path)
    except FileNotFoundError:  # the first process has taken our file for a leftover
        return False
    except FileExistsError:
        # The reply to a link that succeeded may get lost on NFS, and the repeated call fails.
        if _link_count(finished) != 2:
            return False
    except OSError as error:
        if error.errno not in _LINKS_UNSUPPORTED:
            raise
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
        finished.replace(path)
    finally:
        finished.unlink(missing_ok=True)
    return True


def _link_count(path: Path) -> int:
    """How many names a file has; 0 if it is gone."""
    try:
        return path.stat().st_nlink
    except FileNotFoundError:
        return 0


def make_void(folder: Path, number: int, process: ProcessIdentity) -> None:
    """Give up a claim of this process: whoever reads it from now on passes it over.

    Where that cannot be written, the claim holds the run until this process is gone. Another run's
    claim, if one lies there by now, stays as it is.
    """
    with contextlib.suppress(OSError):
        content = _read_facts(folder, number)
        if process.facts().items() <= content.items():
            content["purpose"] = VOID
            write_file(claim_path(folder, number), json.dumps(content, ensure_ascii=False) + "\n")


def _read_facts(folder: Path, number: int) -> dict[str, object]:
    content: object = {}
    try:
        content = read_json(claim_path(folder, number), schema=SCHEMA)
    except NewerFileError:
        raise
    except (FileNotFoundError, UnreadableFileError):  # its owner is unknown, and may be alive
        pass
    return content if isinstance(content, dict) else {}


def text_or_none(value: object) -> str | None:
    """A text as a JSON file holds it; None for any other value."""
    return value if isinstance(value, str) else None


def count_or_none(value: object) -> int | None:
    """A number that can be an attempt's or a process's; None for any other value."""
    return value if type(value) is int and 0 < value < 1 << 31 else None


def mapping_or_none(value: object) -> dict[str, object] | None:
    """An object as a JSON file holds it; None for any other value."""
    return value if isinstance(value, dict) else None
