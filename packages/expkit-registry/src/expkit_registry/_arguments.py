"""Configurations against signatures: what is unknown, missing, given twice or of a wrong type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ._errors import RegistryError, listing, near_match
from ._forwarding import all_keywords, has_var_keyword, keywords_of, read_parameters
from ._values import MisfitError, converted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from inspect import Parameter

MISSING = "???"  # OmegaConf's mark for a value that must still be given
HYDRA_KEYS = ("_args_", "_convert_", "_partial_", "_recursive_")
SELECTORS = ("_name_", "name")  # the first that a configuration has selects the entry
_USE_OTHER_SELECTOR = (
    "Where the entry has a parameter of its own called 'name', select it by '_name_' instead."
)


class Request(NamedTuple):
    """What a configuration asks for."""

    name: str
    config: dict[str, object]
    path: str  # of the node in the whole configuration, "" where there is none
    selector: str  # the key that selects the entry, "" where that was not a key
    missing: tuple[tuple[str, str], ...]  # arguments, and the places in them that must be given

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
    """What a name, a mapping with `name` (or `_name_`) or a DictConfig asks for.

    Raises:
        RegistryError: If it has no `name`, or keys that only `hydra.utils.instantiate` acts on.
    """
    if isinstance(cfg, str):
        return Request(cfg, {}, "", "", ())
    path = _path(cfg)
    content = to_plain(cfg)
    where = f" ({path})" if path else ""
    if not isinstance(content, dict):
        raise RegistryError(
            f"{registry} cannot read the configuration {cfg!r}{where}: expected a name or a "
            f"mapping with the key 'name', got {type(cfg).__name__}."
        )
    missing = tuple(
        (str(key), place) for key, value in content.items() for place in _missing(value, str(key))
    )
    config = {str(key): value for key, value in content.items() if (key, key) not in missing}
    target = config.pop("_target_", None)
    hydra_keys = [key for key in HYDRA_KEYS if key in config]
    if target is not None and not f".{target}".endswith(f".{registry}.build"):
        hydra_keys.insert(0, "_target_")
    if hydra_keys:
        raise RegistryError(
            f"{registry}: the configuration{where} has {hydra_keys[0]!r}, which belongs to "
            "hydra.utils.instantiate. Pass the configuration to that, or remove the key."
        )
    selector = next((key for key in SELECTORS if key in config), None)
    if selector is None:
        raise RegistryError(
            f"{registry}: the configuration{where} has no 'name'."
            f"{_name_hint(config)} Its keys: {listing(config)}."
        )
    name = config.pop(selector)
    if not isinstance(name, str):
        raise RegistryError(
            f"{registry}: {selector!r} in the configuration{where} must be a string, got {name!r}."
        )
    return Request(name, config, path, selector, missing)


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
        if key == request.selector:
            raise RegistryError(
                f"{registry}: {key!r} selects the entry ({request.name!r}) and cannot be a "
                f"runtime argument, got {value}. {_USE_OTHER_SELECTOR}"
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
    missing = [(key, place) for key, place in request.missing if place not in (runtime or ())]
    configured = dict.fromkeys([*request.config, *(key for key, _ in missing)])
    own, known, is_complete = _keywords(entry, {*configured, *(runtime or ())})
    places = {key: request.at(key) for key in configured}
    places |= {key: f"{key} (given in the call)" for key in runtime or ()}
    problems = [
        f"{place}: {_title(entry)} has no parameter {key!r}.{near_match(key, known)} "
        f"Parameters: {', '.join(known) or 'none'}."
        for key, place in places.items()
        if is_complete and key not in known
    ]
    problems += [
        f"{request.at(place)} is ???, so it must be given: {_ways_to_give(key, place, runtime)}."
        for key, place in missing
        if key in known or not is_complete
    ]
    for key in [key for key in request.config if key in known]:
        try:
            converted(known[key], request.config[key])
        except MisfitError as misfit:
            problems.append(f"{request.at(key)}{misfit.place} {misfit.fact.format(_title(entry))}")
    required = [name for name, parameter in own.items() if parameter.default is parameter.empty]
    if request.selector == "name" and "name" in required:
        required.remove("name")
        problems.append(
            f"{_title(entry)} needs 'name', which here selects the entry. {_USE_OTHER_SELECTOR}"
        )
    if runtime is not None:
        problems += [
            f"{_title(entry)} needs {name!r}: configure {request.at(name)}, or pass {name}=… to "
            "build()."
            for name in required
            if name not in configured and name not in runtime
        ]
    return problems


def converted_config(entry: Callable[..., object], request: Request) -> dict[str, object]:
    """The configured arguments as the entry expects them; see `converted`.

    Raises:
        MisfitError: For what `find_problems` reports.
    """
    _, known, _ = _keywords(entry, request.config)
    return {
        key: converted(known[key], value) if key in known else value
        for key, value in request.config.items()
    }


def _keywords(
    entry: Callable[..., object], keys: Collection[str]
) -> tuple[dict[str, Parameter], dict[str, Parameter], bool]:
    """The entry's own parameters, all that are known of, and whether it takes no others."""
    parameters = read_parameters(entry)
    if parameters is None:
        return {}, {}, False
    own = keywords_of(parameters)
    if not has_var_keyword(parameters):
        return own, own, True
    # Reading the source costs some milliseconds, for nothing if all keys are its own.
    every = None if own.keys() >= set(keys) else all_keywords(entry)
    return own, own if every is None else every, every is not None


def _ways_to_give(key: str, place: str, runtime: Collection[str] | None) -> str:
    if place != key:  # a part of an argument cannot be passed
        return "configure it"
    passed = f"configure it, or pass {key}=… to build()"
    return passed if runtime is not None else f"{passed} and runtime=[{key!r}] to check()"


def _missing(value: object, place: str) -> Iterator[str]:
    """The places of all values that must still be given: `lr`, `blocks[1].width`."""
    if isinstance(value, str):  # comparing an array gives one result per item
        if value == MISSING:
            yield place
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _missing(item, f"{place}.{key}")
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):  # type: ignore[arg-type]
            yield from _missing(item, f"{place}[{index}]")


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
