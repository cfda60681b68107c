"""Dotted names: from text to a path of keys and back, and their values in a configuration."""

from collections.abc import Iterator, Mapping, Sequence

KeyPath = tuple[str | int, ...]


class _Missing:
    """The absence of a value, which is not None."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


def join(path: KeyPath) -> str:
    """The text of a path.

    Examples:
        >>> join(("model", "layers", 0, "size"))
        'model.layers[0].size'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def split(name: str) -> KeyPath:
    """The path of a name.

    Examples:
        >>> split("model.layers[0].size")
        ('model', 'layers', 0, 'size')
    """
    path: list[str | int] = []
    for part in name.split("."):
        key, *indices = part.split("[")
        digits = [index.removesuffix("]") for index in indices]
        if not all(
            index.endswith("]") and digit.removeprefix("-").isdecimal()
            for index, digit in zip(indices, digits, strict=True)
        ):
            path.append(part)  # a key that only looks like an index
            continue
        if key:
            path.append(key)
        path.extend(int(digit) for digit in digits)
    return tuple(path)


def is_defined(config: object, path: KeyPath) -> bool:
    """Whether the configuration has a value under a path."""
    return look_up(config, path) is not MISSING


def look_up(config: object, path: KeyPath) -> object:
    """The value under a path, or `MISSING`.

    Args:
        config: Nested mappings and lists; keys may themselves contain dots
            (`{"optimizer.lr": 0.1}`).
        path: What `split` returns.
    """
    node = config
    for depth, key in enumerate(path):
        try:
            node = node[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return _look_up_joined(node, path[depth:])
    return node


def _look_up_joined(node: object, path: KeyPath) -> object:
    """Like `look_up`, where some keys of a mapping are joined by dots."""
    if not path:
        return node
    if isinstance(node, Mapping):
        for end in range(1, len(path) + 1):
            key = join(path[:end])
            if key in node:
                value = _look_up_joined(node[key], path[end:])
                if value is not MISSING:
                    return value
        if isinstance(path[0], int) and path[0] in node:
            return _look_up_joined(node[path[0]], path[1:])
        return MISSING
    if isinstance(node, Sequence) and isinstance(path[0], int):
        try:
            return _look_up_joined(node[path[0]], path[1:])
        except IndexError:
            return MISSING
    return MISSING


def flatten(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Names and values of all leaves; lists are leaves, and so is an empty mapping.

    Examples:
        >>> dict(flatten({"model": {"name": "cnn", "layers": [8, 8]}, "seed": 1}))
        {'model.name': 'cnn', 'model.layers': [8, 8], 'seed': 1}
    """
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, value
