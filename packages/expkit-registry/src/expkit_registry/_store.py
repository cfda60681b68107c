"""Entries as nodes in Hydra's ConfigStore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import NoneType
from typing import Literal, get_origin

from ._arguments import MISSING
from ._entries import is_same_module
from ._errors import RegistryError
from ._forwarding import keywords_of, read_parameters
from ._values import MisfitError, annotated_types, converted, is_enumeration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from inspect import Parameter
    from typing import Any

_SCALARS = (bool, int, float, str, NoneType)
_CONTAINERS = (list, tuple, dict, Sequence, Mapping, Literal)


def publish(
    registry: type,
    group: str,
    entries: Mapping[str, Callable[..., object] | None],
    package: str | None,
) -> None:
    """Store a node for each entry; None stands for an entry whose signature is not known.

    Args:
        registry: The entries' registry, for Hydra's `--info` and for errors.
        group: The config group.
        entries: By name.
        package: Hydra's package of the nodes; None for that of the group.

    Raises:
        ImportError: If hydra-core is not installed.
        RegistryError: If another provider has stored a node of that group and name.
    """
    try:
        from hydra.core.config_store import ConfigStore
    except ImportError as error:
        raise ImportError(
            "store() publishes to Hydra, which is not installed: "
            'pip install "expkit-registry[hydra]"'
        ) from error

    provider = f"{registry.__module__}.{registry.__qualname__}"
    store = ConfigStore.instance()
    for entry_name, entry in entries.items():
        folder, _, name = f"{group}/{entry_name}".rpartition("/")
        other = _provider(store.repo, folder, name)
        if other is not None and not _is_of(other, registry):
            raise RegistryError(
                f"{provider} cannot publish {folder}={name}: {other or 'another provider'} has "
                "already stored a node there. Choose another group or name."
            )
        defaults = default_config(entry) if entry else {}
        own_name = entry is not None and "name" in keywords_of(read_parameters(entry) or {})
        node = {"_name_" if own_name else "name": entry_name} | defaults
        store.store(group=folder, name=name, node=node, package=package, provider=provider)


def default_config(entry: Callable[..., object]) -> dict[str, object]:
    """The configurable parameters with their defaults.

    A default that is a member of an enumeration is its name; others that are not plain data are
    omitted, for the entry to fill in. A required parameter is `???` if it is annotated as plain
    data; otherwise it is omitted, for the program to give.

    Examples:
        >>> def net(features, width: int, depth=2, act=print): ...
        >>> default_config(net)
        {'width': '???', 'depth': 2}
    """
    config: dict[str, object] = {}
    for name, parameter in keywords_of(read_parameters(entry) or {}).items():
        if parameter.default is not parameter.empty:
            if _is_plain(parameter.default):
                config[name] = parameter.default
            elif _is_found_by_name(parameter):
                config[name] = parameter.default.name
        elif parameter.annotation is not parameter.empty and all(
            member in _SCALARS
            or (get_origin(member) or member) in _CONTAINERS
            or is_enumeration(member)
            for member in annotated_types(parameter.annotation)
        ):
            config[name] = MISSING
    return config


def _is_found_by_name(parameter: Parameter) -> bool:
    default = parameter.default
    try:
        return isinstance(default, Enum) and converted(parameter, default.name) is default
    except MisfitError:
        return False


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        # OmegaConf would read these two as a reference and as a missing value.
        return type(value) is str and "${" not in value and value != MISSING
    if type(value) in (list, tuple):
        return all(_is_plain(item) for item in value)  # type: ignore[attr-defined]
    if type(value) is dict:
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    return type(value) in _SCALARS


def _is_of(provider: str, registry: type) -> bool:
    """Whether the provider is this registry, perhaps in a script that is imported as well."""
    module = provider.removesuffix(f".{registry.__qualname__}")
    return module != provider and is_same_module(module, registry.__module__)


def _provider(repo: Mapping[str, Any], group: str, name: str) -> str | None:
    """The provider that stored the node; None if there is no such node, "" if it has no name."""
    for part in group.split("/"):
        repo = repo.get(part, {})
        if not isinstance(repo, Mapping):
            return None
    node = repo.get(f"{name}.yaml")
    return None if node is None else str(node.provider or "")
