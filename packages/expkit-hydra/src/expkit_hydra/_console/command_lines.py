"""Paths and commands as the user would type them."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path


def short_path(path: Path) -> str:
    """A path as the user would type it: relative if it is below the working directory."""
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)


def again(argv: Sequence[str] | None = None) -> str:
    """The command that started this process, ready to be pasted.

    >>> again(["train.py", "-m", "model=mlp,cnn"])
    'python train.py -m model=mlp,cnn'
    """
    from expkit_bookkeeping.launching import public_override, without_known_secrets

    words = sys.argv if argv is None else argv
    script, *arguments = [public_override(without_known_secrets(text)) for text in words]
    if script.endswith(".py"):
        return shlex.join(["python", short_path(Path(script)), *arguments])
    return shlex.join([Path(script).name, *arguments])


def command_line(verb: str, *arguments: str) -> str:
    """A command of expkit as it works here: by name, or by module if `expkit` is not installed."""
    if shutil.which("expkit") is not None:
        return shlex.join(["expkit", verb, *arguments])
    package = installed_verbs().get(verb, "expkit_hydra")
    return shlex.join(["python", "-m", package, verb, *arguments])


def installed_verbs() -> dict[str, str]:
    """Installed verbs, each with the package that brings it."""
    packages: dict[str, str] = {}
    for entry in entry_points(group="expkit.commands"):
        packages.setdefault(entry.name, entry.module.partition(".")[0])
    return packages
