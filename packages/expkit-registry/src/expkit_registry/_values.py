"""Values against annotations: what is converted, and what cannot be meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from ._errors import near_match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspect import Parameter

_NUMBERS = {bool, int, float, complex}
_SCALARS = (*_NUMBERS, str, NoneType)


class MisfitError(ValueError):
    """A value that a parameter cannot mean.

    Attributes:
        place: The value's place within the argument, such as `[1]`.
        fact: What it is, and what is expected: "is 'a', but {} expects 'b'", with a hint.
    """

    def __init__(self, place: str, fact: str) -> None:
        super().__init__(place, fact)
        self.place, self.fact = place, fact


def converted(parameter: Parameter, value: object) -> object:
    """A configured value as the parameter expects it.

    A text that names a member of an enumeration, or is the value of one, becomes that member. A
    list becomes a tuple where the default is one: YAML and OmegaConf have no tuples, so a
    published default would come back as a list. Everything else stays what it is.

    Raises:
        MisfitError: If it is a text in place of a number, or none of the values that a `Literal` or
            an enumeration allows.
    """
    default, annotation = parameter.default, parameter.annotation
    if type(value) in _SCALARS and type(value) is type(default) and value == default:
        return value
    if annotation is parameter.empty:
        if isinstance(default, Enum):
            annotation = type(default)
        elif type(default) in (int, float) and isinstance(value, str) and _is_number(value):
            raise _no_number("", value, type(default).__name__)
    value = _converted(annotation, value, "")
    return tuple(value) if isinstance(value, list) and isinstance(default, tuple) else value


def annotated_types(annotation: object) -> tuple[object, ...]:
    """The members of a union, or the annotation itself.

    Examples:
        >>> annotated_types(int | None)
        (<class 'int'>, <class 'NoneType'>)
    """
    if get_origin(annotation) is Annotated:
        return annotated_types(get_args(annotation)[0])
    if type(annotation).__name__ == "TypeAliasType":  # `type Mode = …`, of Python 3.12
        return annotated_types(annotation.__value__)  # type: ignore[attr-defined]
    if get_origin(annotation) in (Union, UnionType):
        return tuple(kind for part in get_args(annotation) for kind in annotated_types(part))
    return (annotation,)


def is_enumeration(kind: object) -> bool:
    """Whether it is a class of named values."""
    return isinstance(kind, type) and issubclass(kind, Enum)


def _converted(annotation: object, value: object, place: str) -> object:
    kinds = annotated_types(annotation)
    choices = [kind for kind in kinds if get_origin(kind) is Literal or is_enumeration(kind)]
    if choices:
        return _chosen(kinds, value, place)
    if isinstance(value, str):
        if expected := _expected_number(kinds, value):
            raise _no_number(place, value, expected)
        return value
    containers = [kind for kind in kinds if get_args(kind)]
    return _items_converted(containers[0], value, place) if len(containers) == 1 else value


def _items_converted(kind: object, value: object, place: str) -> object:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {
            key: _converted(arguments[1], item, f"{place}.{key}") for key, item in value.items()
        }
    if not isinstance(value, (list, tuple)) or type(value) not in (list, tuple):
        return value
    if origin is tuple and arguments[-1] is not Ellipsis:
        if len(arguments) != len(value):
            return value
    elif origin in (list, Sequence, tuple):
        arguments = arguments[:1] * len(value)
    else:
        return value
    items = [
        _converted(argument, item, f"{place}[{index}]")
        for index, (argument, item) in enumerate(zip(arguments, value, strict=True))
    ]
    return type(value)(items)


def _chosen(kinds: Sequence[object], value: object, place: str) -> object:
    """The value, or the member that it stands for, of a union that lists what is allowed."""
    allowed: list[object] = []
    for kind in kinds:
        if get_origin(kind) is Literal:
            allowed += get_args(kind)
        elif is_enumeration(kind):
            allowed += list(kind)  # type: ignore[call-overload]
    scalars = [kind for kind in kinds if kind in _SCALARS]
    if any(_is_same(value, option) for option in allowed) or any(
        isinstance(value, (int, float) if kind is float else kind) for kind in scalars
    ):
        return value
    members = [option for option in allowed if isinstance(option, Enum)]
    matches = [option for option in members if _is_name(value, option)] + [
        option for option in members if _is_same(value, option.value)
    ]
    if matches and all(match is matches[0] for match in matches):
        return matches[0]
    is_listed = all(
        kind in scalars or get_origin(kind) is Literal or is_enumeration(kind) for kind in kinds
    )
    if not is_listed and not matches:
        return value  # may be meant for a class, which only the entry knows
    texts = [option.name if isinstance(option, Enum) else repr(option) for option in allowed]
    texts += [_kind_name(kind) for kind in scalars]
    if matches:
        both = " or ".join(dict.fromkeys(map(_full_name, matches)))
        raise MisfitError(
            place, f"is {value!r}, which {{}} could take for {both}: write one of them."
        )
    names = [o.name if isinstance(o, Enum) else o for o in allowed if isinstance(o, (Enum, str))]
    hint = near_match(value, names) if isinstance(value, str) else ""
    if isinstance(value, bool) and {"on", "off", "yes", "no"} & {name.lower() for name in names}:
        hint = " YAML reads on, off, yes and no as true and false unless they are quoted."
    raise MisfitError(
        place, f"is {value!r:.80}, but {{}} expects {'one of ' * (len(texts) > 1)}"
        f"{', '.join(texts)}.{hint}"
    )  # fmt: skip


def _full_name(member: Enum) -> str:
    return f"{type(member).__name__}.{member.name}"


def _is_name(value: object, member: Enum) -> bool:
    cls = type(member)
    if not isinstance(value, str):
        return False
    return cls.__members__.get(value.removeprefix(f"{cls.__name__}.")) is member


def _is_same(value: object, option: object) -> bool:
    """Equal, where True is not 1; only scalars are compared, as arrays give one result per item."""
    if value is option:
        return True
    return (
        isinstance(value, (str, int, float))
        and isinstance(option, (str, int, float))
        and isinstance(value, bool) == isinstance(option, bool)
        and value == option
    )


def _expected_number(kinds: Sequence[object], value: str) -> str | None:
    """The kind of number that is expected, if this string cannot be meant."""
    if not all(isinstance(kind, type) for kind in kinds) or not _NUMBERS & set(kinds):
        return None
    only_numbers = set(kinds) <= _NUMBERS | {NoneType}
    if {str, object} & set(kinds) or not (only_numbers or _is_number(value)):
        return None
    return " or ".join(map(_kind_name, kinds))


def _no_number(place: str, value: str, kind: str) -> MisfitError:
    return MisfitError(
        place, f"is the string {value!r}, but {{}} expects {kind}.{_yaml_hint(value, kind)}"
    )


def _kind_name(kind: object) -> str:
    return "None" if kind is NoneType else str(getattr(kind, "__name__", kind))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _yaml_hint(value: str, kind: str) -> str:
    if not _is_number(value):
        return " Write true or false, without quotes." if kind.startswith("bool") else ""
    return f" Write it without quotes, as {_in_yaml(float(value), kind)}" + (
        "; YAML reads 1e-3 as a string and 1.0e-3 as a number." if "e" in value.lower() else "."
    )


def _in_yaml(number: float, kind: str) -> str:
    if not isfinite(number):
        return {"inf": ".inf", "-inf": "-.inf"}.get(repr(number), ".nan")
    if "float" not in kind and number.is_integer():
        return str(int(number))
    # YAML 1.1, and so PyYAML, requires a dot and a signed exponent in a float.
    digits, e, exponent = repr(number).partition("e")
    return f"{digits}{'' if '.' in digits else '.0'}{e}{exponent}"
