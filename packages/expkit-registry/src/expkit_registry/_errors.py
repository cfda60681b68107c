"""The package's one exception, and the near match that its messages name."""

from collections.abc import Iterable


class RegistryError(LookupError):
    """A name, a configuration or an entry does not fit its registry."""


def near_match(word: str, known: Iterable[str]) -> str:
    """A question naming the known word that is closest, with a leading space, or nothing.

    >>> near_match("Adamm", ["adam", "sgd"])
    " Did you mean 'adam'?"
    >>> near_match("x", ["adam", "sgd"])
    ''
    """
    from difflib import get_close_matches

    by_case = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), by_case, n=1)
    return f" Did you mean {by_case[close[0]]!r}?" if close else ""


def listing(names: Iterable[str]) -> str:
    """Names in alphabetical order, or a word that says that there are none."""
    return ", ".join(sorted(names)) or "none"
