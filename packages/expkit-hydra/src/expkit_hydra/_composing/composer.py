"""Composing the configurations of a grid's runs: with Hydra once for each choice of groups.

Hydra composes in two steps: the defaults list, by the choices of groups, then the overrides of
values, one after another. The first takes fifty milliseconds and is the same for all runs with the
same choices. So it is done once, and each override's effect in the second step is kept: a run's
configuration is a base and the nodes that its own overrides put there. Whatever is more than a
plain value for an existing key (`+`, `++`, `~`, packages, Hydra's own keys) belongs to the base.

This takes 0.6 ms per configuration, and Hydra alone 6 to 7 ms. It uses private parts of Hydra and
OmegaConf: with versions in which these were not tested, Hydra composes every run.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from expkit_bookkeeping.launching import without_known_secrets

from .base_config import BaseConfig, NodePatch, put
from .internals import are_tested_versions, child_node
from .nodes import crosses_reference, holds_reference, merges_into_reference, node_at
from .override_reader import OverrideReader, ReadOverride
from .overrides import overlap
from .run_location import list_overrides, listed_overrides, settle_job, take_folders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

# Hydra's keys that change composing itself, or that it fills in afterwards.
_OF_COMPOSING = frozenset(
    ["hydra", "hydra.searchpath", "hydra.overrides", "hydra.overrides.task", "hydra.job"]
)
MOST_BASES = 1024  # held at once, each about a quarter of a megabyte


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
        decides_folders: Whether `hydra.sweep` of a run is expkit's and not the project's.
    """

    def __init__(
        self, config_loader: ConfigLoader, master: DictConfig, *, decides_folders: bool = False
    ) -> None:
        self._config_loader = config_loader
        self._master = master
        self._decides_folders = decides_folders
        self._reader = OverrideReader(config_loader, master)
        self._knows_versions = are_tested_versions()
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
        with _named_run(index, overrides):
            return self._from_base(overrides) or self._as_a_whole(overrides)

    def compose_job(self, number: int, overrides: Sequence[str]) -> Composition:
        """The same, composed by Hydra, and with a job's number: it is no other run's.

        Raises:
            ConfigCompositionException: As `work_out`.
        """
        with _named_run(number, overrides):
            config = self._hydra_composes(overrides)
        settle_job(config, number)
        # The number, so that a run with the same overrides has another base.
        base = BaseConfig(config, (*overrides, f"hydra.job.num={number}"))
        return Composition(base, (), listed_overrides(config.hydra), is_whole=True)

    def reads(self, overrides: Sequence[str]) -> bool:
        """Whether Hydra understands the overrides of a run."""
        return self._reader.read(overrides) is not None

    def can_share(self, overrides: Sequence[str]) -> bool:
        """Whether a run's values can be put into a base: their order does not matter."""
        read = self._reader.read(overrides) if self._knows_versions else None
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
        read = self._reader.read(overrides) if self._knows_versions else None
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
            BaseConfig(config, tuple(overrides)), (), listed_overrides(config.hydra), is_whole=True
        )

    def _hydra_composes(self, overrides: Sequence[str]) -> DictConfig:
        self.composed += 1
        config = self._config_loader.load_sweep_config(self._master, list(overrides))
        if self._decides_folders:
            take_folders(config, "sweep")
        return config


@contextmanager
def _named_run(index: int, overrides: Sequence[str]) -> Iterator[None]:
    """Let Hydra's error say which run it is about."""
    from hydra.errors import CompactHydraException, ConfigCompositionException

    name = without_known_secrets(" ".join(overrides)) or "no overrides"
    text = f"Run {index} of the grid ({name}) cannot be composed:"
    try:
        yield
    except CompactHydraException as error:
        # Hydra prints the message and, if it is OmegaConf's, the cause.
        raise ConfigCompositionException(
            without_known_secrets(f"{text} {error}")
        ) from error.__cause__
    except Exception as error:  # such as that of a file that is no YAML
        error.add_note(text)
        raise


def assemble(config: DictConfig, patches: Iterable[NodePatch], overrides: Sequence[str]) -> None:
    """Change a base into the configuration that Hydra composes for a run.

    Args:
        config: The base, which is changed.
        patches: What the run's own overrides put there.
        overrides: All overrides of the run, as Hydra lists them.
    """
    put(config, patches)
    list_overrides(config, overrides)
