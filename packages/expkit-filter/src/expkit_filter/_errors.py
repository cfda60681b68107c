"""Errors: one public class."""

from __future__ import annotations


class FilterError(ValueError):
    """A rule that cannot be read or applied, a grid with nothing left, or a run that changed."""


class MissingName(FilterError):
    """An expression read a name that this configuration does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is not in this configuration. Ask first: defined({name}) and …")
        self.name = name

    def __reduce__(self) -> tuple[type[MissingName], tuple[str]]:
        # pickle creates an exception from its text, but this one takes a name.
        return MissingName, (self.name,)
