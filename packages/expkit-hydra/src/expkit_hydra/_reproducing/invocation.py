"""How a run was started, from its own files, and how it is started again in another folder."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

_CONFIG_FLAGS = re.compile(r"(--config-name|-cn|--config-dir|-cd|--config-path|-cp)(=.*)?", re.S)


@dataclass(frozen=True)
class Invocation:
    """How a run was started.

    Attributes:
        program: What stood behind `python`: the interpreter's options, and a script or `-m` and a
            module.
        arguments: Of the program.
        folder: The working directory.
        project: The folder to which the names of its sources are relative; None if nothing says.
        is_hydra: Whether overrides lead its results elsewhere.
    """

    program: tuple[str, ...]
    arguments: tuple[str, ...]
    folder: Path
    project: Path | None
    is_hydra: bool

    def folder_below(self, root: Path) -> Path | None:
        """The working directory in a copy of the project; None if it was outside the project."""
        if self.project is None:
            return root
        below = os.path.relpath(self.folder, self.project)
        return None if below.startswith("..") else Path(os.path.normpath(root / below))


def recorded_invocation(record: RunRecord) -> Invocation | None:
    """How a run was started; None if nothing tells it, as in a notebook.

    What the run itself has written comes first: the latest grid may be another one.
    """
    from expkit_bookkeeping.launching import split_arguments

    environment = read_mapping(record.folder / "environment.yaml")
    hydra = read_mapping(record.folder / ".hydra" / "hydra.yaml").get("hydra")
    words = _grid_command(record) or _texts(environment.get("command"))
    options, program, arguments = split_arguments(words)
    if not program or program[0] == "-c":
        return None
    folder = environment.get("folder")
    if isinstance(hydra, Mapping):
        runtime = hydra.get("runtime")
        folder = runtime.get("cwd", folder) if isinstance(runtime, Mapping) else folder
        arguments = [*_config_flags(arguments), *_overrides(record.folder, hydra)]
    if not isinstance(folder, str) or not Path(folder).is_absolute():
        return None
    project = environment.get("project")
    if program[0] != "-m" and Path(program[0]).is_absolute():
        program = [os.path.relpath(program[0], folder)]
    return Invocation(
        program=(*options, *program),
        arguments=tuple(arguments),
        folder=Path(folder),
        project=Path(project) if isinstance(project, str) else None,
        is_hydra=isinstance(hydra, Mapping),
    )


def results_override(folder: str, run_name: str, config: Mapping[str, object]) -> str:
    """The override that leads the results of a Hydra app into a folder."""
    if "results_dir" in config:
        return f"results_dir={folder}"
    path = f"{folder}/{run_name}".replace("\\", "\\\\").replace("'", "\\'")
    return f"hydra.run.dir='{path}'"


def script(
    invocation: Invocation, *, code: str, folder: str, paths: Sequence[str], results: Sequence[str]
) -> str:
    """A shell script that starts a run again, wherever its folder is moved.

    Args:
        invocation: How the run was started.
        code: The checkout, relative to the script.
        folder: The working directory, relative to the script.
        paths: Folders with packages of the project, relative to the script.
        results: Arguments that lead its results elsewhere.
    """
    from .._console.command_lines import interpreter

    words = [*invocation.program, *invocation.arguments, *results]
    quoted = [f'"$here"/{shlex.quote(path)}' for path in paths]
    path_lines = []
    if paths:  # before what is installed: that may be the project as it is now
        path_lines = [
            f"PYTHONPATH={':'.join(quoted)}${{PYTHONPATH:+:$PYTHONPATH}}",
            "export PYTHONPATH",
        ]
    return "\n".join(
        [
            "#!/bin/sh",
            f"# Starts the run again from {code}/; see README.md.",
            "set -eu",
            'here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)',
            *path_lines,
            f'cd "$here"/{shlex.quote(folder)}',
            f'exec "${{PYTHON:-{_in_quotes(interpreter())}}}" {shlex.join(words)} "$@"',
            "",
        ]
    )


def _in_quotes(text: str) -> str:
    return re.sub(r'([\\"$`}])', r"\\\1", text)


def _grid_command(record: RunRecord) -> list[str]:
    from expkit_bookkeeping.launching import folder_name

    from .._grid.grid import read_description

    if record.grid_id is None:
        return []
    try:
        name = folder_name(record.grid_id, "grid_id")
        description = read_description(record.folder.parent.parent / "grids" / name)
    except (OSError, ValueError):  # gone or damaged: the run's own files may say it
        return []
    return _texts(description.get("command"))


def _config_flags(arguments: Sequence[str]) -> list[str]:
    """The arguments that choose the primary configuration; all others are overrides, or a sweep."""
    flags = []
    for number, word in enumerate(arguments):
        match = _CONFIG_FLAGS.fullmatch(word)
        if match is not None:
            flags += [word] if match[2] else list(arguments[number : number + 2])
    return flags


def _overrides(folder: Path, hydra: Mapping[str, Any]) -> list[str]:
    """The overrides of a run, and those of Hydra's that the program itself notices."""
    from expkit_bookkeeping.launching import read_yaml

    try:
        task = _texts(read_yaml(folder / ".hydra" / "overrides.yaml"))
    except (OSError, ValueError):
        task = []
    lists = hydra.get("overrides")
    own = _texts(lists.get("hydra")) if isinstance(lists, Mapping) else []
    return [*task, *(text for text in own if text.lstrip("+").startswith("hydra.job."))]


def read_mapping(path: Path) -> dict[str, Any]:
    """What a YAML file holds; nothing if it is missing or damaged."""
    from expkit_bookkeeping.launching import read_yaml

    try:
        content = read_yaml(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _texts(value: object) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list) else []
