"""What goes wrong, as one public class."""


class FilterError(ValueError):
    """A rule that cannot be read or applied, a grid with nothing left, or a run that changed."""


class MissingName(FilterError):
    """An expression read a name that this configuration does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is not in this configuration. Ask first: defined({name}) and …")
        self.name = name

    def __reduce__(self) -> tuple[type["MissingName"], tuple[str]]:
        # Exceptions are made anew from their text, which is not what this one takes.
        return MissingName, (self.name,)
