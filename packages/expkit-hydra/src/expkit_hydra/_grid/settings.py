"""The `expkit:` node of the configuration, as far as a grid needs it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from .._composing.errors import GridError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

DIRECTIONS = ("maximize", "minimize")
RERUN = ("missing", "failed", "changed", "all")
ON_CHANGE = ("keep", "continue", "rerun")
AFTER = ("sync", "plot", "report")
KEYS = (
    "metric", "direction", "rerun", "attempts", "on_change", "ignore", "secrets", "dry_run",
    "fresh", "after", "keep_last", "keep_best", "repeat",
)  # fmt: skip


@dataclass(frozen=True)
class GridSettings:
    """The user's settings under `expkit:`; expkit.yaml says what each key means."""

    metric: str | None = None
    direction: str = "maximize"
    rerun: str = "missing"
    on_change: str | None = None
    fresh: bool = False
    after: tuple[str, ...] = AFTER

    @property
    def maximize(self) -> bool:
        """Whether a larger metric is better."""
        return self.direction == "maximize"


def grid_settings(config: DictConfig) -> GridSettings:
    """Read and check the `expkit:` node; a configuration without one gets the defaults.

    Raises:
        GridError: If a key or a value is not one of those allowed.
    """
    from omegaconf import DictConfig, ListConfig, OmegaConf

    # `expkit: {metrc: loss}` in a file passes Hydra, and the run would go on without a metric.
    node = OmegaConf.select(config, "expkit")
    if "expkit" in config and not isinstance(node, DictConfig):
        raise GridError(
            f"expkit is a mapping of settings, got {node!r}. Write e.g. expkit: {{metric: loss}}."
        )
    for key in node if isinstance(node, DictConfig) else ():
        _check_key(str(key))

    def value(key: str, default: object) -> object:
        setting = OmegaConf.select(config, f"expkit.{key}", default=default)
        return default if setting is None else setting

    repeat = value("repeat", [])
    if not isinstance(repeat, list | ListConfig) or not all(isinstance(key, str) for key in repeat):
        raise GridError(
            f"expkit.repeat is a list of keys, got {repeat!r}. Write expkit.repeat: [{repeat}]."
        )
    after = value("after", [])
    verbs = list(after) if isinstance(after, list | ListConfig) else [after]
    attempts = value("attempts", 3)
    if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1:
        raise GridError(f"expkit.attempts is a whole number from 1, got {attempts!r}.")
    metric, on_change = value("metric", None), value("on_change", None)
    return GridSettings(
        metric=None if metric is None else str(metric),
        direction=_one_of("direction", value("direction", "maximize"), DIRECTIONS),
        rerun=_one_of("rerun", value("rerun", "missing"), RERUN),
        on_change=None if on_change is None else _one_of("on_change", on_change, ON_CHANGE),
        fresh=bool(value("fresh", False)),
        after=tuple(_one_of("after", verb, AFTER) for verb in verbs),
    )


def unread_rules(config: DictConfig) -> str | None:
    """A warning about rules under a misspelt key; None if there are none.

    A grid whose rules are not read runs in full, and nobody notices. A key such as `filters` may
    also be the user's own (of a convolution), so only one that holds text is mentioned.
    """
    from omegaconf import OmegaConf

    if config.get("_filters"):
        return None
    for key in get_close_matches("_filters", [str(key) for key in config], n=3, cutoff=0.8):
        value = OmegaConf.to_container(config, resolve=False)[key]  # type: ignore[call-overload,index]
        rules = value if isinstance(value, list) else [value]
        if key != "_filters" and rules and all(isinstance(rule, str) for rule in rules):
            return (
                f"No run is skipped by rule: _filters is empty, but there is {key}: {value}. "
                "Rules are read from _filters alone."
            )
    return None


def _check_key(key: str) -> None:
    if key in KEYS:
        return
    near = get_close_matches(key, KEYS, n=1)
    hint = f" Did you mean expkit.{near[0]}?" if near else ""
    raise GridError(f"expkit.{key} is not known.{hint} Allowed: {', '.join(KEYS)}.")


def _one_of(key: str, value: object, allowed: tuple[str, ...]) -> str:
    if value in allowed:
        return str(value)
    near = get_close_matches(str(value), allowed, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise GridError(f"expkit.{key}={value!r} is not known.{hint} Allowed: {', '.join(allowed)}.")
