"""Configurations against signatures: what is unknown, missing, given twice or of a wrong type."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from types import NoneType, UnionType
from typing import NamedTuple, Union, get_args, get_origin

from ._errors import RegistryError, listing, near_match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from inspect import Parameter

MISSING = "???"  # OmegaConf's mark for a value that must still be given
HYDRA_KEYS = ("_args_", "_convert_", "_partial_", "_recursive_")
_NUMBERS = {bool, int, float, complex}


class Request(NamedTuple):
    """What a configuration asks for."""

    name: str
    config: dict[str, object]
    path: str  # of the node in the whole configuration, "" where there is none

    def at(self, key: str) -> str:
        """The key as it is written in the whole configuration."""
        return f"{self.path}.{key}" if self.path else key


def to_plain(value: object) -> object:
    """A copy of the value with OmegaConf's containers resolved to dicts and lists.

    omegaconf is imported only for values that come from it. Not the walk to plain data of
    expkit-bookkeeping: arguments of classes stay what they are, tuples and objects included.
    """
    if type(value).__module__.partition(".")[0] == "omegaconf":
        from omegaconf import OmegaConf

        if OmegaConf.is_config(value):
            return OmegaConf.to_container(value, resolve=True)
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(to_plain(item) for item in value)  # type: ignore[attr-defined,call-arg]
    return value


def read_request(registry: str, cfg: object) -> Request:
    """What a name, a mapping with `name` or a DictConfig asks for.

    Raises:
        RegistryError: If it has no `name`, or keys that only `hydra.utils.instantiate` acts on.
    """
    if isinstance(cfg, str):
        return Request(cfg, {}, "")
    path = _path(cfg)
    content = to_plain(cfg)
    where = f" ({path})" if path else ""
    if not isinstance(content, dict):
        raise RegistryError(
            f"{registry} cannot read the configuration {cfg!r}{where}: expected a name or a "
            f"mapping with the key 'name', got {type(cfg).__name__}."
        )
    # Only strings are compared: comparing an array gives one result per item.
    config = {
        str(key): value
        for key, value in content.items()
        if not (isinstance(value, str) and value == MISSING)
    }
    target = config.pop("_target_", None)
    hydra_keys = [key for key in HYDRA_KEYS if key in config]
    if target is not None and not f".{target}".endswith(f".{registry}.build"):
        hydra_keys.insert(0, "_target_")
    if hydra_keys:
        raise RegistryError(
            f"{registry}: the configuration{where} has {hydra_keys[0]!r}, which belongs to "
            "hydra.utils.instantiate. Pass the configuration to that, or remove the key."
        )
    if "name" not in config:
        raise RegistryError(
            f"{registry}: the configuration{where} has no 'name'."
            f"{_name_hint(config)} Its keys: {listing(config)}."
        )
    name = config.pop("name")
    if not isinstance(name, str):
        raise RegistryError(
            f"{registry}: 'name' in the configuration{where} must be a string, got {name!r}."
        )
    return Request(name, config, path)


def refuse_repeated(
    registry: str, request: Request, runtime: Mapping[str, object] | Collection[str]
) -> None:
    """Refuse an argument that both the configuration and the call give.

    Args:
        registry: Its name.
        request: The configured arguments.
        runtime: Those of the call, with their values or by name alone.

    Raises:
        RegistryError: With both values.
    """
    for key in runtime:
        value = f"{_short(runtime[key])}" if isinstance(runtime, Mapping) else "given"
        if key == "name":
            raise RegistryError(
                f"{registry}: 'name' selects the entry ({request.name!r}) and cannot be a "
                f"runtime argument, got {value}."
            )
        if key in request.config:
            raise RegistryError(
                f"{registry} {request.name!r}: {request.at(key)} is {_short(request.config[key])} "
                f"in the configuration and {value} in the call. "
                "Leave it out of one of them; neither replaces the other silently."
            )


def find_problems(
    entry: Callable[..., object],
    request: Request,
    runtime: Collection[str] | None,
) -> list[str]:
    """What would be wrong with a call of `entry` with these arguments, one sentence each.

    Args:
        entry: A class or function; it is not called.
        request: Its configured arguments.
        runtime: Names of the arguments that the call adds. None if they are not known yet:
            nothing is then reported as missing.
    """
    parameters = read_parameters(entry)
    if parameters is None:
        return []
    by_name = {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    problems: list[str] = []
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
        places = {key: request.at(key) for key in request.config}
        places |= {key: f"{key} (given in the call)" for key in runtime or ()}
        problems += [
            f"{place}: {_title(entry)} has no parameter {key!r}.{near_match(key, by_name)} "
            f"Parameters: {', '.join(by_name) or 'none'}."
            for key, place in places.items()
            if key not in by_name
        ]
    problems += [
        f"{request.at(key)} is the string {value!r}, but {_title(entry)} expects {kind}."
        f"{_yaml_hint(value, kind)}"
        for key, value in request.config.items()
        if key in by_name
        and isinstance(value, str)
        and (kind := _expected_number(by_name[key], value))
    ]
    own_name = by_name.pop("name", None)
    if own_name is not None and own_name.default is own_name.empty:
        problems.append(
            f"{_title(entry)} needs 'name', which selects the entry and is not passed on: rename "
            "the parameter, or register functools.partial(…, name=…)."
        )
    if runtime is not None:
        problems += [
            f"{_title(entry)} needs {name!r}: configure {request.at(name)}, or pass {name}=… to "
            "build()."
            for name, parameter in by_name.items()
            if parameter.default is parameter.empty
            and name not in request.config
            and name not in runtime
        ]
    return problems


def restore_tuples(entry: Callable[..., object], config: Mapping[str, object]) -> dict[str, object]:
    """Arguments in which a list becomes a tuple where the parameter's default is a tuple.

    YAML and OmegaConf have no tuples, so a published default would come back as a list.
    """
    parameters = read_parameters(entry) or {}
    return {
        key: tuple(value)
        if isinstance(value, list)
        and key in parameters
        and isinstance(parameters[key].default, tuple)
        else value
        for key, value in config.items()
    }


def read_parameters(entry: Callable[..., object]) -> Mapping[str, Parameter] | None:
    """The parameters by name, with annotations evaluated if possible; None if unknown."""
    from inspect import signature

    try:
        return signature(entry, eval_str=True).parameters
    except Exception:  # evaluating the annotations of others may raise anything
        pass
    try:
        return signature(entry).parameters
    except (TypeError, ValueError):  # some callables written in C have no signature
        return None


def annotated_types(annotation: object) -> tuple[object, ...]:
    """The members of a union, or the annotation itself.

    >>> annotated_types(int | None)
    (<class 'int'>, <class 'NoneType'>)
    """
    if get_origin(annotation) in (Union, UnionType):
        return get_args(annotation)
    return (annotation,)


def _expected_number(parameter: Parameter, value: str) -> str | None:
    """The kind of number that the parameter expects, if this string cannot be meant."""
    looks_like_number = _is_number(value)
    if parameter.annotation is parameter.empty:
        default = type(parameter.default)
        return default.__name__ if default in (int, float) and looks_like_number else None
    members = annotated_types(parameter.annotation)
    if not all(isinstance(member, type) for member in members) or not _NUMBERS & set(members):
        return None
    only_numbers = set(members) <= _NUMBERS | {NoneType}
    if {str, object} & set(members) or not (only_numbers or looks_like_number):
        return None
    return " or ".join("None" if m is NoneType else m.__name__ for m in members)  # type: ignore[attr-defined]


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


def _name_hint(config: Mapping[str, object]) -> str:
    from difflib import get_close_matches

    matches = get_close_matches("name", config, n=1)
    return f" Did you mean 'name' instead of {matches[0]!r}?" if matches else ""


def _title(entry: Callable[..., object]) -> str:
    from ._entries import location

    name = getattr(entry, "__qualname__", None) or repr(entry)
    place = location(entry)
    return name if place.endswith(name) else f"{name} ({place})"


def _path(cfg: object) -> str:
    # An OmegaConf node's own path, which only this method gives.
    full_key = getattr(cfg, "_get_full_key", None)
    return str(full_key(None)) if callable(full_key) else ""


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write integers of more than 4300 digits
        text = f"a long {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}…"
