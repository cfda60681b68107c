"""A commit in a folder of its own, with a patch; the user's repository is only read."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

_COMMIT = re.compile("[0-9a-f]{40}(?:[0-9a-f]{24})?")  # a results folder may say anything
# With them, git would work on another repository than the one in the folder.
_PLACES = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE",
)  # fmt: skip


class CheckoutError(RuntimeError):
    """Git could not do it; the text is what it said."""


def is_commit(text: object) -> bool:
    """Whether this is the full name of a commit."""
    return isinstance(text, str) and _COMMIT.fullmatch(text) is not None


def find_repository(commit: str, folders: Iterable[Path]) -> Path | None:
    """The repository with a commit: the first of those around these folders that has it.

    Returns:
        Where git keeps it, such as `/home/ada/digits/.git`; None if none has the commit.

    Raises:
        CheckoutError: If none has it, and git does not trust one as somebody else owns it.
    """
    distrust = None
    for folder in folders:
        try:
            place = _git(folder, "rev-parse", "--path-format=absolute", "--git-common-dir").rstrip(
                "\n"
            )
            _git(folder, "cat-file", "-e", f"{commit}^{{commit}}")
        except CheckoutError as error:
            distrust = error if "safe.directory" in str(error) else distrust
            continue
        return Path(place)
    if distrust is not None:
        raise distrust
    return None


def check_out(repository: Path, commit: str, folder: Path) -> None:
    """Make a repository in a folder, with a commit of another one, whose objects it borrows.

    Raises:
        CheckoutError: If git cannot.
    """
    # Not a clone, which only has what a branch or tag leads to, and not of a shallow repository.
    # Without a template no hook is there that could run.
    formats = [] if len(commit) == 40 else ["--object-format=sha256"]
    _git(folder.parent, "init", "--quiet", "--template=", *formats, "--", str(folder.absolute()))
    information = folder / ".git" / "objects" / "info"
    information.mkdir(exist_ok=True)
    (information / "alternates").write_bytes(os.fsencode(repository / "objects") + b"\n")
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(repository / "shallow", folder / ".git" / "shallow")
    _git(folder, "checkout", "--quiet", "--detach", commit, GIT_LFS_SKIP_SMUDGE="1")


def apply_patch(folder: Path, patch: bytes) -> None:
    """Apply a patch as a whole, or nothing of it.

    Raises:
        CheckoutError: If it does not fit.
    """
    if b"\ndiff --git " in patch:
        _git(folder, "apply", "--binary", "--whitespace=nowarn", "-", stdin=patch)


def _git(folder: Path, *arguments: str, stdin: bytes = b"", **variables: str) -> str:
    environ = {key: value for key, value in os.environ.items() if key not in _PLACES}
    try:
        done = subprocess.run(
            ["git", "-c", "core.hooksPath=/dev/null", *arguments],
            cwd=folder,
            env={**environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", **variables},
            input=stdin,
            capture_output=True,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        text = os.fsdecode(error.stderr).strip()
        raise CheckoutError(text or f"git {arguments[0]} failed") from error
    except OSError as error:  # no git, or no such folder
        raise CheckoutError(str(error)) from error
    return os.fsdecode(done.stdout)
