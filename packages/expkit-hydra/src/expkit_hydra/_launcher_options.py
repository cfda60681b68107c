"""Which options below `hydra.launcher` are a launcher's own, and which belong to another of ours.

Each of our launchers takes the options of the others and says that it does not need them, so that
one configuration serves the laptop and the cluster.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from difflib import get_close_matches

from ._composing.errors import GridError

PROVIDER = "expkit-"  # of launchers in Hydra's ConfigStore: the name of the package
log = logging.getLogger(__name__)


def without_others_options(
    launcher: str, names: Collection[str], values: Mapping[str, object]
) -> dict[str, object]:
    """The values but for options of our other launchers, which the log names.

    Args:
        launcher: The name of the launcher.
        names: Its own options.
        values: What `hydra.launcher` has.
    """
    others: dict[str, list[str]] = {}
    for name in values:
        owner = None if name in names else _owner(name)
        if owner is not None:
            others.setdefault(owner, []).append(name)
    for owner, options in others.items():
        log.info(
            "hydra.launcher.%s: for %s; the launcher %s does not need %s",
            ", ".join(options),
            owner,
            launcher,
            "it" if len(options) == 1 else "them",
        )
    dropped = {name for options in others.values() for name in options}
    return {name: value for name, value in values.items() if name not in dropped}


def refuse_unknown(launcher: str, names: Collection[str], values: Mapping[str, object]) -> None:
    """Refuse what is no option of a launcher.

    Raises:
        GridError: If there is one.
    """
    for name in values:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise GridError(
                f"hydra.launcher.{name} is not known to the launcher {launcher}, nor to another of "
                f"expkit that is installed.{hint} Its options: {', '.join(names)}."
            )


def _owner(option: str) -> str | None:
    """Our launcher that has an option; None if none has it."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for file in store.list("hydra/launcher"):
        entry = store.load(f"hydra/launcher/{file}")
        if str(entry.provider).startswith(PROVIDER) and option in entry.node:
            return file.removesuffix(".yaml")
    return None
