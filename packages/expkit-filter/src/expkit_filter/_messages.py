"""Parts of messages: a value in short, and the names that somebody may have meant."""

from collections.abc import Iterable


def shown(value: object) -> str:
    """A value for a message: its repr, cut to 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write integers of more than 4300 digits
        text = f"an integer of {value.bit_length()} bits"  # type: ignore[attr-defined]
    return text if len(text) <= 80 else f"{text[:79]}…"


def near_matches(name: str, candidates: Iterable[str], limit: int = 3) -> list[str]:
    """Those of `candidates` that somebody who wrote `name` may have meant, best first.

    Examples:
        >>> near_matches("optimiser.lr", ["optimizer.lr", "model.name", "seed"])
        ['optimizer.lr']
        >>> near_matches("lr", ["optimizer.lr", "model.name", "seed"])
        ['optimizer.lr']
    """
    from difflib import get_close_matches

    names = sorted(set(candidates))
    typos = get_close_matches(name, names, limit, 0.85)
    if typos:
        return typos
    last = name.rpartition(".")[2]
    same_last = [other for other in names if other.rpartition(".")[2] == last]
    children = [other for other in names if other.startswith(f"{name}.")]
    close = get_close_matches(name, names, limit, 0.6)
    return list(dict.fromkeys([*same_last, *children, *close]))[:limit]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A sentence to end an error with; empty if nothing is near.

    Examples:
        >>> did_you_mean("optimiser.lr", ["optimizer.lr", "seed"])
        " Did you mean 'optimizer.lr'?"
    """
    matches = near_matches(name, candidates)
    return f" Did you mean {' or '.join(map(repr, matches))}?" if matches else ""


def did_you_mean_key(name: str, keys: Iterable[str]) -> str:
    """The same for a key of a configuration: the user's own first, and the kit's without such.

    >>> did_you_mean_key("repeats", ["expkit.repeat", "data.repeat", "seed"])
    " Did you mean 'data.repeat'?"
    """
    names = list(keys)
    guess = did_you_mean(name, own_keys(names)) if own_keys([name]) else ""
    return guess or did_you_mean(name, names)


def own_keys(names: Iterable[str]) -> list[str]:
    """The dotted names that the user has written, without those that only steer the kit."""
    from expkit_bookkeeping.launching import NO_PART_OF_IDENTITY

    return [name for name in names if name.partition(".")[0] not in NO_PART_OF_IDENTITY]
