"""Which verbs the `expkit` command has, and which package brings each."""

import difflib
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint

GROUP = "expkit.commands"

# So that an unknown verb can be answered with the package that brings it.
BROUGHT_BY = {
    "status": "expkit-hydra",
    "show": "expkit-hydra",
    "cleanup": "expkit-hydra",
    "plot": "expkit-plotting",
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


def verbs(entry_points: Iterable[EntryPoint]) -> dict[str, EntryPoint]:
    """The installed verbs by name, sorted; the first of two of one name wins."""
    found: dict[str, EntryPoint] = {}
    for entry_point in sorted(entry_points, key=lambda each: (each.name, each.value)):
        found.setdefault(entry_point.name, entry_point)
    return found


def unknown_verb(verb: str, installed: Mapping[str, object]) -> str:
    """What to tell somebody who typed a verb that is not installed."""
    if verb in BROUGHT_BY:
        package = BROUGHT_BY[verb]
        return (
            f"`expkit {verb}` comes with {package}, which is not installed: pip install {package}"
        )
    near = difflib.get_close_matches(verb, [*installed, *BROUGHT_BY], n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"No verb {verb!r}.{hint} Installed: {', '.join(installed) or 'none'}."


def overview(installed: Mapping[str, str]) -> str:
    """The text of `expkit --help`: one line a verb."""
    width = max((len(verb) for verb in installed), default=0)
    lines = [f"  {verb:<{width}}  {what}" for verb, what in installed.items()]
    return "\n".join(
        [
            "usage: expkit VERB results/EXPERIMENT [options]",
            "",
            *lines,
            "",
            "`expkit VERB --help` tells what a verb takes, `expkit --version` what is installed.",
        ]
    )
