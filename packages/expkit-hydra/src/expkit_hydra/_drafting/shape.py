"""Configurations as plain data, without composing each: what the runs of one base have in common.

All runs of a base that set the same keys differ in the values of these keys and in what refers to
them. A `Shape` resolves the rest once, as a template, and fills it for each run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property

from expkit_bookkeeping.launching import public_config

from .._composing.base_config import BaseConfig, NodePatch
from .._composing.composer import Composition
from .._composing.errors import GridError
from .._composing.overrides import KeyPath, bare_key
from .._composing.run_location import RunLocation, list_overrides, settle
from .._composing.volatile import is_volatile, mentions_volatile, resolvers_as_text
from .._grid.identity import hash_of
from .._grid.names import (
    ABSENT,
    RunName,
    fill_template,
    name_from,
    name_of,
    swept_values,
)
from .._grid.secrets import is_secret_path, nodes_at, patterns_of, secret_nodes, veiled
from .template import Constant, Leaf, Resolution, Values, read_with

RUN_NAME: KeyPath = ("run_name",)
# Hydra lists a run's overrides there.
LISTS: tuple[KeyPath, ...] = (("hydra", "overrides", "task"), ("hydra", "job", "override_dirname"))


@dataclass(frozen=True, slots=True)
class ResolvedRun:
    """All that is to be known of a run before it starts."""

    values: Mapping[str, object]  # of the swept keys
    name: RunName
    run_name: str  # which of its names it has
    experiment: tuple[str, str]  # results_dir, experiment_id
    data: Mapping[str, object]  # the configuration, resolved, without Hydra's node
    config_hash: str


@dataclass(frozen=True, slots=True)
class Naming:
    """How the runs of a grid are named, and what is pinned of where they are.

    `keys` are the swept keys, `template` the user's text for run_name, None for the default.
    """

    keys: tuple[str, ...]
    template: str | None
    pinned: tuple[tuple[str, str], ...]


class Shape:
    """The runs of a base that set the same keys.

    Args:
        base: Their base.
        paths: The keys that their own overrides set.
        naming: How they are named.
    """

    def __init__(self, base: BaseConfig, paths: Iterable[KeyPath], naming: Naming) -> None:
        self._base = base
        self._naming = naming
        own = frozenset(paths)
        self._patterns = patterns_of(base.config)
        # Also where other values may be: a run's own, under the same keys.
        self._secrets = [secret.path for secret in secret_nodes(base.config, self._patterns)]
        with base.lent(()), self._veiled():
            before = Resolution(base.config, own.union(LISTS))
            self._values = {key: before.of_swept_key(key) for key in naming.keys}
            self._name = before.leaf(RUN_NAME)
            self._experiment = [before.leaf(("results_dir",)), before.leaf(("experiment_id",))]
        with self._settled(RunLocation("?", naming.pinned), None):
            after = Resolution(base.config, own.union([RUN_NAME, *LISTS]))
            self._data = after.template()
        self._stable = self._data
        self._is_volatile = mentions_volatile(base.config)
        if self._is_volatile:
            with self._settled(RunLocation("?", naming.pinned), None), resolvers_as_text():
                self._stable = after.template()

    @property
    def static(self) -> Mapping[str, object]:
        """The configuration, resolved, as far as it is the same for all runs."""
        return self._data.static

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """The keys that are `???` in all runs."""
        return tuple(_missing_keys(self.static))

    def is_static(self, path: KeyPath) -> bool:
        """Whether all runs have the same under a path, if they have anything there."""
        return not any(
            node.path[: len(path)] == path or path[: len(node.path)] == node.path
            for node in self._data.varying
        )

    def name(self, composition: Composition) -> tuple[Mapping[str, object], RunName]:
        """The values of a run's swept keys, and its name.

        Raises:
            GridError: If the template cannot be filled.
        """
        raw = {patch.path: patch.value for patch in composition.patches if patch.is_leaf}
        self._hide_own(composition.patches, raw)
        return self._name_of(composition, raw)

    def resolve(self, composition: Composition, run_name: str | None = None) -> ResolvedRun:
        """Resolve one run.

        Args:
            composition: The run.
            run_name: The name that it has, if not its plain one.

        Raises:
            GridError: If the template cannot be filled.
        """
        patches = composition.patches
        raw = {patch.path: patch.value for patch in patches if patch.is_leaf}
        self._hide_own(patches, raw)
        values, names = self._name_of(composition, raw)
        name = names.plain if run_name is None else run_name
        experiment = self._leaves(self._experiment, raw, lambda: self._composed(composition))
        raw[RUN_NAME] = name
        location = RunLocation(name, self._naming.pinned)

        def settled() -> AbstractContextManager[object]:
            return self._settled(location, composition)

        plain = {patch.path: patch.plain for patch in patches if patch.is_constant}
        plain[RUN_NAME] = name
        hides = self._hide_own(patches, plain) or bool(self._secrets)
        data = self._data.fill(raw, plain, settled)
        stable = data
        if self._is_volatile or is_volatile(
            patch.node for patch in patches if not patch.is_constant
        ):
            stable = self._stable.fill(raw, plain, settled, resolvers_as_text)
        return ResolvedRun(
            values=values,
            name=names,
            run_name=name,
            experiment=(experiment[0], experiment[1]),
            data=data,
            config_hash=hash_of(
                stable,
                data,
                swept=self._naming.keys,
                patterns=self._patterns if hides else None,
            ),
        )

    def _hide_own(self, patches: Sequence[NodePatch], values: dict[KeyPath, object]) -> bool:
        """Hide what is secret of a run's own values; returns whether anything is."""
        hides = False
        for patch in patches:
            value = patch.plain
            if type(value) in (str, dict, list) and is_secret_path(
                patch.path, value, self._patterns
            ):
                hides = True
                if patch.path in values:
                    public = public_config({patch.path[-1]: value}, self._patterns)
                    values[patch.path] = public[patch.path[-1]]
        return hides

    def _veiled(self, composition: Composition | None = None) -> AbstractContextManager[object]:
        own = () if composition is None else [patch.path for patch in composition.patches]
        if not self._secrets and not own:
            return nullcontext()
        nodes = nodes_at(self._base.config, {*self._secrets, *own}, self._patterns)
        return veiled(nodes, self._patterns)

    def _name_of(
        self, composition: Composition, raw: Values
    ) -> tuple[Mapping[str, object], RunName]:
        values: dict[str, object] = {}
        plain = {
            patch.path: None if patch.plain == "???" else patch.plain  # a missing value is none
            for patch in composition.patches
            if patch.is_constant
        }
        for key, source in self._values.items():
            if isinstance(source, Constant):
                if source.value is not ABSENT:
                    values[key] = source.value
            elif source in plain:
                values[key] = plain[source]
            else:
                with self._composed(composition):
                    values |= swept_values(self._base.config, [key])
        if len(values) < len(self._values):
            _check_absent(self._values.keys() - values.keys(), composition.task_overrides)
        if self._naming.template is None:
            # None stands in the name for a key that the configuration does not have, too.
            return values, name_of({key: values.get(key) for key in self._naming.keys})
        if self._name.reader is not None:
            try:
                return values, name_from(self._name.reader(raw))
            except KeyError:  # a value that is itself a reference or no leaf
                pass
        with self._composed(composition):
            return values, fill_template(self._base.config, composition.task_overrides)

    def _leaves(
        self,
        leaves: Sequence[Leaf],
        raw: Values,
        lend: Callable[[], AbstractContextManager[object]],
    ) -> list[str]:
        try:
            return [str(read_with(leaf.reader, raw)) for leaf in leaves]
        except KeyError:
            with lend():
                return [str(leaf.read()) for leaf in leaves]

    @contextmanager
    def _composed(self, composition: Composition) -> Iterator[None]:
        """Let the base be what Hydra composes for a run, for the length of a block."""
        with self._base.lent(composition.patches, also=LISTS):
            list_overrides(self._base.config, composition.task_overrides)
            with self._veiled(composition):
                yield

    @contextmanager
    def _settled(self, location: RunLocation, composition: Composition | None) -> Iterator[None]:
        """The same, with the run's location in it."""
        config = self._base.config
        paths = [(key,) for key, _ in location.items()]
        patches = () if composition is None else composition.patches
        with self._base.lent(patches, also=[*paths, *LISTS]):
            settle(config, location, () if composition is None else composition.task_overrides)
            with self._veiled(composition):
                yield


def _check_absent(keys: Collection[str], overrides: Sequence[str]) -> None:
    """Check that a run has values for the keys that it sweeps; a grid of a union may lack others.

    Raises:
        GridError: Naming the key.
    """
    for text in overrides:
        key = bare_key(text.partition("=")[0])
        if key in keys and not text.startswith("~"):
            raise GridError(
                f"{key} is swept, but the configuration of the run ({' '.join(overrides)}) has no "
                "value for it: another override or a file removes it. Sweep a key that stays, such "
                "as the one that replaces it."
            )


def _missing_keys(data: object, path: str = "") -> Iterator[str]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _missing_keys(value, f"{path}.{key}" if path else str(key))
    elif isinstance(data, list):
        for number, item in enumerate(data):
            yield from _missing_keys(item, f"{path}.{number}")
    elif data == "???":
        yield path


def shape_of_run(composition: Composition, naming: Naming) -> Shape:
    """The shape of the runs that set the same keys as this one."""
    paths = tuple([patch.path for patch in composition.patches])
    return shape_of(composition.base, paths, naming)


def shape_of(base: BaseConfig, paths: tuple[KeyPath, ...], naming: Naming) -> Shape:
    """The shape of the runs of a base that set these keys; worked out once."""
    shape = base.shapes.get(paths)
    if not isinstance(shape, Shape):
        shape = base.shapes[paths] = Shape(base, paths, naming)
    return shape
