"""What a run is: its configuration as data, and a hash that is the same on every machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from expkit_bookkeeping.launching import NO_PART_OF_IDENTITY, is_secret, public_config

from .._composing.global_state import answers_of_one_run, current_config
from .._composing.nodes import node_at
from .._composing.override_reader import written_options
from .._composing.overrides import bare_key, overlap
from .._composing.plain_data import plain_mapping, plain_text, plain_value
from .._composing.run_location import listed_overrides
from .._composing.volatile import mentions_volatile, resolvers_as_text
from .secrets import (
    SecretNode,
    counted_without_secrets,
    patterns_of,
    public_places,
    secret_nodes,
    veiled,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

    from expkit_bookkeeping import RunRecord
    from expkit_bookkeeping.launching import Claim


@dataclass(frozen=True)
class Identity:
    """A configuration as data."""

    data: Mapping[str, object]  # resolved, without Hydra's node
    config_hash: str
    unresolved: Mapping[str, object]  # by key, what the hash counts instead of the data
    ignored: tuple[str, ...] = ()  # keys of `expkit.ignore` that it leaves out


def identify(config: DictConfig, *, swept: Sequence[str] = ()) -> Identity:
    """Resolve a composed configuration and hash it.

    Args:
        config: As Hydra composed it; it is not changed.
        swept: Keys that the grid sweeps: they count even where `expkit.ignore` names them.
    """
    patterns = patterns_of(config)
    secrets = secret_nodes(config, patterns)
    with current_config(config), veiled(secrets, patterns):
        data = plain_mapping(config)
        stable = data
        if mentions_volatile(config):
            with answers_of_one_run(config), resolvers_as_text():
                stable = plain_mapping(config)
    hides = patterns if secrets else None
    ignored = ignored_keys(data, swept)
    return Identity(
        data=data,
        config_hash=_hash(_counted(stable, ignored, hides)),
        unresolved={
            **({} if stable is data else dict(differing_values(_counted(stable, (), hides), data))),
            **dict(_secret_references(secrets, patterns)),
        },
        ignored=tuple(ignored),
    )


def _secret_references(
    secrets: Sequence[SecretNode], patterns: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """By key, the text of each secret reference, written as in `unresolved`."""
    for secret in secrets:
        text = secret.public
        if (
            secret.path[0] != "hydra"
            and "${" in text
            and is_secret(secret.path[-1], text, patterns)
        ):
            yield ".".join(map(str, secret.path)), text.replace("${", "$(").replace("}", ")")


def unresolved_texts(config: DictConfig, *, swept: Sequence[str] = ()) -> Mapping[str, object]:
    """`Identity.unresolved` alone; at once where nothing is volatile."""
    if not mentions_volatile(config):
        patterns = patterns_of(config)
        return dict(_secret_references(secret_nodes(config, patterns), patterns))
    return identify(config, swept=swept).unresolved


def keys_left_out(config: DictConfig, swept: Sequence[str]) -> Sequence[str]:
    """`Identity.ignored` alone."""
    from omegaconf import OmegaConf

    ignored = plain_value(OmegaConf.select(config, "expkit.ignore"))
    return ignored_keys({"expkit": {"ignore": ignored}}, swept)


def group_choices(config: DictConfig) -> dict[str, object]:
    """The chosen option of each config group of the user's; of several, a list as overridden."""
    from omegaconf import ListConfig

    choices = plain_value(config.hydra.runtime.choices)
    assert isinstance(choices, dict)
    for text in listed_overrides(config.hydra):
        options = written_options(text)
        group = bare_key(text.partition("=")[0])
        if options is None or group in choices:
            continue
        if not isinstance(node_at(config, group.partition("@")[0]), ListConfig):  # a list of values
            choices[group] = options
    return {group: option for group, option in choices.items() if not group.startswith("hydra/")}


def hash_of(
    stable: Mapping[str, object],
    data: Mapping[str, object],
    *,
    swept: Sequence[str],
    patterns: Sequence[str] | None = None,
) -> str:
    """The hash of a configuration.

    Args:
        stable: Its data, where what depends on the machine or the time is left as text.
        data: Its data as it is.
        swept: Keys that the grid sweeps.
        patterns: What is secret, which does not count; None: there is nothing.
    """
    return _hash(_counted(stable, ignored_keys(data, swept), patterns))


def hash_as_written(config: DictConfig) -> str:
    """The hash of a configuration that Hydra does not read, its references as text."""
    data = plain_text(config)
    return hash_of(data, data, swept=(), patterns=patterns_of(config))


def _hash(counted: Mapping[str, object]) -> str:
    from expkit_bookkeeping import config_hash

    return config_hash(counted)


def rehash(record: RunRecord, before: Sequence[str], ignored: Sequence[str]) -> str | None:
    """The hash of a run's stored configuration if other keys are left out than before.

    Returns:
        The hash; None where the stored configuration is not that of the recorded hash.
    """
    from expkit_bookkeeping.launching import secret_patterns
    from expkit_bookkeeping.reading import read_config as read_resolved

    try:
        config = read_resolved(record.folder)
        patterns = secret_patterns(config)
        for key, text in record.unresolved.items():
            _put(config, key, text)
        if _hash(_counted(config, before, patterns)) != record.config_hash:
            return None
        return _hash(_counted(config, ignored, patterns))
    except (OSError, TypeError, ValueError):  # missing, damaged, or no data
        return None


def _put(config: Any, key: str, value: object) -> None:
    """Put a value into a configuration, under a key joined by dots; not where it has none."""
    *path, last = key.split(".")
    for part in path:
        if isinstance(config, list) and part.isdecimal() and int(part) < len(config):
            config = config[int(part)]
        elif isinstance(config, dict) and part in config:
            config = config[part]
        else:
            return
    if isinstance(config, list) and last.isdecimal() and int(last) < len(config):
        config[int(last)] = value
    elif isinstance(config, dict):
        config[last] = value


def _counted(
    stable: Mapping[str, object],
    ignored: Sequence[str],
    patterns: Sequence[str] | None = None,
) -> dict[str, object]:
    """What of a configuration counts for its hash."""
    kept = {key: value for key, value in stable.items() if key not in NO_PART_OF_IDENTITY}
    for key in ignored:
        _drop(kept, key.split("."))
    return kept if patterns is None else counted_without_secrets(kept, patterns)


def differing_values(counted: object, data: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Where what counts differs from the data: the key, joined by dots, and what counts."""
    if isinstance(counted, Mapping) and isinstance(data, Mapping):
        for key, value in counted.items():
            yield from differing_values(value, data.get(key), f"{path}.{key}" if path else key)
    elif isinstance(counted, list) and isinstance(data, list) and len(counted) == len(data):
        for number, (value, item) in enumerate(zip(counted, data, strict=True)):
            yield from differing_values(value, item, f"{path}.{number}")
    elif counted != data:
        yield path, counted


def ignored_keys(data: Mapping[str, object], swept: Sequence[str]) -> Sequence[str]:
    """Keys that do not make a run another run: those in `expkit.ignore`, unless they are swept.

    Args:
        data: A configuration.
        swept: Keys that the grid sweeps. A key below or above one of them counts as swept.
    """
    expkit = data.get("expkit")
    ignored = expkit.get("ignore") if isinstance(expkit, Mapping) else None
    if not isinstance(ignored, Iterable) or isinstance(ignored, str):
        return ()
    return _without_swept(tuple(map(str, ignored)), tuple(swept))


@lru_cache
def _without_swept(ignored: tuple[str, ...], swept: tuple[str, ...]) -> tuple[str, ...]:
    paths = [key.partition("@")[0] for key in swept]
    return tuple(key for key in ignored if not any(overlap([key, path]) for path in paths))


def write_config(config: DictConfig, claim: Claim) -> None:
    """Write a claimed run's `config.yaml`: the configuration resolved, without Hydra's node.

    `Bookkeeping` writes the same; this serves scripts that do not use it, so that a later grid
    can say key by key what has changed.

    Raises:
        ClaimLost: If somebody else has the run by now; nothing is written.
    """
    from expkit_bookkeeping.launching import write_file, yaml_text

    path = claim.folder / "config.yaml"
    text = yaml_text(public_data(config))
    # Without waiting for the disk: the grid's files hold the same.
    write_file(path, text, check=claim.check, durable=False, sync_parent=False)


def public_data(config: DictConfig) -> dict[str, object]:
    """A configuration as config.yaml holds it: resolved, without Hydra's node and secrets."""
    patterns = patterns_of(config)
    secrets = secret_nodes(config, patterns)
    with current_config(config), veiled(secrets, patterns):
        data = plain_mapping(config)
    if secrets:
        public_places(data, secrets, patterns)
    return public_config(data, patterns)


def read_config(folder: Path) -> dict[str, object] | None:
    """The configuration that a run folder holds; None if it holds none that can be read."""
    from expkit_bookkeeping import reading
    from expkit_bookkeeping.launching import read_yaml

    try:
        return reading.read_config(folder)
    except (OSError, ValueError):
        pass  # under a foreign launcher only Hydra wrote one
    try:
        loaded = read_yaml(folder / ".hydra" / "config.yaml")
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None


def _drop(data: dict[str, object], path: list[str]) -> None:
    """Remove a dotted key; the mappings on the way are copied, since the rules still read them."""
    key, *rest = path
    if key not in data:
        return
    if not rest:
        del data[key]
        return
    inner = data[key]
    if isinstance(inner, Mapping):
        copied = dict(inner)
        _drop(copied, rest)
        data[key] = copied
