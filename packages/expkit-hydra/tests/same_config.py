"""Whether two configurations are the same: not only in what they resolve to."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, ConfigCompositionException
from omegaconf import Container, DictConfig, OmegaConf, UnionNode
from omegaconf.base import Node

METADATA = ("ref_type", "object_type", "optional", "key", "flags_root")


def assert_same_config(
    left: DictConfig,
    right: DictConfig,
    *,
    cache: bool = True,
    values: dict[str, str] | None = None,
) -> None:
    """Equal in nodes, types, flags, keys and their order, raw and resolved values.

    Args:
        left: What is asked about.
        right: What it should be.
        cache: Whether what resolvers have cached must be equal too: a frozen configuration is
            read in another process.
        values: What the right one's interpolations resolve to, where that is known.
    """
    mismatches = list(differences(left, right))
    if cache:
        caches = [dict(config._metadata.resolver_cache) for config in (left, right)]
        if caches[0] != caches[1]:
            mismatches.append(f"resolver cache: {caches[0]} is not {caches[1]}")
    if not mismatches:
        mine, theirs = resolved(left), resolved(right) if values is None else values
        mismatches += [
            f"{path}, resolved: {mine.get(path)} is not {theirs.get(path)}"
            for path in mine | theirs
            if mine.get(path) != theirs.get(path)
        ]
    assert not mismatches, "\n".join(mismatches)


def differences(left: Node, right: Node, path: str = "") -> Iterator[str]:
    """In what two nodes differ, all the way down; the parents of the left one are checked."""
    here = path or "the root"
    if type(left) is not type(right):
        yield f"{here}: a {type(left).__name__} ({left!r}) is not a {type(right).__name__}"
        return
    names = METADATA
    if isinstance(left, Container):
        names = (*METADATA, "key_type", "element_type")
    for name in names:
        one, other = getattr(left._metadata, name), getattr(right._metadata, name)
        # repr: an int and a float, or a str and a Path, may be equal.
        if one != other or repr(one) != repr(other):
            yield f"{here}, {name}: {one!r} is not {other!r}"
    if _set_flags(left) != _set_flags(right):
        yield f"{here}, flags: {_set_flags(left)} is not {_set_flags(right)}"
    if not isinstance(left, Container | UnionNode):
        one, other = left._value(), right._value()
        if type(one) is not type(other) or repr(one) != repr(other):  # NaN is not equal to itself
            yield f"{here}: {one!r} is not {other!r}"
        if left.__dict__.get("enum_type") is not right.__dict__.get("enum_type"):
            yield f"{here}: not the same enum"
        return
    yield from _content_differences(left, right, path)


def _content_differences(left: Node, right: Node, path: str) -> Iterator[str]:
    here = path or "the root"
    one, other = left.__dict__["_content"], right.__dict__["_content"]
    if type(one) is not type(other):
        yield f"{here}, content: {one!r} is not {other!r}"
    elif isinstance(one, Node):
        if one._get_parent() is not left:
            yield f"{here}: what the union holds has another parent"
        yield from differences(one, other, f"{path}<union>")
    elif not isinstance(one, dict | list):  # None, ??? or an interpolation
        if one != other:
            yield f"{here}: {one!r} is not {other!r}"
    else:
        pairs = [list(content.items() if isinstance(content, dict) else enumerate(content))
                 for content in (one, other)]  # fmt: skip
        keys = [[(type(key), key) for key, _ in items] for items in pairs]
        if keys[0] != keys[1]:
            yield f"{here}, keys: {[key for _, key in keys[0]]} is not {[k for _, k in keys[1]]}"
            return
        for (key, mine), (_, theirs) in zip(*pairs, strict=True):
            inner = f"{path}.{key}" if path else str(key)
            if mine._get_parent() is not left:
                yield f"{inner}: has another parent"
            yield from differences(mine, theirs, inner)


def _set_flags(node: Node) -> dict[str, bool]:
    """A flag that is not set and one that is set to None mean the same."""
    return {key: flag for key, flag in (node._metadata.flags or {}).items() if flag is not None}


@contextmanager
def hydra_reads(config: DictConfig) -> Iterator[None]:
    """Let `${hydra:…}` read this configuration, as in a job."""
    state = HydraConfig.instance()
    before = state.cfg
    state.cfg = config  # type: ignore[assignment]
    try:
        yield
    finally:
        state.cfg = before


def resolved(config: DictConfig) -> dict[str, str]:
    """What each interpolation resolves to, or the error that it gives, by its path."""
    values: dict[str, str] = {}
    # Resolving fills the cache, and the configuration is to stay as it was.
    cached = copy.deepcopy(config._metadata.resolver_cache)
    with hydra_reads(config):
        for path, node in _walk(config, ""):
            if node._is_interpolation():
                try:
                    target = node._dereference_node()
                    values[path] = (
                        repr(OmegaConf.to_container(target, resolve=True))
                        if isinstance(target, Container)
                        else repr(target._value())
                    )
                except Exception as error:  # any: it is compared, too
                    values[path] = f"{type(error).__name__}: {error}"
    config._metadata.resolver_cache = cached
    return values


def _walk(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    yield path, node
    content = node.__dict__.get("_content")
    if isinstance(content, dict | list):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        for key, child in pairs:
            yield from _walk(child, f"{path}.{key}" if path else str(key))


def paths(config: DictConfig) -> list[str]:
    """All keys below the root, containers and elements of lists included."""
    return [path for path, _ in _walk(config, "") if path]


def assert_same_refusal(ours: Exception, theirs: Exception) -> None:
    """The kit says which run it is, and then what Hydra says."""
    if isinstance(theirs, CompactHydraException):
        assert isinstance(ours, ConfigCompositionException), repr(ours)
        assert str(ours).startswith("Run "), ours
        assert str(ours).endswith(f" cannot be composed: {theirs}"), f"{ours}\nHydra: {theirs!r}"
        # Hydra prints the cause of an error that has one, and for OmegaConf's only that.
        assert _described(ours.__cause__) == _described(theirs.__cause__)
    else:
        assert (type(ours), str(ours)) == (type(theirs), str(theirs)), repr(ours)


def _described(error: BaseException | None) -> tuple[str, str]:
    return type(error).__name__, str(error)


def scramble(config: DictConfig) -> None:
    """Change a configuration everywhere, so that nothing that shares a node with it stays."""
    for _, node in reversed(list(_walk(config, ""))):
        content = node.__dict__.get("_content")
        node._metadata.key = "scrambled"
        node._metadata.optional = not node._metadata.optional
        node._set_flag(["readonly", "struct"], [None, None])
        if isinstance(content, dict | list):
            content.clear()
        elif "_val" in node.__dict__:
            node.__dict__["_val"] = "scrambled"
        if isinstance(node, Container):
            node._metadata.resolver_cache.clear()
            node._metadata.ref_type = str
