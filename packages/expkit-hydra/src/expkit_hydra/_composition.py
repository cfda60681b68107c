"""Composing the configurations of a grid's runs: with Hydra once for each choice of groups.

Hydra composes in two steps: the defaults list, by the choices of groups, then the overrides of
values, one after another. The first takes fifty milliseconds and is the same for all runs with the
same choices. So it is done once, and each override's effect in the second step is kept: a run's
configuration is a base and the nodes that its own overrides put there. Whatever is more than a
plain value for an existing key (`+`, `++`, `~`, packages, Hydra's own keys) belongs to the base.
"""

from __future__ import annotations

import copy
import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ._hydra_state import answers_of_one_run, current_config
from ._identity import plain_value
from ._internals import (
    apply_override,
    child_node,
    content_of,
    is_missing,
    is_reference,
    raw_value,
    repository_of,
    set_parent,
    set_raw_value,
)
from ._overrides import KeyPath, OverrideReader, ReadOverride, overlap, to_override

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig
    from omegaconf.base import Node

log = logging.getLogger(__name__)
# Hydra's keys that change composing itself, or that it fills in afterwards.
_OF_COMPOSING = frozenset(
    ["hydra", "hydra.searchpath", "hydra.overrides", "hydra.overrides.task", "hydra.job"]
)
MOST_BASES = 1024  # held at once, each about a quarter of a megabyte


@dataclass(frozen=True, eq=False)
class NodePatch:
    """What one override of a value changes in a base: the node that it puts under a key.

    Attributes:
        path: The key.
        node: The node.
        is_leaf: Whether it is a single value and no reference.
        value: That value, else None.
        is_constant: Whether it is data without any reference.
        plain: That data, else None.
    """

    path: KeyPath
    node: Node
    is_leaf: bool = False
    value: object = None
    is_constant: bool = False
    plain: object = None


def _patch(path: KeyPath, node: Node) -> NodePatch:
    from omegaconf import Container, ValueNode

    constant = not (holds_reference(node) if isinstance(node, Container) else is_reference(node))
    is_leaf = constant and isinstance(node, ValueNode) and not is_missing(node)
    return NodePatch(
        path,
        node,
        is_leaf=is_leaf,
        value=raw_value(node) if is_leaf else None,
        is_constant=constant,
        plain=plain_value(node) if constant else None,
    )


def _with_value(example: NodePatch, value: object) -> NodePatch:
    """The patch for another value of a type that the node takes as it is."""
    node = copy.copy(example.node)
    set_raw_value(node, value)
    return replace(example, node=node, value=value, plain=value)


def _is_special(value: object) -> bool:
    return isinstance(value, str) and ("${" in value or value == "???")


def _is_same(kept: object, value: object) -> bool:
    """Whether a node kept a value unconverted, as it then does with every value of that type."""
    return type(kept) in (int, float, bool, str) and type(kept) is type(value) and kept == value


def holds_reference(node: Any) -> bool:
    content = content_of(node)
    if isinstance(content, dict | list):
        return any(map(holds_reference, content.values() if isinstance(content, dict) else content))
    return is_reference(node)


class BaseConfig:
    """A configuration as Hydra composed it, before the plain values of single runs."""

    def __init__(self, config: DictConfig, overrides: tuple[str, ...]) -> None:
        self.config = config
        self.overrides = overrides
        self.shapes: dict[tuple[KeyPath, ...], object] = {}  # what its runs have in common
        # Whether runs may put values into it; None: not decided yet.
        self.takes_values: bool | None = None
        self._patches: dict[str, NodePatch | None] = {}
        self._examples: dict[tuple[str, type], NodePatch] = {}

    @contextmanager
    def lent(self, patches: Iterable[NodePatch], also: Iterable[KeyPath] = ()) -> Iterator[None]:
        """Let the base hold a run's nodes for the length of a block.

        Args:
            patches: The run's own nodes.
            also: Paths of nodes that the block will change.
        """
        nodes = [(patch.path, patch.node) for patch in patches]
        saved = []
        with current_config(self.config), answers_of_one_run(self.config):
            try:
                for path, node in [*nodes, *((path, None) for path in also)]:
                    parent = container(self.config, path[:-1])
                    assert parent is not None
                    content = content_of(parent)
                    saved.append((content, path[-1], content[path[-1]]))
                    content[path[-1]] = copy.deepcopy(content[path[-1]]) if node is None else node
                yield
            finally:
                for content, key, original in reversed(saved):
                    content[key] = original

    def patch(self, text: str, override: Override) -> NodePatch | None:
        """What an override changes in this base; None if only Hydra can say.

        Args:
            text: The override, under which the answer is kept.
            override: The same, parsed.
        """
        if text not in self._patches:
            value = override.value()
            example = self._examples.get((override.key_or_group, type(value)))
            if example is not None and not _is_special(value):
                self._patches[text] = _with_value(example, value)
                return self._patches[text]
            patch = self._apply(tuple(override.key_or_group.split(".")), override)
            self._patches[text] = patch
            if patch is not None and patch.is_leaf and _is_same(patch.value, value):
                self._examples[override.key_or_group, type(value)] = patch
        return self._patches[text]

    def _apply(self, path: KeyPath, override: Override) -> NodePatch | None:
        from omegaconf import Container

        parent = container(self.config, path[:-1])
        content = {} if parent is None else content_of(parent)
        if path[-1] not in content:
            return None
        original = content[path[-1]]
        if isinstance(original, Container) and not is_real(original):
            return None  # a reference to another mapping, into which Hydra may merge
        if merges_into_reference(original, override.value()):
            return None  # what the reference leads to depends on the run's other values
        content[path[-1]] = copy.deepcopy(original)
        try:
            apply_override(override, self.config)
            return _patch(path, content[path[-1]])
        except Exception:
            return None  # Hydra is asked for the whole run, and says why it refuses
        finally:
            content[path[-1]] = original


@dataclass(frozen=True, eq=False)
class Composition:
    """How a run's configuration is composed.

    Attributes:
        base: What all runs with the same choices of groups share.
        patches: What the run's own overrides put there.
        task_overrides: What Hydra lists as the run's overrides, in their order.
        is_whole: Whether Hydra has composed the run itself.
    """

    base: BaseConfig
    patches: tuple[NodePatch, ...]
    task_overrides: tuple[str, ...]
    is_whole: bool = False

    def config(self) -> DictConfig:
        """The configuration as Hydra composes it; new at each call."""
        config = copy.deepcopy(self.base.config)
        if not self.is_whole:
            assemble(config, self.patches, self.task_overrides)
        return config


def _task_overrides(overrides: Iterable[ReadOverride]) -> tuple[str, ...]:
    return tuple([override.task_line for override in overrides if override.task_line is not None])


class Composer:
    """Composes the configurations of a grid's runs.

    Args:
        config_loader: Hydra's.
        master: The configuration of the sweep; its overrides of Hydra's node hold for every run.
    """

    def __init__(self, config_loader: ConfigLoader, master: DictConfig) -> None:
        self._config_loader = config_loader
        self._master = master
        self._reader = OverrideReader(config_loader, master)
        self._bases: OrderedDict[tuple[str, ...], BaseConfig] = OrderedDict()
        self._apart: dict[tuple[str | None, ...], bool] = {}  # by keys: see `_are_apart`
        self.composed = 0  # configurations that Hydra composed
        self.alone = 0  # those among them that no other run can share

    def compose(self, index: int, overrides: Sequence[str]) -> DictConfig:
        """Compose one run's configuration.

        Raises:
            ConfigCompositionException: Hydra's error, with the run that it is about.
        """
        return self.work_out(index, overrides).config()

    def work_out(self, index: int, overrides: Sequence[str]) -> Composition:
        """Work out how one run's configuration is composed, which checks it.

        Args:
            index: The run's number, for errors.
            overrides: Its overrides.

        Raises:
            ConfigCompositionException: Hydra's error, with the run that it is about.
        """
        from hydra.errors import CompactHydraException, ConfigCompositionException

        try:
            return self._from_base(overrides) or self._as_a_whole(overrides)
        except CompactHydraException as error:
            # Hydra prints the message and, if it is OmegaConf's, the cause.
            raise ConfigCompositionException(
                f"Run {index} of the grid ({' '.join(overrides) or 'no overrides'}) "
                f"cannot be composed: {error}"
            ) from error.__cause__

    def reads(self, overrides: Sequence[str]) -> bool:
        """Whether Hydra understands the overrides of a run."""
        return self._reader.read(overrides) is not None

    def can_share(self, overrides: Sequence[str]) -> bool:
        """Whether a run's values can be put into a base: their order does not matter."""
        read = self._reader.read(overrides)
        return read is not None and self._are_apart(read)

    def takes_values(self, base: BaseConfig) -> bool:
        """Whether runs may put their values into a base after what Hydra composed into it.

        They may not where that followed a reference, which would have led to the runs' values.
        """
        if base.takes_values is None:
            base.takes_values = self._is_apart_from_values(base)
        return base.takes_values

    def _is_apart_from_values(self, base: BaseConfig) -> bool:
        read = self._reader.read(base.overrides)
        if read is None or holds_reference(child_node(base.config.hydra.job, "env_copy")):
            return False
        pairs = list(zip(base.overrides, read, strict=True))
        values = [override.parsed for _, override in pairs if override.value_key is not None]
        if any(crosses_reference(base.config, value.key_or_group) for value in values):
            return False
        if not any(isinstance(value.value(), dict) for value in values):
            return True
        groups = [text for text, override in pairs if override.value_key is None]
        try:
            before = self.base(groups).config  # without the mappings that are merged into it
        except Exception:
            return False
        return not any(
            crosses_reference(before, value.key_or_group)
            or merges_into_reference(node_at(before, value.key_or_group), value.value())
            for value in values
        )

    def patch(self, base: BaseConfig, text: str) -> NodePatch | None:
        """What a plain override, read before, changes in a base; None if only Hydra can say."""
        read = self._reader.read([text])
        return None if read is None else base.patch(text, read[0].parsed)

    def are_plain(self, overrides: Sequence[str]) -> bool:
        """Whether these are plain values for keys, which Hydra need not compose."""
        read = self._reader.read(overrides)
        return read is not None and all(override.is_plain for override in read)

    def base(self, overrides: Sequence[str]) -> BaseConfig:
        """The base of all runs with these overrides, composed by Hydra.

        Raises:
            HydraException: If Hydra refuses them.
        """
        key = tuple(overrides)
        base = self._bases.get(key)
        if base is None:
            base = self._bases[key] = BaseConfig(self._hydra_composes(key), key)
            if len(self._bases) > MOST_BASES:
                self._bases.popitem(last=False)
        else:
            self._bases.move_to_end(key)
        return base

    def _from_base(self, overrides: Sequence[str]) -> Composition | None:
        """From a base and the run's values; None where only Hydra can compose the run."""
        read = self._reader.read(overrides)
        if read is None:
            return None
        if not self._are_apart(read):
            return None
        pairs = list(zip(overrides, read, strict=True))
        try:
            base = self.base([text for text, override in pairs if not override.is_plain])
        except Exception:  # of several errors Hydra names the first, maybe another
            return None
        plain = [(text, override.parsed) for text, override in pairs if override.is_plain]
        if plain and not self.takes_values(base):
            return None
        patches = []
        for text, parsed in plain:
            patch = base.patch(text, parsed)
            if patch is None:
                return None
            patches.append(patch)
        return Composition(base, tuple(patches), _task_overrides(read))

    def _are_apart(self, overrides: Sequence[ReadOverride]) -> bool:
        keys = tuple([override.value_key for override in overrides])
        if keys not in self._apart:
            values = [key for key in keys if key is not None]
            # Where one key lies below another, their order matters.
            self._apart[keys] = not overlap(values) and _OF_COMPOSING.isdisjoint(values)
        return self._apart[keys]

    def _as_a_whole(self, overrides: Sequence[str]) -> Composition:
        self.alone += 1
        config = self._hydra_composes(overrides)
        return Composition(
            BaseConfig(config, tuple(overrides)), (), listed_overrides(config), is_whole=True
        )

    def _hydra_composes(self, overrides: Sequence[str]) -> DictConfig:
        self.composed += 1
        return self._config_loader.load_sweep_config(self._master, list(overrides))


def assemble(config: DictConfig, patches: Iterable[NodePatch], overrides: Sequence[str]) -> None:
    """Change a base into the configuration that Hydra composes for a run.

    Args:
        config: The base, which is changed.
        patches: What the run's own overrides put there.
        overrides: All overrides of the run, as Hydra lists them.
    """
    put(config, patches)
    list_overrides(config, overrides)


def put(config: DictConfig, patches: Iterable[NodePatch]) -> None:
    """Put copies of a run's own nodes into a configuration."""
    for patch in patches:
        parent = container(config, patch.path[:-1])
        assert parent is not None
        node = copy.deepcopy(patch.node)
        set_parent(node, parent)
        content_of(parent)[patch.path[-1]] = node


def list_overrides(config: DictConfig, overrides: Sequence[str]) -> None:
    """Write a run's overrides where Hydra lists them."""
    task = config.hydra.overrides.task
    task.clear()
    task.extend(overrides)
    job = config.hydra.job
    settings = job.config.override_dirname
    job.override_dirname = _override_dirname(
        overrides,
        kv_sep=settings.kv_sep,
        item_sep=settings.item_sep,
        exclude_keys=list(settings.exclude_keys),
    )


def listed_overrides(config: DictConfig) -> tuple[str, ...]:
    """A run's overrides as Hydra lists them; `a=${b}` is not resolved."""
    nodes = content_of(config.hydra.overrides.task)
    return tuple([str(raw_value(node)) for node in nodes])


def container(config: DictConfig, path: Iterable[str]) -> DictConfig | None:
    """The mapping under a path of keys, none of which is a reference or missing."""
    from omegaconf import DictConfig

    node: Any = config
    for key in (None, *path):
        if key is not None:
            node = content_of(node).get(key)
        if not isinstance(node, DictConfig) or not is_real(node):
            return None
    mapping: DictConfig = node
    return mapping


def is_real(node: Any) -> bool:
    return isinstance(content_of(node), dict | list)


def node_at(config: DictConfig, key: str) -> Any:
    """The node under a dotted key, its references as they are; None where there is none."""
    *_, last = nodes_to(config, key)
    return last


def crosses_reference(config: DictConfig, key: str) -> bool:
    """Whether a dotted key leads through a reference."""
    return any(node is not None and is_reference(node) for node in nodes_to(config, key)[:-1])


def nodes_to(config: DictConfig, key: str) -> list[Any]:
    """The nodes on the way to a dotted key, the key's own last; None for each that is missing."""
    nodes: list[Any] = [config]
    for part in key.split("."):
        content = None if nodes[-1] is None else content_of(nodes[-1])
        if isinstance(content, dict):
            nodes.append(content.get(part))
        elif isinstance(content, list) and part.isdecimal() and int(part) < len(content):
            nodes.append(content[int(part)])
        else:
            nodes.append(None)
    return nodes


def merges_into_reference(node: Any, value: object) -> bool:
    """Whether a mapping would be merged into what a reference leads to, at a node or below it."""
    if node is None or not isinstance(value, dict):
        return False
    if is_reference(node):
        return True
    content = content_of(node)
    return isinstance(content, dict) and any(
        merges_into_reference(content.get(key), part) for key, part in value.items()
    )


@dataclass(frozen=True)
class RunLocation:
    """Where a run's folder is, as far as every process must agree on it."""

    run_name: str
    pinned: tuple[tuple[str, str], ...] = ()  # experiment_id and results_dir, if they may move

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides that tell every launcher's job."""
        return tuple(to_override(key, value) for key, value in self.items())

    def items(self) -> tuple[tuple[str, str], ...]:
        """Keys and values."""
        return (*self.pinned, ("run_name", self.run_name))


def pinned_keys(master: DictConfig) -> tuple[tuple[str, str], ...]:
    """What a job would resolve to another folder on another machine, or after midnight.

    An `experiment_id` that refers to something is pinned for the grid, `results_dir` only if it
    holds a time: `${oc.env:SCRATCH}` is meant to be resolved where the job runs.
    """
    pinned = []
    for key in ("results_dir", "experiment_id"):
        raw = str(raw_value(child_node(master, key)))
        if ("${" in raw and key == "experiment_id") or "now:" in raw:
            pinned.append((key, str(master[key])))
    return tuple(pinned)


def settle(
    config: DictConfig, location: RunLocation, overrides: Sequence[str] | None = None
) -> None:
    """Change a composed configuration into what Hydra composes with the location's overrides.

    The name is known only after composing; this saves composing once more.

    Args:
        config: The configuration, which is changed.
        location: Where the run's folder is.
        overrides: The run's overrides, if Hydra has not listed them yet.
    """
    from omegaconf import open_dict, read_write

    with read_write(config), open_dict(config):
        for key, value in location.items():
            config[key] = value
        listed = listed_overrides(config) if overrides is None else overrides
        list_overrides(config, [*listed, *location.overrides])


def _self_comes_first(config_loader: ConfigLoader, config_name: str | None) -> bool:
    """Whether the primary configuration lists `_self_` before `expkit`."""
    repository = repository_of(config_loader)
    if config_name is None or repository is None:
        return False
    loaded = repository.load_config(config_name)
    names = [getattr(entry, "path", None) for entry in (loaded.defaults_list if loaded else [])]
    if "_self_" not in names:
        return False
    others = ("expkit", "/expkit")
    position = next((index for index, name in enumerate(names) if name in others), None)
    return position is not None and names.index("_self_") < position


def warn_about_order(config_loader: ConfigLoader, config_name: str | None) -> None:
    """Warn when the keys of `expkit` win over the user's own."""
    if _self_comes_first(config_loader, config_name):
        log.warning(
            "In the defaults list of %s, _self_ stands before expkit, so expkit's own values win "
            "over yours (experiment_id, expkit.metric, hydra.sweeper.params, …). Move _self_ to "
            "the end: defaults: [expkit, ..., _self_].",
            config_name,
        )


def _override_dirname(
    lines: Sequence[str], *, kv_sep: str, item_sep: str, exclude_keys: Sequence[str]
) -> str:
    """As Hydra makes `hydra.job.override_dirname` (config_loader_impl.get_overrides_dirname)."""
    # `+group@package=choice` counts under the name of its group.
    keys = [line.partition("=")[0].lstrip("+~").partition("@")[0] for line in lines]
    kept = [line for key, line in zip(keys, lines, strict=True) if key not in exclude_keys]
    return item_sep.join(sorted(kept)).replace("=", kv_sep)
