"""The operators of expressions: Python's, bounded in time and memory. Pure functions."""

from ._dotted_names import MISSING, look_up
from ._messages import shown

MOST_BITS = 4096  # of an integer; str() of it stays below Python's own limit of 4300 digits
MOST_ITEMS = 10_000  # of a repeated text or list, inner items included


def multiply(left: object, right: object) -> object:
    """The product; a repeated text or list stays small."""
    for value, times in ((left, right), (right, left)):
        if isinstance(value, (str, list, tuple)):
            count = times if isinstance(times, int) else 0
            if _size(value) * count > MOST_ITEMS:
                raise OverflowError(f"the product has more than {MOST_ITEMS} items")
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() + right.bit_length())
    return left * right  # type: ignore[operator]


def _size(value: object) -> int:
    """Characters and items, those of inner lists included: str() and == visit them all."""
    if isinstance(value, str):
        return len(value)
    return 1 + sum(map(_size, value)) if isinstance(value, (list, tuple)) else 1


def power(left: object, right: object) -> object:
    """The real power of two numbers."""
    if not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
        raise TypeError("** needs two numbers")
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() * abs(right))
    if left < 0 and not float(right).is_integer():
        raise ValueError("a negative number has no real power with a fraction")
    return left**right


def _check_bits(bits: int) -> None:
    if bits > MOST_BITS:
        raise OverflowError(f"the number has more than {MOST_BITS} bits")


def modulo(left: object, right: object) -> object:
    """The remainder."""
    if isinstance(left, str):  # would be text formatting: '%999999999d' % 1
        raise TypeError("% needs numbers")
    return left % right  # type: ignore[operator]


def item(value: object, key: object) -> object:
    """The item under a computed key or index."""
    result = look_up(value, (key,) if isinstance(key, (str, int)) else ())
    if result is MISSING or not isinstance(key, (str, int)):
        raise KeyError(f"no item {shown(key)} in {shown(value)}")
    return result
