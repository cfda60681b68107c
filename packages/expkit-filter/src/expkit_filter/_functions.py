"""The functions that a rule's expression can call. `Expression` and the README list them, too."""

from collections.abc import Callable, Sequence

from ._messages import shown

METHODS = ("startswith", "endswith")  # may also be written behind the text: name.startswith("a")


def _round(number: float, digits: int = 0) -> object:
    if not -400 <= digits <= 400:  # beyond any float; round(1, -10**9) would compute 10**10**9
        raise OverflowError("round() takes at most 400 digits")
    return round(number, digits) if digits else round(number)


def _starts_with(text: str, start: str | Sequence[str]) -> bool:
    return _text(text, "startswith").startswith(_affix(start))


def _ends_with(text: str, end: str | Sequence[str]) -> bool:
    return _text(text, "endswith").endswith(_affix(end))


def _text(value: object, function: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{function} needs a text, got {shown(value)}")
    return value


def _affix(value: str | Sequence[str]) -> str | tuple[str, ...]:
    return value if isinstance(value, str) else tuple(value)


# The function, and its least and greatest number of arguments.
FUNCTIONS: dict[str, tuple[Callable[..., object], int, int | None]] = {
    "len": (len, 1, 1),
    "abs": (abs, 1, 1),
    "min": (min, 1, None),
    "max": (max, 1, None),
    "round": (_round, 1, 2),
    "str": (str, 1, 1),
    "int": (int, 1, 1),
    "float": (float, 1, 1),
    "startswith": (_starts_with, 2, 2),
    "endswith": (_ends_with, 2, 2),
}
