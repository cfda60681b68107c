"""Files in the run folder of Bookkeeping, while its claim is the highest.

A process that was stopped, and taken for gone, must not write into what belongs to another one by
now. So a file appears under a temporary name first, which whoever takes the run over removes, and
the claim is asked for just before it gets its own; docs/formats.md describes both. A journal that
is open is replaced by a copy then, and what the stopped process appends to the old one is not seen.
"""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from .processes import is_gone

Check = Callable[[], None]

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC


class RunLost(RuntimeError):
    """The run has been claimed by another process since, or its folder is gone."""


def claim_check(run: Mapping[str, object]) -> Check | None:
    """A function that raises once a run is no longer this process's; None if nobody claims it.

    Args:
        run: The content of run.json, and `folder`, as a sink gets it.
    """
    folder = Path(str(run["folder"]))
    if "schema" not in run or (folder.exists() and not (folder / "claims").exists()):
        return None  # not Bookkeeping's
    number = int(str(run.get("claim") or run.get("attempt") or 1))

    def check() -> None:
        if not _claim(folder, number).exists() or _is_claimed_after(folder, number):
            raise RunLost(
                f"The run in {folder} was claimed by another process, or moved away. Nothing more "
                "is written for it here."
            )

    return check


def _claim(folder: Path, number: int) -> Path:
    return folder / "claims" / f"{number:04d}.json"


def _is_claimed_after(folder: Path, number: int) -> bool:
    """Whether a claim with a higher number is there that is not void."""
    while True:
        number += 1
        try:
            facts = json.loads(_claim(folder, number).read_bytes())
        except FileNotFoundError:
            return False
        except (OSError, ValueError):
            return True
        purpose = facts.get("purpose") if isinstance(facts, dict) else None
        is_void = purpose == "remove" and is_gone(facts, _claim(folder, number))
        if purpose != "void" and not is_void:
            return True


def open_journal(path: Path, check: Check | None = None) -> int:
    """Opens a journal to append to it, and makes it if it is missing; returns the descriptor."""
    if check is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, _FLAGS | os.O_CREAT, 0o666)
    while True:
        check()
        try:
            fd = os.open(path, _FLAGS)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                return _make(path, check)
            continue  # somebody else has just made it
        try:
            check()  # only now: a journal that was replaced since is not the one that is open
        except BaseException:
            os.close(fd)
            raise
        return fd


def _make(path: Path, check: Check) -> int:
    temporary = _temporary(path)
    fd = os.open(temporary, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        check()
        try:
            os.link(temporary, path)
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError:  # a file system without links
            if path.exists():
                raise FileExistsError(path) from None
            temporary.rename(path)
    except BaseException:
        os.close(fd)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    return fd


def copy_into(source: Path, target: Path, check: Check | None = None) -> None:
    """Copies a file or folder to `target` in a run folder; each file appears as a whole."""
    if check is not None:
        check()
    target.parent.mkdir(parents=True, exist_ok=True)

    def copy(file: str, copied: str) -> str:
        temporary = _temporary(Path(copied))
        try:
            shutil.copy2(file, temporary)
            if check is not None:
                check()
            temporary.replace(copied)
        except FileNotFoundError:  # whoever took the run over has removed the temporary file
            if check is not None:
                check()
            raise
        finally:
            temporary.unlink(missing_ok=True)
        return copied

    if source.is_dir():
        shutil.copytree(source, target, copy_function=copy, dirs_exist_ok=True)
    else:
        copy(str(source), str(target))


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex}.tmp")
