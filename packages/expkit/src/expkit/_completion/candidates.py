"""The names that a shell's script asks for at a key press: reads folders, imports little."""

# pathlib would take a third of the time, and raises for names that are too long.
# ruff: noqa: PTH110, PTH111, PTH112, PTH118

from __future__ import annotations

import os
import sys

from .shell_words import quote, unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

VERB = "__complete"  # what the scripts call
RUNS_READ = 20  # for the names of metrics and keys
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-")


def complete(argv: Sequence[str]) -> int:
    """Print what the last word may become, for the script of a shell.

    Args:
        argv: The shell; what the word stands for, such as `experiments+runs`; for bash, the
            part of the word that stays as it was typed; then the words as they were typed, up to
            the cursor. tcsh has these in its environment.
    """
    shell, kinds_text, *rest = argv
    kinds = kinds_text.split("+")
    end = b"\n"
    if shell == "bash":
        kept, *words = rest
        candidates = _bash_candidates(kinds, words, kept)
    elif shell == "zsh":  # quotes and selects by itself
        candidates, end = _names(kinds, map(_text, rest)), b"\0"
    else:
        candidates = _tcsh_candidates(kinds, os.environ.get("COMMAND_LINE", ""))
    sys.stdout.buffer.writelines(os.fsencode(candidate) + end for candidate in candidates)
    return 0


def _bash_candidates(kinds: Sequence[str], words: Sequence[str], kept: str) -> Iterator[str]:
    """What may stand in the place of the last word after `kept`, quoted as the user has begun."""
    *earlier, word = words
    yield from _continuations(word, kept, "", _names(kinds, map(_text, earlier)))
    folder = word[: word.rfind("/") + 1]  # as typed: it may hold `~` or a variable
    paths = _paths(kinds, _text(folder), _text(word))
    yield from _continuations(word, kept, folder, paths)


def _tcsh_candidates(kinds: Sequence[str], line: str) -> Iterator[str]:
    """Names that need no quotes, which tcsh removes from its line and ignores in the answer."""
    *earlier, word = line.split(" ")
    folder = word[: word.rfind("/") + 1]
    paths = (folder + name for name in _paths(kinds, folder, word))
    yield from filter(_PLAIN.issuperset, (*_names(kinds, earlier), *paths))


def _continuations(word: str, kept: str, folder: str, names: Iterable[str]) -> Iterator[str]:
    folder_text, opened = unquote(folder)
    begun = _text(word)[len(folder_text) :]
    if len(kept) <= len(folder):
        prefix, skipped = folder[len(kept) :], 0
    else:
        kept_text, opened = unquote(kept)
        prefix, skipped = "", len(kept_text) - len(folder_text)
    for name in names:
        if name.startswith(begun) and (begun or not name.startswith(".")):
            yield prefix + quote(name[skipped:], opened)


def _names(kinds: Sequence[str], earlier: Iterable[str]) -> Iterator[str]:
    experiments = [path for path in map(_expand, earlier) if _is_experiment(path)]
    if "runs" in kinds:
        yield from (entry.name for entry in _runs(experiments))
    if "metrics" in kinds or "keys" in kinds:
        yield from _recorded_names(experiments, keys="keys" in kinds)
    if "styles" in kinds:
        yield from _styles()


def _runs(experiments: Iterable[str]) -> Iterator[os.DirEntry[str]]:
    for experiment in experiments:
        for entry in _entries(os.path.join(experiment, "training")):
            if _is_folder(entry) and not entry.name.startswith("."):
                yield entry


def _recorded_names(experiments: Iterable[str], *, keys: bool) -> list[str]:
    """The swept keys or the metrics of some runs."""
    from pathlib import Path

    try:
        from expkit_bookkeeping.reading import metric_names, read_run
    except ImportError:
        return []
    folders = [Path(entry) for entry in _runs(experiments)]
    names: dict[str, None] = {}
    for folder in folders[:: len(folders) // RUNS_READ + 1]:
        if not keys:
            names |= dict.fromkeys(metric_names(folder))
        elif (record := read_run(folder)) is not None:
            names |= dict.fromkeys(record.swept)
    return [name for name in names if name.isprintable()]  # not all others can be encoded


def _styles() -> Sequence[str]:
    try:
        from expkit_plotting.commands import style_names
    except ImportError:
        return []
    return style_names()


def _paths(kinds: Sequence[str], folder: str, begun: str) -> Iterator[str]:
    """The folders below this one, each with a slash but for experiments; files for `paths`."""
    if not {"experiments", "folders", "paths"}.intersection(kinds):
        return
    for entry in _entries(_expand(folder) or "."):
        if not entry.name.startswith(begun[len(folder) :]):
            continue  # asks nothing about it: file systems of clusters are slow
        if _is_folder(entry):
            is_complete = "experiments" in kinds and _is_experiment(entry.path)
            yield entry.name if is_complete else f"{entry.name}/"
        elif "paths" in kinds:
            yield entry.name


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [*entries]
    except (OSError, ValueError):
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to where nobody may look
        return False


def _is_experiment(folder: str) -> bool:
    return any(os.path.isdir(os.path.join(folder, name)) for name in ("training", "grids"))


def _expand(text: str) -> str:
    """A path as the shell would read it: with the home directory and variables filled in."""
    return text if os.path.exists(text) else os.path.expandvars(os.path.expanduser(text))


def _text(word: str) -> str:
    return unquote(word)[0]
