"""Dotted names: from text to path and back, and what they mean in a configuration."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

Path = tuple[str | int, ...]


class _Missing:
    """The absence of a value, which is not None."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


def join(path: Path) -> str:
    """The text of a path.

    >>> join(("model", "layers", 0, "size"))
    'model.layers[0].size'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def split(name: str) -> Path:
    """The path of a name.

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


def shown(value: object) -> str:
    """A value for a message: its repr, cut to 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write integers of more than 4300 digits
        text = f"an integer of {value.bit_length()} bits"  # type: ignore[attr-defined]
    return text if len(text) <= 80 else f"{text[:79]}…"


def look_up(config: object, path: Path) -> object:
    """The value under a path, or `MISSING`.

    Args:
        config: Nested mappings and lists; keys may themselves hold dots (`{"optimizer.lr": 0.1}`).
        path: As `split` makes it.
    """
    node = config
    for depth, key in enumerate(path):
        try:
            node = node[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return _look_up_joined(node, path[depth:])
    return node


def _look_up_joined(node: object, path: Path) -> object:
    """As `look_up`, where some keys of a mapping are joined by dots."""
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

    >>> dict(flatten({"model": {"name": "cnn", "layers": [8, 8]}, "seed": 1}))
    {'model.name': 'cnn', 'model.layers': [8, 8], 'seed': 1}
    """
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def near(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The known names that somebody who wrote `name` may have meant, best first.

    >>> near("optimiser.lr", ["optimizer.lr", "model.name", "seed"])
    ['optimizer.lr']
    >>> near("lr", ["optimizer.lr", "model.name", "seed"])
    ['optimizer.lr']
    """
    from difflib import get_close_matches

    names = sorted(set(known))
    typo = get_close_matches(name, names, limit, 0.85)
    if typo:
        return typo
    last = name.rpartition(".")[2]
    same_last = [other for other in names if other.rpartition(".")[2] == last]
    children = [other for other in names if other.startswith(f"{name}.")]
    close = get_close_matches(name, names, limit, 0.6)
    return list(dict.fromkeys([*same_last, *children, *close]))[:limit]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence to end an error with; empty where nothing is near.

    >>> did_you_mean("optimiser.lr", ["optimizer.lr", "seed"])
    " Did you mean 'optimizer.lr'?"
    """
    guesses = near(name, known)
    return f" Did you mean {' or '.join(map(repr, guesses))}?" if guesses else ""
