"""Names of runs: made of the swept keys' values, or of the user's template."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from expkit_bookkeeping.launching import (
    NO_PART_OF_IDENTITY,
    is_secret_key,
    why_unencodable,
)

from .._composing.errors import GridError
from .._composing.internals import child_node, raw_value
from .._composing.nodes import node_at
from .._composing.override_reader import chosen_options
from .._composing.overrides import bare_key
from .._composing.plain_data import plain_value, plain_written
from .._composing.run_location import listed_overrides, writable
from .._composing.volatile import is_volatile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

MAX_BYTES = 100  # of 255 in a file name: leaves room for what is derived from a run's name
NOTHING_SWEPT = "run"
DEFAULT_TEMPLATE = "${expkit.name:}"
ABSENT = object()  # in place of a value that a configuration does not have
_FORBIDDEN = re.compile(r"[^A-Za-z0-9._=+-]+")
_DIGITS = 8  # of a hash, at the end of a name
# Letters and marks that Unicode wants shown as nothing (Default_Ignorable_Code_Point): two names
# that differ in one of them would look the same.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def clean(name: object) -> str:
    """A name that is one folder's name: letters, digits and `._=+-`, at most 100 bytes.

    Letters and digits are Unicode's, in its normal form NFC. Each stretch of anything else becomes
    a hyphen. What exceeds the limit is replaced by digits of a hash.

    Examples:
        >>> clean("a b/../c"), clean(".."), clean("naïve 中文")
        ('a-b-..-c', 'run', 'naïve-中文')
        >>> len(clean("x" * 300))
        100
    """
    text = unicodedata.normalize("NFC", str(name))
    kept = _FORBIDDEN.sub("-", text) if text.isascii() else _letters_of(text)
    return _within_limit(kept, text)


def _letters_of(text: str) -> str:
    """Text beyond ASCII, each stretch of what no name keeps as a hyphen."""
    kept: list[str] = []
    follows_letter = False  # a combining mark belongs to a letter or digit
    for character in text:
        kind = unicodedata.category(character)[0]
        is_letter = (kind in "LN" or (kind == "M" and follows_letter)) and not (
            _INVISIBLE.match(character)
        )
        follows_letter = is_letter
        kept.append(character if is_letter or character in "._=+-" else " ")
    return re.sub(" +", "-", "".join(kept))


def _within_limit(kept: str, text: str) -> str:
    name = kept.lstrip(".") or NOTHING_SWEPT
    if name.startswith("-"):
        name = f"_{name}"  # every command would take the folder for an option
    if len(name.encode()) <= MAX_BYTES:
        return name
    return _with_suffix(name, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())


def _with_suffix(name: str, digest: str) -> str:
    return f"{stem_of(name)}-{digest[:_DIGITS]}"


def stem_of(name: str) -> str:
    """What a name keeps when it gets a suffix."""
    return name.encode()[: MAX_BYTES - _DIGITS - 1].decode(errors="ignore")


def stem_of_suffixed(name: str) -> str | None:
    """What a name has before its suffix; None if it has none.

    Examples:
        >>> stem_of_suffixed("a-b-0123abcd"), stem_of_suffixed("a-b")
        ('a-b', None)
    """
    match = re.fullmatch(rf"(.+)-[0-9a-f]{{{_DIGITS}}}", name)
    return match and match[1]


@dataclass(frozen=True, slots=True)
class RunName:
    """The names that a run can have.

    Attributes:
        text: What names it, before cleaning.
        source: What sets it apart: its swept values, or the text that a template gives.
    """

    text: str
    source: object

    @property
    def plain(self) -> str:
        """Its name, as long as no other run has it."""
        return clean(self.text)

    @property
    def suffixed(self) -> str:
        """Its name among runs that cleaning would give the same one."""
        text = json.dumps(self.source, default=str)
        return _with_suffix(self.plain, hashlib.sha256(text.encode()).hexdigest())

    @property
    def of_version_0_1(self) -> str:
        """Its name before letters beyond ASCII were kept."""
        return _within_limit(_FORBIDDEN.sub("-", self.text), self.text)


def name_of(values: Mapping[str, object]) -> RunName:
    """The name made of the swept keys' values, in their order.

    Examples:
        >>> name_of({"model": "resnet/18", "lr": 0.001, "dropout": None, "layers": [64, 32]}).plain
        '18_0.001_None_64-32'
    """
    text = "_".join([_part(value) for value in values.values()])
    return RunName(text or NOTHING_SWEPT, list(values.values()))


def name_from(text: object) -> RunName:
    """The name that a template gives."""
    return RunName(str(text), str(text))


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
    node = node_at(config, path)
    if value is ABSENT and node is not None:
        return None  # a missing value, `???`
    if value is None and node is not None and is_volatile([node]):
        return plain_written(node)  # Hydra cannot say it before the run has a name
    if value is ABSENT or isinstance(value, DictConfig):
        # Hydra lists no choice of a group of which several options, or none, were chosen.
        options = chosen_options(key, hydra)
        return value if options is None else options
    return value


def default_name(config: DictConfig, hydra: DictConfig) -> RunName:
    """The name of a run from its configuration alone, for a run without `-m`.

    Args:
        config: The run's configuration, with or without Hydra's node.
        hydra: Hydra's node.
    """
    keys = naming_keys(hydra)
    values = swept_values(config, keys, hydra=hydra)
    return name_of({key: values.get(key) for key in keys})


def refuse_unencodable(run_name: str) -> None:
    """Refuse a name that no folder can have under this locale.

    Raises:
        GridError: Saying what to set.
    """
    if not run_name.isascii():
        reason = why_unencodable(run_name)
        if reason is not None:
            raise GridError(reason)


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

    The name has a suffix if the experiment has a folder of that name: a grid told it apart.

    Called before Hydra starts a run: whatever reads `run_name` later, with or without Hydra's
    node, then reads the folder's name. The experiment's name becomes text too, as in a grid, so
    that what refers to it counts the same for the hash.
    """
    from .._composing.global_state import current_config
    from .._composing.run_location import RunLocation, pinned_keys
    from .secrets import patterns_of, secret_nodes, veiled

    fill_in_name(config)
    patterns = patterns_of(config)
    with current_config(config), veiled(secret_nodes(config, patterns), patterns):
        is_default = raw_value(child_node(config, "run_name")) == DEFAULT_TEMPLATE
        name = default_name(config, config.hydra) if is_default else name_from(config.run_name)
        refuse_unencodable(name.plain)
        training = Path(str(config.results_dir), str(config.experiment_id), "training")
        has_suffix = (training / name.suffixed).is_dir()
        location = RunLocation(name.suffixed if has_suffix else name.plain, pinned_keys(config))
    with writable(config):
        for key, value in location.items():
            config[key] = value
    return location.run_name


def fill_in_name(config: DictConfig) -> None:
    """Let the default be the name where the project's own `run_name` is null or empty."""
    if raw_value(child_node(config, "run_name")) in (None, ""):
        with writable(config):
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


def fill_template(config: DictConfig, overrides: Sequence[str]) -> RunName:
    """The name that the user's template gives a run.

    Raises:
        GridError: If it cannot be filled.
    """
    from omegaconf.errors import OmegaConfBaseException

    try:
        return name_from(config.run_name)
    except OmegaConfBaseException as error:
        reason = str(error).partition("\n")[0]
        raise GridError(
            f"run_name cannot be made for the run ({' '.join(overrides)}): {reason}. "
            "A template may use keys of the run's configuration, e.g. ${model.name}_${seed}."
        ) from error


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
