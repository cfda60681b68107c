"""The user's batch script: its `#SBATCH` lines, and how it runs the command that it is given.

It is read as sbatch 22.05 reads it, so that the user learns before anything is submitted what
sbatch would refuse, or what would be lost without a message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from .errors import SlurmError
from .options import EXCLUDING, NOT_IN_A_SCRIPT, Options, read_options

USUAL = "gpu_scripts/grid_search_array.sh"
_SUFFIXES = (".sh", ".bash", ".sbatch", ".slurm")


@dataclass(frozen=True)
class Directive:
    """An option of a `#SBATCH` line: its long name and its value; a flag's value is None."""

    line: int
    option: str
    value: str | None


@dataclass(frozen=True)
class ArrayScript:
    """A batch script.

    `ending` says how its last command runs the arguments: `exec` (`exec "$@"`, the process itself
    becomes theirs), `plain` (`"$@"`), `srun` (`srun … "$@"`) or `other`.
    """

    path: Path
    directives: tuple[Directive, ...]
    ending: str
    is_default: bool = False

    def directive(self, option: str) -> Directive | None:
        """The directive that holds for an option: the last one."""
        matches = [directive for directive in self.directives if directive.option == option]
        return matches[-1] if matches else None

    def value(self, option: str) -> str | None:
        """The value that holds for an option; None also for a flag."""
        directive = self.directive(option)
        return None if directive is None else directive.value


def default_script() -> Path:
    """The script of this package, which asks for no resources."""
    return Path(__file__).with_name("grid_search_array.sh")


def find_script(name: str | None, directory: Path) -> ArrayScript:
    """Find and read the batch script.

    Args:
        name: Its path; None takes gpu_scripts/grid_search_array.sh where it exists, else the
            default.
        directory: What relative paths start from.

    Raises:
        SlurmError: If it does not exist or cannot be used.
    """
    if name is None:
        usual = directory / USUAL
        return read_script(usual if usual.is_file() else default_script())
    path = directory / Path(name).expanduser()
    if path.is_file():
        return read_script(path)
    problem = "is a folder" if path.is_dir() else "does not exist"
    names = _scripts_around(path, directory)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    scripts = f" There are: {', '.join(names[:10])}." if names else ""
    from expkit_hydra.launching import command_line

    make = "" if (directory / USUAL).parent.is_dir() else f"mkdir {Path(USUAL).parent} && "
    raise SlurmError(
        f"The batch script {name} {problem} (seen from {directory}).{hint}{scripts} To start from "
        f"one that works:\n    {make}{command_line('slurm-script')} > {USUAL}"
    )


def _scripts_around(path: Path, directory: Path) -> list[str]:
    scripts = set()
    for folder in {path.parent, directory, directory / Path(USUAL).parent}:
        if folder.is_dir():
            scripts |= {file for file in folder.iterdir() if file.suffix in _SUFFIXES}
    return sorted(os.path.relpath(script, directory) for script in scripts if script.is_file())


def read_script(path: Path) -> ArrayScript:
    """Read a batch script.

    Raises:
        SlurmError: If it cannot be read, sbatch would refuse it, or it never runs the command that
            it is given.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - not resolved: links are the user's
    name = _short(path)
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise SlurmError(f"The batch script {name} cannot be read: {error.strerror}.") from error
    if not text.startswith("#!"):
        raise SlurmError(
            f"{name} does not begin with `#!`, so sbatch does not take it for a batch script. "
            "Write #!/usr/bin/env bash as its first line, with nothing before it."
        )
    if "\r\n" in text:
        raise SlurmError(
            f"{name} has Windows line endings, which sbatch refuses. Convert it:\n"
            f"    sed -i 's/\\r$//' {name}"
        )
    lines = text.split("\n")
    directives = tuple(_directives(lines, name))
    ending = _ending(lines)
    if ending is None:
        raise SlurmError(
            f"{name} never runs the command that it is given, so nothing would be trained. Write "
            f'as its last line (`srun "$@"` for several tasks per run):\n    exec "$@"'
        )
    return ArrayScript(path, directives, ending, is_default=path == default_script())


def refuse_conflicts(script: ArrayScript, options: Options) -> None:
    """Refuse options that sbatch does not take beside a line of the script.

    An option overrides only the line of its own name; no option takes back a line of another.

    Raises:
        SlurmError: If there is such a line.
    """
    for name, value in options:
        for rival in _rivals(name, value):
            directive = script.directive(rival)
            if directive is None or (rival == "gres" and "gpu" not in (directive.value or "")):
                continue
            raise SlurmError(
                f"{_as_written(name, value)} does not go with line {directive.line} of "
                f"{_short(script.path)} ({_as_written(rival, directive.value)}): sbatch takes only "
                "one of them, and no option takes the line back. Remove the line, or set "
                f"{rival.replace('-', '_')} instead."
            )


def _rivals(name: str, value: str | None) -> set[str]:
    # Observed on 22.05: with --gres=gpu:1 in the script, --gpus-per-node=0 still gets one GPU.
    if name == "gpus-per-node":
        return {"gres"}
    if name == "gres" and "gpu" in (value or ""):
        return {"gpus-per-node"}
    return {rival for names in EXCLUDING if name in names for rival in names if rival != name}


def describe_overrides(script: ArrayScript, options: Options) -> list[str]:
    """What the options change in the script, one line for each option.

    Raises:
        SlurmError: If an option does not go with the script; see `refuse_conflicts`.
    """
    refuse_conflicts(script, options)
    lines = []
    for name, value in options:
        text = _as_written(name, value)
        directive = script.directive(name)
        if directive is not None and directive.value == value:
            text += f", as on line {directive.line} of {_short(script.path)}"
        elif directive is not None:
            text += f", overrides line {directive.line} of {_short(script.path)}"
            text += "" if directive.value is None else f" ({directive.value})"
        lines.append(text)
    return lines


def _as_written(name: str, value: str | None) -> str:
    return f"--{name}" if value is None else f"--{name} {value}"


def _short(path: Path) -> str:
    from expkit_hydra.launching import short_path

    return short_path(path)


def _directives(lines: list[str], name: str) -> Iterator[Directive]:
    for number, line in enumerate(lines, 1):
        if not line.startswith("#SBATCH"):
            # sbatch stops at the first command, and takes later lines for comments.
            if line.strip() and not line.lstrip().startswith("#"):
                return
            continue
        try:
            for option, value in read_options(split_directive(line.removeprefix("#SBATCH"))):
                if option in NOT_IN_A_SCRIPT:
                    raise SlurmError(
                        f"--{option} has no place in the script of a grid: "
                        f"{NOT_IN_A_SCRIPT[option]}. Remove it."
                    )
                yield Directive(number, option, value)
        except SlurmError as error:
            raise SlurmError(f"{name}, line {number} ({line}): {error}") from None


def split_directive(text: str) -> list[str]:
    r"""The words of a directive as sbatch splits them; unlike in a shell, `#` ends it anywhere.

    Examples:
        >>> split_directive(r' --comment="a #1" -J x\#y -t 5#0 --mem=1G')
        ['--comment=a #1', '-J', 'x#y', '-t', '5']
    """
    words: list[str] = []
    word: str | None = None  # None between words; '' may be a word
    quote = ""
    letters = iter(text)
    for letter in letters:
        if letter == "\\":
            # Also within quotes; a blank ends the word all the same.
            following = next(letters, "")
            if following.isspace() and not quote:
                words += [] if word is None else [word]
                word = None
            else:
                word = (word or "") + following
        elif quote:
            quote = "" if letter == quote else quote
            word = (word or "") + (letter if quote else "")
        elif letter in "\"'":
            quote, word = letter, word or ""
        elif letter == "#":
            break
        elif letter.isspace():
            words += [] if word is None else [word]
            word = None
        else:
            word = (word or "") + letter
    if quote:
        raise SlurmError(f"the quote {quote} is not closed.")
    return words if word is None else [*words, word]


_HAND_OVER = r'"?\$(?:@|\{@\})"?'
_REDIRECTIONS = r"(?:\s+[\d&]*[<>]{1,2}&?\s*[^\s;|&<>]+)*\s*;?"
_ENDINGS = {
    "exec": re.compile(rf"exec\s+{_HAND_OVER}{_REDIRECTIONS}"),
    "plain": re.compile(rf"{_HAND_OVER}{_REDIRECTIONS}"),
    "srun": re.compile(rf"(?:exec\s+)?srun\s(?:[^;|&]*\s)?{_HAND_OVER}{_REDIRECTIONS}"),
}


def _ending(lines: list[str]) -> str | None:
    """How the last command runs the arguments; None if no command does."""
    commands = list(_commands(lines))
    if not any(re.search(r"(?<!\\)\$\{?@", command) for command in commands):
        return None
    for name, pattern in _ENDINGS.items():
        if pattern.fullmatch(commands[-1]):
            return name
    return "other"


def _commands(lines: list[str]) -> Iterator[str]:
    """The commands that a shell would run: continued lines joined, without comments."""
    joined = ""
    for line in lines:
        joined += line
        code = _code(joined)
        if (len(code) - len(code.rstrip("\\"))) % 2:  # not in a comment: those are gone
            joined = joined[:-1]
            continue
        joined = ""
        if code.strip():
            yield code.strip()
    if joined.strip():
        yield joined.strip()


def _code(line: str) -> str:
    """A line without its comment and without the content of '…', in which $@ is no argument.

    Examples:
        >>> _code("bash -c 'exec $@' $@ # run it")
        "bash -c '' $@ "
    """
    pattern = r"""(?P<keep>\\.|"(?:\\.|[^"\\])*")|(?P<plain>'[^']*')|(?P<comment>(?<!\S)#.*)"""

    def replace(match: re.Match[str]) -> str:
        if match["keep"] is not None:
            return match["keep"]
        return "" if match["comment"] is not None else "''"

    return re.sub(pattern, replace, line)
