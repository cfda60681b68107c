"""The package's only exception, and parts of its messages."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class RegistryError(LookupError):
    """A name, a configuration or an entry does not fit its registry."""


def near_match(name: str, names: Iterable[str]) -> str:
    """A question with the closest of the names, after a space; empty if none is close.

    Examples:
        >>> near_match("Adamm", ["adam", "sgd"])
        " Did you mean 'adam'?"
        >>> near_match("x", ["adam", "sgd"])
        ''
    """
    from difflib import get_close_matches

    by_lower_case = {candidate.lower(): candidate for candidate in names}
    matches = get_close_matches(name.lower(), by_lower_case, n=1)
    return f" Did you mean {by_lower_case[matches[0]]!r}?" if matches else ""


def listing(names: Iterable[str]) -> str:
    """The names in alphabetical order, or `none`."""
    return ", ".join(sorted(names)) or "none"
