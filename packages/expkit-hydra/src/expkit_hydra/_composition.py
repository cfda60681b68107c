"""Composing a run's configuration: exactly once, by Hydra itself."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ._overrides import to_override

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

log = logging.getLogger(__name__)


class Composer:
    """Composes the configurations of a grid's runs.

    Args:
        config_loader: Hydra's.
        master: The configuration of the sweep, whose hydra overrides every run takes over.
    """

    def __init__(self, config_loader: "ConfigLoader", master: "DictConfig") -> None:
        self._config_loader = config_loader
        self._master = master

    def compose(self, index: int, overrides: Sequence[str]) -> "DictConfig":
        """Compose one run's configuration.

        Raises:
            ConfigCompositionException: Hydra's error, with the run that it is about.
        """
        from hydra.errors import CompactHydraException, ConfigCompositionException

        try:
            return self._config_loader.load_sweep_config(self._master, list(overrides))
        except CompactHydraException as error:
            # Hydra prints the message and, if it is OmegaConf's, the cause.
            raise ConfigCompositionException(
                f"Run {index} of the grid ({' '.join(overrides) or 'no overrides'}) "
                f"cannot be composed: {error}"
            ) from error.__cause__


@dataclass(frozen=True)
class Place:
    """Where a run lives, as far as it must be the same in every process."""

    run_name: str
    pinned: tuple[tuple[str, str], ...] = ()  # experiment_id and results_dir, where they may move

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides by which every launcher's job learns it."""
        return tuple(to_override(key, value) for key, value in self.items())

    def items(self) -> tuple[tuple[str, str], ...]:
        """Keys and values."""
        return (*self.pinned, ("run_name", self.run_name))


def pinned_keys(master: "DictConfig") -> tuple[tuple[str, str], ...]:
    """What a job on another machine, or after midnight, would resolve to another folder.

    An `experiment_id` that refers to something is pinned for the grid, `results_dir` only where it
    holds a time: `${oc.env:SCRATCH}` is meant to be resolved where the job runs.
    """
    pinned = []
    for key in ("results_dir", "experiment_id"):
        raw = str(master._get_node(key)._value())  # type: ignore[union-attr]
        if ("${" in raw and key == "experiment_id") or "now:" in raw:
            pinned.append((key, str(master[key])))
    return tuple(pinned)


def settle(config: "DictConfig", place: Place) -> None:
    """Change a composed configuration into what Hydra composes with the place's overrides.

    The name is known only after composing; this saves composing once more.
    """
    from omegaconf import open_dict, read_write

    with read_write(config), open_dict(config):
        for key, value in place.items():
            config[key] = value
        job = config.hydra.job
        config.hydra.overrides.task.extend(place.overrides)
        settings = job.config.override_dirname
        job.override_dirname = _override_dirname(
            [str(line) for line in config.hydra.overrides.task],
            kv_sep=settings.kv_sep,
            item_sep=settings.item_sep,
            exclude_keys=list(settings.exclude_keys),
        )


def _self_comes_first(config_loader: "ConfigLoader", config_name: str | None) -> bool:
    """Whether the primary configuration lists `_self_` before `expkit`."""
    repository = getattr(config_loader, "repository", None)
    if config_name is None or repository is None:
        return False
    loaded = repository.load_config(config_name)
    names = [getattr(entry, "path", None) for entry in (loaded.defaults_list if loaded else [])]
    if "_self_" not in names:
        return False
    others = ("expkit", "/expkit")
    position = next((place for place, name in enumerate(names) if name in others), None)
    return position is not None and names.index("_self_") < position


def warn_about_order(config_loader: "ConfigLoader", config_name: str | None) -> None:
    """Warn when the user's own keys lose against those of `expkit`."""
    if _self_comes_first(config_loader, config_name):
        log.warning(
            "In the defaults list of %s, _self_ stands before expkit, so expkit's own values win "
            "over yours (experiment_id, expkit.metric, hydra.sweeper.params, …). Move _self_ to "
            "the end: defaults: [expkit, ..., _self_].",
            config_name,
        )


def _override_dirname(
    lines: list[str], *, kv_sep: str, item_sep: str, exclude_keys: Sequence[str]
) -> str:
    """As Hydra makes `hydra.job.override_dirname` (config_loader_impl.get_overrides_dirname)."""
    kept = [line for line in lines if line.partition("=")[0].lstrip("+~") not in exclude_keys]
    return item_sep.join(sorted(kept)).replace("=", kv_sep)
