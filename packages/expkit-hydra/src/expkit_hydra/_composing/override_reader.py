"""Hydra's overrides, read as Hydra reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .internals import raw_override_value, with_integer
from .overrides import bare_key
from .run_location import listed_overrides

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

# Keys of mappings, dotted: no lists, no brackets, no escapes.
_KEYS_ALONE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class ReadOverride:
    """An override and what Hydra will do with it."""

    parsed: Override
    is_plain: bool  # a plain value for a key of mappings: applied after the defaults list
    value_key: str | None  # the key that it changes; None for a choice of a group
    task_line: str | None  # as Hydra lists it among the task's; None for one of Hydra's node


class OverrideReader:
    """Parses overrides as Hydra does, each of them once.

    Args:
        config_loader: Hydra's, which knows the config groups.
        master: The configuration of the sweep.
    """

    def __init__(self, config_loader: ConfigLoader, master: DictConfig) -> None:
        self._config_loader = config_loader
        self._master = master
        self._read: dict[str, ReadOverride] = {}
        self._integers: dict[str, ReadOverride] = {}  # by key, one that sets it to an integer
        self._is_group: dict[str, bool] = {}

    def read(self, overrides: Sequence[str]) -> list[ReadOverride] | None:
        """The overrides of one run; None if Hydra refuses them."""
        for text in overrides:
            if text not in self._read and not self._read_integer(text):
                return self._read_new(overrides)
        return [self._read[text] for text in overrides]

    def _read_integer(self, text: str) -> bool:
        """Read an override that sets a key to yet another integer, such as a seed, unparsed."""
        key, _, value = text.partition("=")
        example = self._integers.get(key)
        if example is None or not _INTEGER.fullmatch(value):
            return False
        parsed = with_integer(example.parsed, int(value), text)
        self._read[text] = replace(example, parsed=parsed, task_line=text)
        return True

    def _read_new(self, overrides: Sequence[str]) -> list[ReadOverride] | None:
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException

        try:
            parsed = OverridesParser.create().parse_overrides(list(overrides))
        except HydraException:
            return None
        # Hydra takes a mapping for a value even where the key is a group.
        others = [item.key_or_group for item in parsed if not _is_mapping(item)]
        if not self._ask_about_groups(others, overrides):
            return None
        for text, override in zip(overrides, parsed, strict=True):
            key = override.key_or_group
            is_value = _is_mapping(override) or not self._is_group[key]
            self._read[text] = ReadOverride(
                override,
                is_plain=is_value and _may_be_plain(override),
                value_key=key if is_value else None,
                task_line=None if override.is_hydra_override() else str(override.input_line),
            )
            if self._read[text].is_plain and type(raw_override_value(override)) is int:
                self._integers[key] = self._read[text]
        return [self._read[text] for text in overrides]

    def _ask_about_groups(self, keys: Sequence[str], overrides: Sequence[str]) -> bool:
        from hydra.types import RunMode

        if all(key in self._is_group for key in keys):
            return True
        try:
            defaults = self._config_loader.compute_defaults_list(
                self._master.hydra.job.config_name,
                [*listed_overrides(self._master.hydra, "hydra"), *overrides],
                RunMode.RUN,
            )
        except Exception:
            return False  # Hydra is asked to compose, and says why it refuses
        values = {
            override.key_or_group
            for override in defaults.config_overrides
            if not _is_mapping(override)
        }
        for key in keys:
            self._is_group[key] = key not in values
        return True


def chosen_options(group: str, hydra: DictConfig) -> list[str] | None:
    """The options of a group from which a list was chosen, as `server/site=[fb,google]` does.

    Hydra's own record of the choices leaves such groups out.

    Args:
        group: The group.
        hydra: Hydra's node of the run's configuration.

    Returns:
        The options in their order; None if it is no such group.
    """
    for text in reversed(listed_overrides(hydra)):
        if bare_key(text.partition("=")[0]) == group:
            return written_options(text)
    return _options_in_defaults(group, hydra)


def written_options(override: str) -> list[str] | None:
    """The list of texts that an override sets; None if it sets anything else."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if "[" not in override:
        return None
    try:
        value = OverridesParser.create().parse_override(override).value()
    except HydraException:
        return None
    if not isinstance(value, list) or not all(isinstance(option, str) for option in value):
        return None
    return [str(option) for option in value]


def _options_in_defaults(group: str, hydra: DictConfig) -> list[str] | None:
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    if not GlobalHydra.instance().is_initialized():
        return None
    loader = GlobalHydra.instance().config_loader()
    overrides = [*listed_overrides(hydra, "hydra"), *listed_overrides(hydra)]
    try:
        defaults = loader.compute_defaults_list(hydra.job.config_name, overrides, RunMode.RUN)
    except Exception:  # Hydra is asked to compose, and says why it refuses
        return None
    path, _, package = group.partition("@")
    options: dict[str | None, list[str]] = {}  # by package: a group may be chosen from for several
    for default in defaults.defaults:
        folder, _, option = str(default.config_path).rpartition("/")
        if folder == path:
            options.setdefault(default.package, []).append(option)
    if package:
        return options.get("" if package == "_global_" else package)
    # The header of an option may give it another package than its group's own.
    return options.get(path.replace("/", ".")) or next(iter(options.values()), None)


def _is_mapping(override: Override) -> bool:
    return isinstance(raw_override_value(override), dict)


def _may_be_plain(override: Override) -> bool:
    from hydra.core.override_parser.types import OverrideType

    return (
        override.type is OverrideType.CHANGE
        and override.package is None
        and not override.is_sweep_override()
        and not override.is_hydra_override()
        and _KEYS_ALONE.fullmatch(override.key_or_group) is not None
    )
