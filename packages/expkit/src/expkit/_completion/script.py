"""The script by which a shell completes `expkit`, made by shtab from the parsers of the verbs."""

from __future__ import annotations

import argparse
import re
from importlib.resources import files
from shlex import quote

from .candidates import VERB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHELLS = ("bash", "zsh", "tcsh")
# What a word stands for, by the words of its metavar. The names are part of shell functions, in
# which shtab takes "file" and "dir" for a reason to quote once more.
KINDS = {
    "EXPERIMENT": "experiments",
    "RUN": "runs",
    "METRIC": "metrics",
    "KEY": "keys",
    "STYLE": "styles",
    "DIR": "folders",
    "FOLDER": "folders",
    "FILE": "paths",
    "PATH": "paths",
}
# What zsh and tcsh find by themselves.
_ZSH_PATHS = {"experiments": "_files -/", "folders": "_files -/", "paths": "_files"}
_TCSH_PATHS = {"experiments": "d", "folders": "d", "paths": "f"}
_TCSH_RUNS = f"`expkit {VERB} tcsh runs`"
_REPEATED = re.compile(r'(?<=^  )"\(\*\)::?', re.MULTILINE)

Completers = dict[str, object]  # as shtab takes them: by shell; its functions by "preamble"


def script(
    shell: str, parsers: Mapping[str, argparse.ArgumentParser], help_lines: Mapping[str, str]
) -> str:
    """The script for a shell.

    Args:
        shell: One of `SHELLS`.
        parsers: By verb the parser of its arguments.
        help_lines: By verb what it does.
    """
    import shtab

    root = argparse.ArgumentParser("expkit")
    root.add_argument("--version", action="store_true", help="list what is installed")
    verbs = root.add_subparsers()
    for verb, parser in parsers.items():
        for action in parser._actions:
            _set_completers(action)
        verbs.add_parser(
            verb,
            parents=[parser],
            add_help=False,
            description=help_lines[verb],
            help=help_lines[verb],
        )
    if shell == "tcsh":
        # tcsh knows an argument by its number, with options counted: any other may be a run.
        return shtab.complete(root, shell).replace("'p/*/()/'", f"'p/*/{_TCSH_RUNS}/'")
    own = files(__package__).joinpath(f"expkit.{shell}").read_text("utf-8")
    if shell == "zsh":
        # An argument that may be given several times: shtab's "(*)" would complete only the first.
        return _REPEATED.sub('"*:', shtab.complete(root, shell, preamble=own))
    return f"{shtab.complete(root, shell)}\n{own}"  # which calls what shtab has defined


def _set_completers(action: argparse.Action) -> None:
    """Give an argument shtab's attribute `complete`, unless it has one or takes no value."""
    metavar = str(action.metavar or action.dest.upper())
    if hasattr(action, "complete") or action.nargs == 0:
        return
    if action.choices is not None:
        if metavar.endswith(",…"):
            values = [*map(str, action.choices)]
            action.complete = _list_completers(action.dest, values)  # type: ignore[attr-defined]
        return
    kinds = dict.fromkeys(KINDS[word] for word in re.split(r"[^A-Z]+", metavar) if word in KINDS)
    if kinds:
        completers = _completers([*kinds])
        if kinds.keys() in ({"runs"}, {"keys"}) and not action.option_strings:
            # By the last rule, wherever it stands: a rule by number would come before that one.
            completers["tcsh"] = ""
        action.complete = completers  # type: ignore[attr-defined]


def _completers(kinds: Sequence[str]) -> Completers:
    joined, function = "+".join(kinds), f"_expkit_{'_'.join(kinds)}"
    paths = [kind for kind in kinds if kind in _ZSH_PATHS]
    names = "+".join(kind for kind in kinds if kind not in _ZSH_PATHS)
    zsh = [*(_ZSH_PATHS[kind] for kind in paths), *([f"_expkit_names {names}"] if names else [])]
    return {
        "bash": function,
        "zsh": zsh[0] if len(zsh) == 1 else f"{{{'; '.join(zsh)}}}",
        "tcsh": f"`expkit {VERB} tcsh {joined}`" if names else _TCSH_PATHS[paths[0]],
        "preamble": {"bash": f"{function}() {{ _expkit_candidates {joined}; }}"},
    }


def _list_completers(name: str, values: Sequence[str]) -> Completers:
    words = " ".join(map(quote, values))
    function = re.sub(r"\W", "_", "_".join(["_expkit", name, *values]))
    return {
        "bash": function,
        "zsh": f"{{_values -s , {name} {words}}}",
        "tcsh": f"({words})",
        "preamble": {"bash": f'{function}() {{ _expkit_list "$1" {words}; }}'},
    }
