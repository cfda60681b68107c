"""From `hydra.sweeper.params` and the command line to the override lists of the runs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from .._composing.errors import GridError
from .._composing.internals import raw_override_value
from .._composing.overrides import bare_key, to_override
from .sweep_params import ReferringText

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override


_SWEEP = re.compile(r"(?:choice|range|interval|glob)\(.*\)")


@dataclass(frozen=True)
class Axis:
    """One key with its values, as overrides; swept if the user wrote more than a fixed value."""

    key: str  # without Hydra's marks
    overrides: tuple[str, ...]
    swept: bool


@dataclass(frozen=True)
class Expansion:
    """The product of the axes, or the union of several products."""

    blocks: tuple[tuple[Axis, ...], ...]

    @property
    def keys(self) -> list[str]:
        """The swept keys in their order: of the first block, then what later blocks add."""
        return list(
            dict.fromkeys(axis.key for block in self.blocks for axis in block if axis.swept)
        )

    @property
    def sizes(self) -> list[int]:
        """Number of runs of each block."""
        return [_product_size(block) for block in self.blocks]

    def __len__(self) -> int:
        return sum(self.sizes)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        for block in self.blocks:
            yield from itertools.product(*(axis.overrides for axis in block))


def expand(params: object, arguments: Sequence[str], config_loader: ConfigLoader) -> Expansion:
    """Expand a grid.

    Args:
        params: `hydra.sweeper.params` as `sweep_params` reads it: a mapping, or a list of mappings
            whose products are united. A list sweeps its elements; text is in Hydra's sweep syntax.
        arguments: Overrides of the command line, which win over params of the same key.
        config_loader: Hydra's, which `glob` asks for the options of a group.

    Raises:
        GridError: If a value cannot be swept, or a key is given twice.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create(config_loader=config_loader)
    overriding = _axes_of_arguments(parser.parse_overrides(list(arguments)))
    blocks = []
    for block in _blocks(params):
        axes: dict[str, Axis] = {}
        for key, value in block.items():
            if isinstance(value, str):
                axis = _axis_of_override(_parse(parser, f"{key}={value}"))
            elif isinstance(value, ReferringText):
                axis = _axis_of_override(_override_of_reference(parser, key, value))
            else:
                axis = _axis_of_value(str(key), value)
            if axis.key in axes:
                raise GridError(
                    f"hydra.sweeper.params has {axis.key} twice, once as {key}. Give it once."
                )
            axes[axis.key] = axis
        for key, axis in overriding.items():
            # The key keeps its position and, as one of the grid's keys, its part in the names.
            was_swept = key in axes and axes[key].swept
            axes[key] = Axis(key, axis.overrides, axis.swept or was_swept)
        blocks.append(tuple(axes.values()))
    return Expansion(tuple(blocks))


def _blocks(params: object) -> list[Mapping[str, object]]:
    if params is None or params == [] or params == {}:
        return [{}]
    blocks: list[Mapping[str, object]] = []
    for block in params if isinstance(params, list) else [params]:
        if not isinstance(block, Mapping):
            raise GridError(
                "hydra.sweeper.params is a mapping of keys to values, or a list of such mappings; "
                f"got {block!r}. Write e.g. params: {{model: [mlp, cnn], seed: [1, 2]}}."
            )
        blocks.append(block)
    return blocks


def _axes_of_arguments(overrides: Sequence[Override]) -> dict[str, Axis]:
    """The axes of the command line.

    Raises:
        GridError: If a key is given twice and the last does not simply replace the first: Hydra
            would merge mappings, and a sweep would be lost.
    """
    axes: dict[str, Axis] = {}
    first: dict[str, Override] = {}
    for override in overrides:
        axis = _axis_of_override(override)
        earlier = first.setdefault(axis.key, override)
        if earlier is not override and not (_replaces(earlier) and _replaces(override)):
            raise GridError(
                f"{axis.key} is given twice on the command line: {earlier.input_line} and "
                f"{override.input_line}. Give it once; mappings are swept key by key, "
                f"{axis.key}.KEY=value1,value2."
            )
        axes[axis.key] = axis
    return axes


def _replaces(override: Override) -> bool:
    """Whether an override sets one value, whatever was there before."""
    from hydra.core.override_parser.types import QuotedString

    value = raw_override_value(override)
    is_plain = value is None or isinstance(value, str | int | float | list | QuotedString)
    return is_plain and not override.is_sweep_override()


def _override_of_reference(parser: OverridesParser, key: str, reference: ReferringText) -> Override:
    """As on the command line; where only what the text resolves to is a sweep, that sweep."""
    from hydra.errors import HydraException

    written = f"{key}={reference.text}"
    with suppress(HydraException):  # of `range(1,${n})`, and of resolved text that is no syntax
        if isinstance(reference.resolved, str):
            resolved = _parse(parser, f"{key}={reference.resolved}")
            if resolved.is_sweep_override() and not _is_sweep(parser, written):
                return resolved
    return _parse(parser, written)


def _parse(parser: OverridesParser, text: str) -> Override:
    (override,) = parser.parse_overrides([text])  # whose errors show the place
    return override


def _is_sweep(parser: OverridesParser, text: str) -> bool:
    from hydra.errors import HydraException

    try:
        return _parse(parser, text).is_sweep_override()
    except HydraException:
        return False


def _axis_of_override(override: Override) -> Axis:
    key = override.get_key_element()
    if override.is_delete() and not override.is_sweep_override():
        return Axis(f"~{bare_key(key)}", (str(override.input_line),), swept=False)
    if not override.is_sweep_override():
        text = override.get_value_element_as_str()
        return Axis(bare_key(key), (f"{key}={text}",), swept=False)
    if not override.is_discrete_sweep():
        raise GridError(
            f"{override.input_line}: an interval has no finite number of values. Sweep "
            f"{key}=range(start,stop,step) or {key}=value1,value2, or use a sweeper that samples."
        )
    values = tuple(f"{key}={text}" for text in override.sweep_string_iterator())
    if not values:
        raise GridError(
            f"{override.input_line} has no values to sweep. "
            "Check the pattern, or the range's start, stop and step."
        )
    return Axis(bare_key(key), values, swept=True)


def _axis_of_value(key: str, value: object) -> Axis:
    if isinstance(value, Mapping):
        inner = next(iter(value), "key")
        raise GridError(
            f"hydra.sweeper.params.{key} is a mapping. Write its keys with dots, e.g. "
            f"{key}.{inner}: [...]; a mapping as one value goes into a list: {key}: [{{...}}]."
        )
    values = value if isinstance(value, list) else [value]
    if not values:
        raise GridError(
            f"hydra.sweeper.params.{key} is an empty list: the grid would have no runs. "
            "Give at least one value, or remove the key."
        )
    functions = [item for item in values if isinstance(item, str) and _SWEEP.fullmatch(item)]
    if functions:
        raise GridError(
            f"hydra.sweeper.params.{key} has {functions[0]} in a list, where text stands for "
            f'itself. To sweep it, write {key}: "{functions[0]}"; to have this very text, write '
            f"{key}: \"'{functions[0]}'\"."
        )
    try:
        overrides = tuple(to_override(key, item) for item in values)
    except TypeError as error:
        raise GridError(f"hydra.sweeper.params.{key}: {error}") from error
    return Axis(bare_key(key), overrides, swept=isinstance(value, list))


def _product_size(block: tuple[Axis, ...]) -> int:
    size = 1
    for axis in block:
        size *= len(axis.overrides)
    return size
