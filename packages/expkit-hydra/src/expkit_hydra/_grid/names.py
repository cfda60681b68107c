"""Names of runs: made of the swept keys' values, or of the user's template."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence

from expkit_bookkeeping.launching import NO_PART_OF_IDENTITY, is_secret_key

from .._composing.errors import GridError
from .._composing.internals import child_node, raw_value
from .._composing.nodes import node_at
from .._composing.override_reader import chosen_options
from .._composing.overrides import bare_key
from .._composing.plain_data import plain_value
from .._composing.run_location import listed_overrides

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

MAX_BYTES = 100  # of 255 in a file name: leaves room for what is derived from a run's name
NOTHING_SWEPT = "run"
DEFAULT_TEMPLATE = "${expkit.name:}"
ABSENT = object()  # in place of a value that a configuration does not have
_FORBIDDEN = re.compile(r"[^A-Za-z0-9._=+-]+")


def name_of(values: Mapping[str, object]) -> str:
    """The name made of the swept keys' values, in their order.

    Examples:
        >>> name_of({"model": "resnet/18", "lr": 0.001, "dropout": None, "layers": [64, 32]})
        '18_0.001_None_64-32'
    """
    return clean("_".join(_part(value) for value in values.values()) or NOTHING_SWEPT)


def clean(name: object) -> str:
    """A name that is one folder's name: letters, digits and `._=+-`, at most 100 bytes.

    Examples:
        >>> clean("a b/../c"), clean("..")
        ('a-b-..-c', 'run')
        >>> len(clean("x" * 300))
        100
    """
    text = _FORBIDDEN.sub("-", str(name)).lstrip(".") or NOTHING_SWEPT
    if text.startswith("-"):
        text = f"_{text}"  # every command would take the folder for an option
    if len(text) > MAX_BYTES:
        digest = hashlib.sha256(str(name).encode()).hexdigest()[:8]
        text = f"{text[: MAX_BYTES - 9]}-{digest}"
    return text


def swept_keys(params: object) -> list[str]:
    """Keys that `hydra.sweeper.params` sweeps, in their order, block by block.

    Examples:
        >>> swept_keys([{"optimizer": ["sgd"], "lr": "0.1,0.01"}, {"lr": [1], "epochs": 5}])
        ['optimizer', 'lr']
    """
    blocks = params if isinstance(params, list | tuple) else [params or {}]
    keys: dict[str, None] = {}
    for block in blocks:
        if isinstance(block, Mapping):
            keys |= dict.fromkeys(
                bare_key(str(key)) for key, value in block.items() if _sweeps(value)
            )
    return list(keys)


def swept_values(
    config: DictConfig, keys: Sequence[str], *, hydra: DictConfig | None = None
) -> dict[str, object]:
    """The values that a composed configuration has for the swept keys; none for keys it lacks.

    The value of a config group is its choice, a list where several options were chosen. Values
    come from the configuration and not from the overrides, so that a run of the grid and the same
    run alone have the same name.
    """
    node = config.hydra if hydra is None else hydra
    values = {key: _swept_value(config, key, node) for key in keys}
    return {key: plain_value(value) for key, value in values.items() if value is not ABSENT}


def _swept_value(config: DictConfig, key: str, hydra: DictConfig) -> object:
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    choices = hydra.runtime.choices
    if key in choices:
        return child_node(choices, key)
    path = key.partition("@")[0]
    try:
        value = OmegaConf.select(config, path, default=ABSENT, throw_on_missing=False)
    except OmegaConfBaseException:  # it refers to nothing, which the run will say
        return node_at(config, path)
    if value is ABSENT and node_at(config, path) is not None:
        return None  # a missing value, `???`
    if value is ABSENT or isinstance(value, DictConfig):
        # Hydra lists no choice of a group of which several options, or none, were chosen.
        options = chosen_options(key, hydra)
        return value if options is None else options
    return value


def default_name(config: DictConfig, hydra: DictConfig) -> str:
    """The name of a run from its configuration alone, for a run without `-m`.

    Args:
        config: The run's configuration, with or without Hydra's node.
        hydra: Hydra's node.
    """
    keys = naming_keys(hydra)
    values = swept_values(config, keys, hydra=hydra)
    return name_of({key: values.get(key) for key in keys})


def naming_keys(hydra: DictConfig) -> list[str]:
    """Keys that `hydra.sweeper.params` sweeps, or else those on the command line."""
    from omegaconf import OmegaConf

    params = OmegaConf.select(hydra, "sweeper.params")
    if OmegaConf.is_config(params):
        params = OmegaConf.to_container(params, resolve=False)
    keys = swept_keys(params)
    if keys:
        return keys
    overrides = listed_overrides(hydra)
    keys = [bare_key(text.partition("=")[0]) for text in overrides if not text.startswith("~")]
    return [
        key
        for key in keys
        if key.partition(".")[0] not in NO_PART_OF_IDENTITY and not is_secret_key(key)
    ]


def settle_name(config: DictConfig) -> str:
    """Write the run's name into its configuration as text, cleaned; returns it.

    Called before Hydra starts a run: whatever reads `run_name` later, with or without Hydra's
    node, then reads the folder's name. The experiment's name becomes text too, as in a grid, so
    that what refers to it counts the same for the hash.
    """
    from omegaconf import open_dict, read_write

    from .._composing.global_state import current_config
    from .._composing.run_location import RunLocation, pinned_keys
    from .secrets import patterns_of, secret_nodes, veiled

    fill_in_name(config)
    patterns = patterns_of(config)
    with current_config(config), veiled(secret_nodes(config, patterns), patterns):
        location = RunLocation(clean(config.run_name), pinned_keys(config))
    with read_write(config), open_dict(config):
        for key, value in location.items():
            config[key] = value
    return location.run_name


def fill_in_name(config: DictConfig) -> None:
    """Let the default be the name where the project's own `run_name` is null or empty."""
    from omegaconf import open_dict, read_write

    if raw_value(child_node(config, "run_name")) in (None, ""):
        with read_write(config), open_dict(config):
            config.run_name = DEFAULT_TEMPLATE


def name_template(config: DictConfig) -> str | None:
    """The user's template of the name; None for the default."""
    from omegaconf import OmegaConf

    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    text = str(raw["run_name"] or DEFAULT_TEMPLATE)
    if re.search(r"hydra[:.]job\.(num|id)", text):
        raise GridError(
            f"run_name: {text} uses the job's number, which changes with what is left to run: a "
            "run would find another's folder. Use keys of the configuration, e.g. "
            "${model.name}_${seed}, or leave run_name out: it is then made of the swept keys."
        )
    return None if text == DEFAULT_TEMPLATE else text


def fill_template(config: DictConfig, overrides: Sequence[str]) -> str:
    """The name that the user's template gives a run.

    Raises:
        GridError: If it cannot be filled.
    """
    from omegaconf.errors import OmegaConfBaseException

    try:
        return clean(config.run_name)
    except OmegaConfBaseException as error:
        reason = str(error).partition("\n")[0]
        raise GridError(
            f"run_name cannot be made for the run ({' '.join(overrides)}): {reason}. "
            "A template may use keys of the run's configuration, e.g. ${model.name}_${seed}."
        ) from error


def refuse_shared_names(
    names: Sequence[str],
    values: Sequence[Mapping[str, object]],
    hashes: Sequence[str],
    *,
    indices: Sequence[int] | None = None,
    template: str | None,
    groups: Collection[str] = (),
) -> None:
    """Refuse runs that share a name: in one folder they would overwrite each other.

    Args:
        names: Name of each run.
        values: Swept values of each run.
        hashes: Hash of each run's configuration.
        indices: Number of each run; None counts from 0.
        template: The user's template of run_name, None for the default.
        groups: Keys that are config groups; a template reaches their choice through Hydra.

    Raises:
        GridError: Naming the first two such runs and the key that the name lacks.
    """
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        other = first.setdefault(name, index)
        if hashes[other] == hashes[index]:
            continue
        keys = dict.fromkeys([*values[index], *values[other]])
        differing = [key for key in keys if values[index].get(key) != values[other].get(key)]
        numbers = (other, index) if indices is None else (indices[other], indices[index])
        text = f"Runs {numbers[0]} and {numbers[1]} of the grid would both be named {name!r}. "
        shown = ", ".join(
            f"{key} ({values[other].get(key)!r} and {values[index].get(key)!r})"
            for key in differing
        )
        if template is not None and differing:
            text += (
                f"They differ in {shown}, which the template run_name: {template} does not tell "
                f"apart. {_advice(template, differing[0], groups)}"
            )
        elif differing:
            text += (
                f"They differ in {shown}, which is the same once cleaned for a folder's name. "
                "Give a template of your own, e.g. run_name: ${model.name}_${seed}."
            )
        else:
            text += (
                "Their swept keys have the same values, but their configurations differ. Give a "
                "template that names the difference, e.g. run_name: ${model.name}_${seed}."
            )
        raise GridError(text)


def _advice(template: str, key: str, groups: Collection[str]) -> str:
    """How a template tells the values of one more key apart."""
    if "/" in key and key not in groups:  # several options of a group, which nothing refers to
        return "Leave run_name out: the name is then made of the values of all swept keys."
    reference = f"${{hydra:runtime.choices.{key}}}" if key in groups else f"${{{key}}}"
    return f"Add the key, e.g. run_name: {template}_{reference}"


def _sweeps(value: object) -> bool:
    """Whether a value in `hydra.sweeper.params` is more than one fixed value."""
    if isinstance(value, list | tuple):
        return True
    if not isinstance(value, str):
        return False
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        (override,) = OverridesParser.create().parse_overrides([f"key={value}"])
    except HydraException:
        return False
    return override.is_sweep_override()


def _part(value: object) -> str:
    if isinstance(value, str):
        return value.rpartition("/")[2]
    if isinstance(value, Mapping):
        return "-".join(f"{key}={_part(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "-".join(_part(item) for item in value)
    return str(value)
