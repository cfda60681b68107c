"""Configurations as plain data without making them: what the runs of one base have in common.

All runs of a base that set the same keys differ in the values of these keys and in what refers to
them. A `Shape` resolves the rest once. What is left are holes: references that are followed by
hand where they are plain (`${a.b}`, `text-${a}`), and by OmegaConf where they are not (resolvers,
relative and nested references), in the base itself, to which the run's nodes are lent.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ._composition import Base, Place, Plan, list_overrides, settle
from ._identity import hash_of, is_volatile, mentions_volatile, plain_value, resolvers_as_text
from ._names import clean, fill_template, name_of, swept_values
from ._overrides import KeyPath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

Values = Mapping[KeyPath, object]  # of the keys that differ between runs, as their nodes hold them
Program = Callable[[Values], object]

RUN_NAME: KeyPath = ("run_name",)
# Hydra lists a run's overrides there.
LISTS: tuple[KeyPath, ...] = (("hydra", "overrides", "task"), ("hydra", "job", "override_dirname"))
_TOKEN = re.compile(
    r"\$\{(?:(?P<key>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"
    r"|hydra:(?P<hydra>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"
    r"|(?:oc\.env|now):[^${}\\]*)\}"
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is to be known of a run before it is started."""

    values: Mapping[str, object]  # of the swept keys
    run_name: str
    experiment: tuple[str, str]  # results_dir, experiment_id
    output_dir: tuple[str, str]  # where Hydra would run it: hydra.sweep.dir and subdir
    data: Mapping[str, object]  # the configuration, resolved, without Hydra's node
    config_hash: str


@dataclass(frozen=True, slots=True)
class Naming:
    """How the runs of a grid are named and where they live.

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

    def __init__(self, base: Base, paths: Iterable[KeyPath], naming: Naming) -> None:
        self._base = base
        self._naming = naming
        own = frozenset(paths)
        with base.lent(()):
            before = _Resolution(base.config, own.union(LISTS))
            self._values = {key: before.of_swept_key(key) for key in naming.keys}
            self._name = before.leaf(RUN_NAME)
            self._experiment = [before.leaf(("results_dir",)), before.leaf(("experiment_id",))]
        with self._settled(Place("?", naming.pinned), None):
            after = _Resolution(base.config, own.union([RUN_NAME, *LISTS]))
            self._sweep = [after.leaf(("hydra", "sweep", key)) for key in ("dir", "subdir")]
            self._data = after.template()
        self._lasting = self._data
        self._is_volatile = mentions_volatile(base.config)
        if self._is_volatile:
            with self._settled(Place("?", naming.pinned), None), resolvers_as_text():
                self._lasting = after.template()

    @property
    def static(self) -> Mapping[str, object]:
        """The configuration, resolved, as far as it is the same for all runs."""
        return self._data.static

    def is_static(self, path: KeyPath) -> bool:
        """Whether what is under a path, if anything is, is the same for all runs."""
        return not any(
            hole.path[: len(path)] == path or path[: len(hole.path)] == hole.path
            for hole in self._data.holes
        )

    def name(self, plan: Plan) -> tuple[Mapping[str, object], str]:
        """The values of a run's swept keys, and its name.

        Raises:
            GridError: If the template cannot be filled.
        """
        raw = {patch.path: patch.value for patch in plan.patches if patch.is_leaf}
        return self._name_of(plan, raw)

    def facts(self, plan: Plan) -> Facts:
        """All about one run.

        Raises:
            GridError: If the template cannot be filled.
        """
        raw = {patch.path: patch.value for patch in plan.patches if patch.is_leaf}
        values, name = self._name_of(plan, raw)
        experiment = self._leaves(self._experiment, raw, lambda: self._composed(plan))
        raw[RUN_NAME] = name
        place = Place(name, self._naming.pinned)

        def settled() -> AbstractContextManager[object]:
            return self._settled(place, plan)

        sweep = self._leaves(self._sweep, raw, settled)
        plain = {patch.path: patch.plain for patch in plan.patches if patch.is_constant}
        plain[RUN_NAME] = name
        data = self._data.fill(raw, plain, settled)
        lasting = data
        if self._is_volatile or is_volatile(
            patch.node for patch in plan.patches if not patch.is_constant
        ):
            lasting = self._lasting.fill(raw, plain, settled, resolvers_as_text)
        return Facts(
            values=values,
            run_name=name,
            experiment=(experiment[0], experiment[1]),
            output_dir=(sweep[0], sweep[1]),
            data=data,
            config_hash=hash_of(lasting, data, swept=self._naming.keys),
        )

    def _name_of(self, plan: Plan, raw: Values) -> tuple[Mapping[str, object], str]:
        values: dict[str, object] = {}
        plain = {
            patch.path: None if patch.plain == "???" else patch.plain  # missing: as none
            for patch in plan.patches
            if patch.is_constant
        }
        for key, found in self._values.items():
            if isinstance(found, _Constant):
                values[key] = found.value
            elif found in plain:
                values[key] = plain[found]
            else:
                with self._composed(plan):
                    values |= swept_values(self._base.config, [key])
        if self._naming.template is None:
            return values, name_of(values)
        if self._name.program is not None:
            try:
                return values, clean(self._name.program(raw))
            except KeyError:  # a value that is itself a reference or no leaf
                pass
        with self._composed(plan):
            return values, fill_template(self._base.config, plan.task_overrides)

    def _leaves(
        self,
        leaves: "Sequence[_Leaf]",
        raw: Values,
        lend: Callable[[], AbstractContextManager[object]],
    ) -> list[str]:
        try:
            return [str(_run(leaf.program, raw)) for leaf in leaves]
        except KeyError:
            with lend():
                return [str(leaf.read()) for leaf in leaves]

    @contextmanager
    def _composed(self, plan: Plan) -> Iterator[None]:
        """Let the base be what Hydra composes for a run, for the length of a block."""
        with self._base.lent(plan.patches, also=LISTS):
            list_overrides(self._base.config, plan.task_overrides)
            yield

    @contextmanager
    def _settled(self, place: Place, plan: Plan | None) -> Iterator[None]:
        """The same, with the run's place in it."""
        config = self._base.config
        paths = [(key,) for key, _ in place.items()]
        with self._base.lent(() if plan is None else plan.patches, also=[*paths, *LISTS]):
            settle(config, place, () if plan is None else plan.task_overrides)
            yield


@dataclass(frozen=True, slots=True)
class _Constant:
    value: object


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A value: by hand, or None where only OmegaConf can say; `read` asks it."""

    program: Program | None
    read: Callable[[], object]


@dataclass(frozen=True, slots=True)
class _Hole:
    """A place in the data that differs between runs."""

    path: tuple[str | int, ...]
    program: Program | None
    node: Any
    key: KeyPath | None  # where a run's own value stands


@dataclass(frozen=True)
class _Template:
    """Plain data with holes."""

    static: dict[str, object]
    holes: tuple[_Hole, ...]

    def fill(
        self,
        raw: Values,
        plain: Values,
        lend: Callable[[], AbstractContextManager[object]],
        extra: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> dict[str, object]:
        """The data of one run: what it shares with others is not copied.

        Args:
            raw: The run's own values, as references read them.
            plain: The same as plain data.
            lend: Lets the base be the run's configuration.
            extra: Entered as well where OmegaConf is asked.
        """
        filled: dict[tuple[str | int, ...], object] = {}
        asked = []
        for hole in self.holes:
            if hole.key is not None and hole.key in plain:
                filled[hole.path] = plain[hole.key]
                continue
            try:
                filled[hole.path] = plain_value(_run(hole.program, raw))
            except KeyError:
                asked.append(hole)
        if asked:
            with lend(), extra():
                for hole in asked:
                    node = hole.node() if hole.key is not None else hole.node
                    filled[hole.path] = plain_value(node)
        data = dict(self.static)
        copied: dict[tuple[str | int, ...], Any] = {(): data}
        for path, value in filled.items():
            owner: Any = data
            for depth, part in enumerate(path[:-1], start=1):
                inner = copied.get(path[:depth])
                if inner is None:
                    inner = copied[path[:depth]] = owner[part].copy()
                    owner[part] = inner
                owner = inner
            owner[path[-1]] = value
        return data


def _run(program: Program | None, raw: Values) -> object:
    if program is None:
        raise KeyError
    return program(raw)


class _Resolution:
    """Finds out what in a configuration differs between runs that set some keys of it."""

    def __init__(self, config: "DictConfig", own: frozenset[KeyPath]) -> None:
        self._config = config
        self._own = own
        self._above = {path[:depth] for path in own for depth in range(len(path))}
        self._varying: dict[KeyPath, bool] = {}
        self._following: set[KeyPath] = set()

    def template(self) -> _Template:
        """The configuration as plain data, without Hydra's node."""
        holes: list[_Hole] = []
        static = {
            _plain_key(key): self._plain(node, (_plain_key(key),), holes)
            for key, node in self._config.__dict__["_content"].items()
            if key != "hydra"
        }
        return _Template(static, tuple(holes))

    def of_swept_key(self, key: str) -> "_Constant | KeyPath":
        """The value of a swept key, or the path where a run's own value stands."""
        path = tuple(key.partition("@")[0].split("."))
        if key in self._config.hydra.runtime.choices or not self.varies(path):
            return _Constant(swept_values(self._config, [key])[key])
        return path

    def leaf(self, path: KeyPath) -> _Leaf:
        """The value under a path."""
        from omegaconf.errors import OmegaConfBaseException

        def read() -> object:
            owner: Any = self._config
            for key in path[:-1]:
                owner = owner[key]
            return owner[path[-1]]

        if not self.varies(path):
            try:
                value = read()
            except OmegaConfBaseException:  # to be said of a run
                return _Leaf(None, read)
            return _Leaf(lambda _: value, read)
        return _Leaf(self._follow(path), read)

    def varies(self, path: KeyPath) -> bool:
        """Whether what is under a path may differ between the runs."""
        if path not in self._varying:
            self._varying[path] = True  # what refers to itself is OmegaConf's to refuse
            self._varying[path] = self._may_vary(path)
        return self._varying[path]

    def _may_vary(self, path: KeyPath) -> bool:
        if path in self._above or any(path[: len(own)] == own for own in self._own):
            return True
        node: Any = self._config
        for key in path:
            content = _content(node)
            if not isinstance(content, dict):
                return True
            if key not in content:
                return False
            node = content[key]
        return self._node_varies(node, path)

    def _node_varies(self, node: Any, path: tuple[str | int, ...]) -> bool:
        if node._is_interpolation():
            return self._text_varies(str(node._value()))
        content = _content(node)
        if isinstance(content, dict):
            return any(self._node_varies(child, (*path, key)) for key, child in content.items())
        if isinstance(content, list):
            return any(self._node_varies(child, (*path, i)) for i, child in enumerate(content))
        return False

    def _text_varies(self, text: str) -> bool:
        if "\\" in text or "${" in _TOKEN.sub("", text):
            return True
        for token in _TOKEN.finditer(text):
            if token["key"] and self.varies(tuple(token["key"].split("."))):
                return True
            if token["hydra"] and self.varies(("hydra", *token["hydra"].split("."))):
                return True
        return False

    def _plain(self, node: Any, path: tuple[str | int, ...], holes: list[_Hole]) -> object:
        """Plain data of what is the same for all runs; None in the place of a hole."""
        if path in self._own:
            key = tuple(map(str, path))
            owner: Any = _content(node._get_parent())
            last = node._key()
            holes.append(_Hole(path, self._follow(key), lambda: owner[last], key))
            return None
        if node._is_interpolation():
            if self._text_varies(str(node._value())):
                holes.append(_Hole(path, self._program(node), node, None))
                return None
            return plain_value(node)
        content = _content(node)
        if isinstance(content, dict):
            return {
                _plain_key(key): self._plain(child, (*path, _plain_key(key)), holes)
                for key, child in content.items()
            }
        if isinstance(content, list):
            return [self._plain(child, (*path, i), holes) for i, child in enumerate(content)]
        return plain_value(node)

    def _follow(self, path: KeyPath) -> Program | None:
        """How the value under a path is read by hand."""
        if path in self._own:
            return lambda values: values[path]
        below_own = any(path[:depth] in self._own for depth in range(len(path)))
        if below_own or path in self._following:  # or to itself: OmegaConf's to follow or refuse
            return None
        node: Any = self._config
        for key in path:
            content = _content(node)
            if not isinstance(content, dict) or key not in content:
                return None
            node = content[key]
        self._following.add(path)
        try:
            return self._program(node)
        finally:
            self._following.remove(path)

    def _program(self, node: Any) -> Program | None:
        from omegaconf import AnyNode, StringNode, ValueNode

        if not isinstance(node, ValueNode) or node._is_missing():
            return None
        if not node._is_interpolation():
            value = node._value()
            return lambda _: value
        # A typed node would convert what it refers to.
        text = str(node._value())
        if type(node) not in (AnyNode, StringNode) or "\\" in text:
            return None
        parts: list[str | Program] = []
        end = 0
        for token in _TOKEN.finditer(text):
            parts.append(text[end : token.start()])
            end = token.end()
            path = tuple(token["key"].split(".")) if token["key"] else None
            program = self._follow(path) if path else None
            if program is None:
                return None
            parts.append(program)
        parts.append(text[end:])
        if any("${" in part for part in parts if isinstance(part, str)):
            return None
        filled = [part for part in parts if part != ""]
        if len(filled) == 1 and callable(filled[0]):
            return filled[0] if type(node) is AnyNode else _as_text(filled[0])
        return lambda values: "".join(
            [part if isinstance(part, str) else str(part(values)) for part in filled]
        )


def _as_text(program: Program) -> Program:
    """How a node of type text reads another's value."""

    def read(values: Values) -> object:
        value = program(values)
        if value is None:  # it depends on the node whether that may be: OmegaConf's to say
            raise KeyError
        return str(value)

    return read


def _content(node: Any) -> object:
    """What a container holds; text where it is a reference, None for what is no container."""
    return node.__dict__.get("_content")


def _plain_key(key: object) -> str:
    return key.name if isinstance(key, Enum) else str(key)
