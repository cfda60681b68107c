"""The one exception of this package, and how its texts name a near match."""

from collections.abc import Iterable


class PlottingError(ValueError):
    """A style, a source of metrics or a request that cannot be drawn; the text says why."""


def near_match(name: object, candidates: Iterable[object]) -> str:
    """A sentence with the candidate closest to `name`, or nothing.

    Examples:
        >>> near_match("figsze", ["figsize", "latex"])
        " Did you mean 'figsize'?"
        >>> near_match("xyz", ["figsize", "latex"])
        ''
    """
    import difflib

    by_lowered = {str(candidate).lower(): str(candidate) for candidate in candidates}
    close = difflib.get_close_matches(str(name).lower(), by_lowered, n=1)
    return f" Did you mean {by_lowered[close[0]]!r}?" if close else ""


def listed(names: Iterable[object], *, most: int = 20) -> str:
    """Names on one line, cut after `most`.

    Examples:
        >>> listed(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    texts = [str(name) for name in names]
    if len(texts) <= most:
        return ", ".join(texts) or "none"
    return f"{', '.join(texts[:most])} and {len(texts) - most} more"
