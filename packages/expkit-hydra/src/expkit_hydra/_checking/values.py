"""Values of a run that are another at each call, that lead nowhere, or that are secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._composing.errors import GridError, refuse_unresolvable
from .._composing.global_state import answers_of_one_run, current_config
from .._composing.internals import is_reference, raw_value
from .._composing.nodes import node_at, references_below
from .._composing.overrides import overlap
from .._grid.identity import differing_values, identify
from .._grid.secrets import patterns_of, secret_nodes
from .findings import NOTE, WARNING, Finding
from .places import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from omegaconf import DictConfig


def changing_values(config: DictConfig, swept: Sequence[str], places: Places) -> Iterator[Finding]:
    """Keys that have another value each time they are read.

    Args:
        config: A run's configuration.
        swept: The keys that the grid sweeps.
        places: Where keys are set.
    """
    from expkit_bookkeeping.launching import NO_PART_OF_IDENTITY

    with answers_of_one_run(config):
        first = identify(config, swept=swept)
    with answers_of_one_run(config):
        second = identify(config, swept=swept)
    keys = [key for key, _ in differing_values(first.data, second.data)]
    # What counts is text where a key depends on the machine or the time.
    counted = [
        key
        for key in keys
        if key.partition(".")[0] not in NO_PART_OF_IDENTITY
        and not (key in first.unresolved and first.unresolved[key] == second.unresolved.get(key))
        and not any(overlap([key, ignored]) for ignored in first.ignored)
    ]
    ignored = ",".join([*first.ignored, *counted])
    for key in keys:
        text = f"{key}{_written(config, key)} has another value each time it is read"
        if key in counted:
            text += (
                ", and it counts for what a run is: the same command would train every run again. "
                f"Write a value that stays, or leave it out: expkit.ignore=[{ignored}]"
            )
            yield Finding(WARNING, "changing", text, *places.of(key))
        else:
            text += "; it does not count for what a run is."
            yield Finding(NOTE, "changing", text, *places.of(key))
    for key, node in _references(config):
        if "${now:" in str(raw_value(node)):
            text = (
                f"{key}{_written(config, key)} depends on the time; it does not count for what a "
                "run is, and all runs of a grid have the time of the grid."
            )
            yield Finding(NOTE, "changing", text, *places.of(key))


def unresolvable_values(config: DictConfig, places: Places) -> Iterator[Finding]:
    """Keys of a run that refer to nothing: what reads them fails."""
    for key, _ in _references(config):
        with current_config(config):
            try:
                refuse_unresolvable(config, (key,))
            except GridError as error:
                text = f"{str(error).rstrip('.')}. What reads it in a run fails."
                yield Finding(WARNING, "unresolvable", text, *places.of(key))


def secret_keys(config: DictConfig) -> Iterator[Finding]:
    """Keys whose values no file and no message shows."""
    nodes = secret_nodes(config, patterns_of(config))
    keys = sorted({".".join(map(str, node.path)) for node in nodes if node.path[0] != "hydra"})
    if keys:
        verb = "is" if len(keys) == 1 else "are"
        text = f"{', '.join(keys)} {verb} secret: shown as ***, and no part of what a run is."
        yield Finding(NOTE, "secret", text)


def _references(config: DictConfig) -> Iterator[tuple[str, Any]]:
    for key in config:
        if key != "hydra":
            yield from references_below(node_at(config, str(key)), str(key))


def _written(config: DictConfig, key: str) -> str:
    node = node_at(config, key)
    return f" ({raw_value(node)})" if node is not None and is_reference(node) else ""
