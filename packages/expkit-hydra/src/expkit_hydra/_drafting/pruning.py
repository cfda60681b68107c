"""The product of a grid's axes; rules are asked as soon as the values that they read are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .._composing.base_config import BaseConfig
from .._composing.composer import Composer
from .._composing.overrides import KeyPath
from .expansion import Axis, Expansion
from .shape import Naming, Shape, shape_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_filter import Rule

SkippingRule = tuple[int, bool | str]  # a rule's number, from 1, and its answer


class ProductRun(NamedTuple):
    """A run of the product."""

    position: int
    overrides: tuple[str, ...]
    skipping_rule: SkippingRule | None  # the rule that skips it, if that was decided early


def product_runs(
    expansion: Expansion, composer: Composer, naming: Naming, rules: Sequence[Rule]
) -> Iterator[ProductRun]:
    """Walk through the product in its order.

    A rule is asked as soon as all values are bound that it and the rules before it read; no other
    rule is asked about the runs that it skips. Rules that need a whole run (its folder, its state,
    a class of the user's), and the rules after them, are left to the caller.

    Args:
        expansion: The axes.
        composer: Composes what the rules read.
        naming: How the runs are named.
        rules: The rules, in their order.
    """
    position = 0
    for axes in expansion.blocks:
        for overrides, skipping_rule in _Block(axes, composer, naming, rules).walk():
            yield ProductRun(position, overrides, skipping_rule)
            position += 1


@dataclass(frozen=True, slots=True)
class _Reading:
    """How a rule's names are read before a run is whole."""

    number: int
    rule: Rule
    depth: int  # how many axes have to be bound
    static: Mapping[str, object]  # names and values that are the same for all runs of the base
    own: tuple[tuple[str, KeyPath], ...]  # names and the keys that are swept

    def ask(self, values: Mapping[KeyPath, object]) -> bool | str | None:
        """The rule's answer; None if it has to be asked about the whole run."""
        from expkit_filter import Candidate, FilterError

        config = dict(self.static)
        try:
            for name, path in self.own:
                config[name] = values[path]
            return self.rule.holds(Candidate(config, ""), None)
        except (KeyError, FilterError):  # asked again about the whole run, the error names it
            return None


class _Block:
    """One product of axes."""

    def __init__(
        self, axes: Sequence[Axis], composer: Composer, naming: Naming, rules: Sequence[Rule]
    ) -> None:
        self._axes = axes
        self._composer = composer
        self._naming = naming
        self._rules = rules
        self._plain = [False] * len(axes)
        # All at once: some groups may have to be chosen before Hydra can tell what is a group.
        if rules and composer.reads([axis.overrides[0] for axis in axes]):
            self._plain = [composer.are_plain(axis.overrides) for axis in axes]
        self._paths = [tuple(axis.key.split(".")) for axis in axes]
        self._is_early = any(self._plain)
        # The base is known once all axes are bound that Hydra composes.
        composed = [depth for depth, plain in enumerate(self._plain, 1) if not plain]
        self._base_depth = max(composed, default=0)

    def walk(self) -> Iterator[tuple[tuple[str, ...], SkippingRule | None]]:
        """The runs in order."""
        yield from self._below((), None, (), None)

    def _below(
        self,
        bound: tuple[str, ...],
        base: BaseConfig | None,
        readings: Sequence[_Reading],
        skipping_rule: SkippingRule | None,
    ) -> Iterator[tuple[tuple[str, ...], SkippingRule | None]]:
        depth = len(bound)
        if self._is_early and depth == self._base_depth:
            base, readings = self._read(bound)
        if base is not None and skipping_rule is None and readings and readings[0].depth <= depth:
            skipping_rule, readings = self._ask(bound, base, readings)
        if depth == len(self._axes):
            yield bound, skipping_rule
            return
        for text in self._axes[depth].overrides:
            yield from self._below((*bound, text), base, readings, skipping_rule)

    def _read(self, bound: tuple[str, ...]) -> tuple[BaseConfig | None, Sequence[_Reading]]:
        rest = [axis.overrides[0] for axis in self._axes[len(bound) :]]
        if not self._composer.can_share([*bound, *rest]):
            return None, ()
        composed = [text for text, plain in zip(bound, self._plain, strict=False) if not plain]
        try:
            base = self._composer.base(composed)
        except Exception:  # raised again for the first run, which names it
            return None, ()
        if not self._composer.takes_values(base):
            return None, ()
        # What only Hydra can put in place may change any key: `list.0=5`, `link.lr=5`.
        are_patches = all(
            self._composer.patch(base, text) is not None
            for axis, plain in zip(self._axes, self._plain, strict=True)
            if plain
            for text in axis.overrides
        )
        return (base, self._readings(base)) if are_patches else (None, ())

    def _readings(self, base: BaseConfig) -> Sequence[_Reading]:
        """The rules that can be asked early: up to the first that cannot."""
        depths = {
            path: max(depth, self._base_depth)
            for depth, (path, plain) in enumerate(zip(self._paths, self._plain, strict=True), 1)
            if plain
        }
        shape = shape_of(base, tuple(depths), self._naming)
        own_names = {".".join(path): path for path in depths}
        readings = []
        deepest = self._base_depth
        for number, rule in enumerate(self._rules, start=1):
            if rule.needs_run:
                break
            static = _read_static(shape, rule.names - own_names.keys())
            if static is None:
                break
            own = tuple((name, own_names[name]) for name in rule.names & own_names.keys())
            deepest = max([deepest, *(depths[path] for _, path in own)])
            readings.append(_Reading(number, rule, deepest, static, own))
        return readings

    def _ask(
        self, bound: tuple[str, ...], base: BaseConfig, readings: Sequence[_Reading]
    ) -> tuple[SkippingRule | None, Sequence[_Reading]]:
        """Ask the rules whose turn it is; returns their answer, and the rules for deeper axes."""
        values = {}
        for path, text, plain in zip(self._paths, bound, self._plain, strict=False):
            patch = self._composer.patch(base, text) if plain else None
            if patch is not None and patch.is_constant:
                values[path] = patch.plain
        for position, reading in enumerate(readings):
            if reading.depth > len(bound):
                return None, readings[position:]
            answer = reading.ask(values)
            if answer is None:
                return None, ()
            if answer:
                return (reading.number, answer), ()
        return None, ()


def _read_static(shape: Shape, names: frozenset[str]) -> dict[str, object] | None:
    """Names and values that all runs of a shape share; None if a name is not shared by all."""
    values: dict[str, object] = {}
    for name in names:
        # An index follows a list, which is read as a whole.
        path = tuple(name.partition("[")[0].split("."))
        if not shape.is_static(path):
            return None
        node: object = shape.static
        for key in path:
            if not isinstance(node, Mapping) or key not in node:
                break  # a name that no run has
            node = node[key]
        else:
            values[".".join(path)] = node
    return values
