"""Paths and commands as the user would type them."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from itertools import islice
from pathlib import Path

_PDB_TAKES_ALL_FLAGS = (3, 13, 0)  # as its own, and refuses them (python/cpython#125115)
_CONFIG_FLAGS = ("--config-name", "-cn", "--config-path", "-cp", "--config-dir", "-cd")


def short_path(path: Path) -> str:
    """A path as the user would type it: relative if it is below the working directory."""
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)


def again(words: Sequence[str] | None = None) -> str | None:
    """The command that starts a program again, ready to be pasted; None if nobody can know it.

    Args:
        words: What stood behind `python`, as a grid records it; None: this process's own.
    """
    from expkit_bookkeeping.launching import (
        public_override,
        typed_arguments,
        without_known_secrets,
    )

    words = typed_arguments() if words is None else words
    if not words:
        return None
    program, *arguments = [public_override(without_known_secrets(text)) for text in words]
    script = _script_on_path(program)
    return shlex.join([*([interpreter(), program] if script is None else [script]), *arguments])


def recordable(words: Sequence[str] | None) -> list[str]:
    """What `again` needs of these words, without absolute paths of this machine."""
    from expkit_bookkeeping.launching import split_arguments

    options, program, arguments = split_arguments(words or [])
    if len(program) == 1 and Path(program[0]).is_absolute():
        on_path = _script_on_path(program[0]) is not None
        program = [Path(program[0]).name if on_path else os.path.relpath(program[0])]
    return [*options, *program, *arguments]


@dataclass(frozen=True)
class Repetition:
    """How a program is started once more, for one run.

    Attributes:
        options: Of the interpreter.
        program: A file, or `-m` and a module.
        arguments: Of the program.
        folder: Where it was started; None if that is unknown.
    """

    options: Sequence[str]
    program: Sequence[str]
    arguments: Sequence[str]
    folder: Path | None

    def in_debugger(self) -> str:
        """The command that runs it under pdb, to the error."""
        is_here = self.folder in (None, Path.cwd()) or not self.folder.is_dir()
        # `-c continue` runs to the error and stops there.
        pdb = ["-m", "pdb", "-c", "continue"]
        program = list(self.program)
        has_flags = any(argument.startswith("-") for argument in self.arguments)
        if has_flags and sys.version_info[:3] == _PDB_TAKES_ALL_FLAGS:
            program.insert(2 if program[0] == "-m" else 0, "--")
        words = [interpreter(), *self.options, *pdb, *program, *self.arguments]
        command = shlex.join(words)
        return command if is_here else f"cd {shlex.quote(str(self.folder))} && {command}"

    def for_vscode(self, name: str) -> dict[str, object]:
        """The same as a configuration of VS Code's launch.json."""
        folder = (self.folder or Path.cwd()).absolute()
        if self.program[0] == "-m":
            target = {"module": self.program[1]}
        else:
            target = {"program": str(folder / self.program[0])}
        return {
            "name": name,
            "type": "debugpy",
            "request": "launch",
            "python": sys.executable,
            **({"pythonArgs": list(self.options)} if self.options else {}),
            **target,
            "args": list(self.arguments),
            "cwd": str(folder),
            # Else Hydra catches the error, and the debugger does not stop at it.
            "env": {"HYDRA_FULL_ERROR": "1"},
            "console": "integratedTerminal",
        }


def repetition(
    words: Sequence[str], overrides: Sequence[str], folder: Path | None
) -> Repetition | None:
    """How a program is started for one run; None if there is no such program any more.

    Args:
        words: What stood behind `python`.
        overrides: Of the run, in place of those in `words`.
        folder: Where the program was started; None if that is unknown.
    """
    from expkit_bookkeeping.launching import split_arguments

    options, program, arguments = split_arguments(words)
    if not program or program[0] == "-c":
        return None
    if _script_on_path(program[0]) is not None:
        program = [str(shutil.which(Path(program[0]).name))]
    elif program[0] != "-m" and not Path(folder or "", program[0]).is_file():
        return None
    return Repetition(options, program, [*_config_flags(arguments), *overrides], folder)


def _config_flags(arguments: Sequence[str]) -> list[str]:
    """Those of Hydra's flags that say which configuration it is.

    Examples:
        >>> _config_flags(["-m", "--config-name", "big", "x=1,2", "--config-dir=conf"])
        ['--config-name', 'big', '--config-dir=conf']
    """
    flags: list[str] = []
    words = iter(arguments)
    for word in words:
        name, has_value, _ = word.partition("=")
        if name in _CONFIG_FLAGS:
            flags += [word] if has_value else [word, *islice(words, 1)]
    return flags


def command_line(verb: str, *arguments: str) -> str:
    """A command of expkit as it works here: by name, or by module if that is not on the PATH."""
    if _is_ours(_on_path("expkit")):
        return shlex.join(["expkit", verb, *arguments])
    package = installed_verbs().get(verb, "expkit_hydra")
    return shlex.join([interpreter(), "-m", package, verb, *arguments])


def installed_verbs() -> dict[str, str]:
    """Installed verbs, each with the package that brings it."""
    packages: dict[str, str] = {}
    for entry in entry_points(group="expkit.commands"):
        packages.setdefault(entry.name, entry.module.partition(".")[0])
    return packages


def interpreter() -> str:
    """This interpreter as the user would type it: as it was typed, else by name, else by path."""
    typed = sys.orig_argv[0]
    names = [*([] if Path(typed).is_absolute() else [typed]), "python", "python3"]
    for name in names:
        path = _on_path(name)
        if path is not None and _is_this_interpreter(path):
            return name
    return sys.executable


def _is_this_interpreter(path: str) -> bool:
    # The folder decides: interpreters of two environments may be links to the same file.
    folders = {os.path.dirname(os.path.abspath(name)) for name in (path, sys.executable)}  # noqa: PTH100, PTH120
    return len(folders) == 1 and Path(path).samefile(sys.executable)


def _script_on_path(program: str) -> str | None:
    """The name of a program that is an installed script, or its path where its name is not enough.

    A bare name that is no file here was recorded so.
    """
    if program.startswith("-"):
        return None
    name = Path(program).name
    path = shutil.which(name)
    if path is None or not (path == program or (name == program and not Path(name).is_file())):
        return None
    return path if _on_path(name) is None else name


def _on_path(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Where the user's shell finds a command; None if it does not, or if nobody can know it."""
    environ = os.environ if environ is None else environ
    # `uv run` gives a PATH of its own to what it starts.
    has_own_path = "UV_RUN_RECURSION_DEPTH" in environ and Path(name).name == name
    return None if has_own_path else shutil.which(name)


def _is_ours(script: str | None) -> bool:
    """Whether a script on the PATH belongs to this environment and not to another one."""
    import sysconfig

    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    folders = [Path(sysconfig.get_path("scripts", scheme)) for scheme in schemes]
    return script is not None and Path(script).parent in [Path(sys.executable).parent, *folders]
