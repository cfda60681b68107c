"""Which verbs the `expkit` command has, and which package each comes with."""

from __future__ import annotations

import difflib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from importlib.metadata import EntryPoint

GROUP = "expkit.commands"
PARSERS = "expkit.parsers"

# So that the answer to a verb that is not installed can name its package.
PACKAGES = {
    "list": "expkit-hydra",
    "status": "expkit-hydra",
    "show": "expkit-hydra",
    "best": "expkit-hydra",
    "table": "expkit-hydra",
    "compare": "expkit-hydra",
    "cleanup": "expkit-hydra",
    "reproduce": "expkit-hydra",
    "export": "expkit-hydra",
    "check": "expkit-hydra",
    "plot": "expkit-plotting",
    "report": "expkit-plotting",
    "restyle": "expkit-plotting",
    "wait": "expkit-slurm",
    "logs": "expkit-slurm",
    "cancel": "expkit-slurm",
    "retry": "expkit-slurm",
    "train": "expkit-slurm",
    "slurm-script": "expkit-slurm",
    "sync": "expkit-mlflow",
    "ui": "expkit-mlflow",
}


def verbs_by_name(entry_points: Iterable[EntryPoint]) -> dict[str, EntryPoint]:
    """The installed verbs, sorted by name; of two with the same name the first wins."""
    verbs: dict[str, EntryPoint] = {}
    for entry_point in sorted(entry_points, key=lambda point: (point.name, point.value)):
        verbs.setdefault(entry_point.name, entry_point)
    return verbs


def first_docstring_line(entry_point: EntryPoint) -> str:
    """What a verb does, or why it cannot be loaded."""
    try:
        docstring = entry_point.load().__doc__ or ""
    except Exception as error:  # one broken package must not hide the verbs of the others
        return f"cannot be loaded: {error}"
    return docstring.strip().partition("\n")[0]


def unknown_verb(verb: str, installed: Mapping[str, object]) -> str:
    """The answer to a verb that is not installed."""
    if verb in PACKAGES:
        package = PACKAGES[verb]
        return (
            f"`expkit {verb}` comes with {package}, which is not installed: pip install {package}"
        )
    matches = difflib.get_close_matches(verb, [*installed, *PACKAGES], n=1)
    hint = f" Did you mean {matches[0]!r}?" if matches else ""
    return f"There is no verb {verb!r}.{hint} Installed: {', '.join(installed) or 'none'}."


def overview(descriptions: Mapping[str, str]) -> str:
    """The text of `expkit --help`: one line per verb."""
    width = max((len(verb) for verb in descriptions), default=0)
    lines = [f"  {verb:<{width}}  {description}" for verb, description in descriptions.items()]
    return "\n".join(
        [
            "usage: expkit VERB results/EXPERIMENT [options]",
            "",
            *lines,
            "",
            "`expkit VERB --help` explains a verb, `expkit --version` lists what is installed.",
        ]
    )
