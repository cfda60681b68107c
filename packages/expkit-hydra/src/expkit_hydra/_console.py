"""What is printed: where to, and paths and commands as the user would type them.

Imports neither Hydra nor OmegaConf, so that `expkit status` answers at once.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """Where the sweep writes: this process's standard output as it is now."""
    from rich.console import Console

    # Without a terminal rich assumes 80 columns and folds run names; a file has no width.
    width = None if sys.stdout.isatty() else 200
    return Console(file=sys.stdout, highlight=False, soft_wrap=False, width=width)


def shown(path: Path) -> str:
    """A path as the user would type it: relative where it lies below this directory."""
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)


def again(argv: Sequence[str] | None = None) -> str:
    """The command that started this process, ready to be pasted.

    >>> again(["train.py", "-m", "model=mlp,cnn"])
    'python train.py -m model=mlp,cnn'
    """
    script, *arguments = sys.argv if argv is None else argv
    if script.endswith(".py"):
        return shlex.join(["python", shown(Path(script)), *arguments])
    return shlex.join([Path(script).name, *arguments])


def command_line(verb: str, *arguments: str) -> str:
    """A command of expkit as it works here: by name, or by module where `expkit` is missing."""
    if shutil.which("expkit") is not None:
        return shlex.join(["expkit", verb, *arguments])
    package = installed_verbs().get(verb, "expkit_hydra")
    return shlex.join(["python", "-m", package, verb, *arguments])


def installed_verbs() -> dict[str, str]:
    """Installed verbs, each with the package that brings it."""
    found: dict[str, str] = {}
    for each in entry_points(group="expkit.commands"):
        found.setdefault(each.name, each.module.partition(".")[0])
    return found
