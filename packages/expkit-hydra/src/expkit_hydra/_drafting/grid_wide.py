"""Settings that hold for a whole grid, where a run's own choices set them to something else.

A grid has one sweeper, one launcher, one set of callbacks and one list of rules. They are read
from the sweep's configuration, before any choice is swept: what a swept file sets there has no
effect. Resources that a launcher reads from each run's own node are no such settings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from expkit_bookkeeping.launching import without_known_secrets

from .._composing.composer import Composer, Composition
from .._composing.errors import GridError
from .._composing.nodes import node_at
from .._composing.overrides import bare_key
from .._composing.plain_data import plain_written

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

# Without these a run would train elsewhere than asked, or something else, or not be left out.
_REFUSED = (
    "hydra/launcher", "hydra/sweeper", "hydra.sweeper.params", "_filters", "expkit.rerun",
    "expkit.attempts", "expkit.on_change", "expkit.dry_run", "expkit.secrets",
)  # fmt: skip
_WARNED = (
    "hydra.sweeper.max_batch_size", "hydra.callbacks", "expkit.metric", "expkit.direction",
    "expkit.ignore", "expkit.repeat", "expkit.after",
)  # fmt: skip
_OWN = ("expkit", "_filters")  # where a run's values may be ours
_PLUGINS = ("hydra/launcher", "hydra/sweeper")  # by their classes


class GridWideSettings:
    """The settings of a grid, with which those of its runs are compared: once for each base.

    Args:
        config: The configuration of the sweep.
        composer: Composes runs, to tell which of a run's choices it was.
        grid_options: The options that the launcher reads once for the whole grid; None: all.
    """

    def __init__(
        self, config: DictConfig, composer: Composer, grid_options: Collection[str] | None
    ) -> None:
        self._config = config
        self._composer = composer
        self._grid_options = grid_options
        self._settings = dict(self._read(config))
        self._seen: set[object] = set()  # the overrides of bases, and patches
        self.warnings: dict[str, None] = {}

    def check(self, composition: Composition) -> None:
        """Compare the settings in a run's configuration with the grid's.

        Raises:
            GridError: If the run would train elsewhere or something else than its choices ask for.
        """
        base = composition.base
        own = [patch for patch in composition.patches if patch.path[0] in _OWN]
        wanted: dict[str, object] = {}
        if base.overrides not in self._seen:
            self._seen.add(base.overrides)
            wanted = dict(self._read(base.config))
        elif own:  # mostly of the command line, and the same for all runs
            own = [patch for patch in own if patch not in self._seen]
        self._seen.update(own)
        wanted |= {".".join(patch.path): patch.plain for patch in own}
        for key, value in wanted.items():
            if key not in self._keys() or value == self._settings.get(key):
                continue
            text = self._sentence(key, value, composition)
            if key in _REFUSED:
                raise GridError(text)
            self.warnings[text] = None

    def _keys(self) -> Collection[str]:
        return self._settings.keys() | {*_REFUSED, *_WARNED}

    def _read(self, config: DictConfig) -> Iterator[tuple[str, object]]:
        """By key, the settings as they are written."""
        for key in (*_REFUSED, *_WARNED):
            if key in _PLUGINS:
                node = node_at(config, f"{key.replace('/', '.')}._target_")
            else:
                node = node_at(config, key)
            yield key, None if node is None else plain_written(node)
        launcher = plain_written(node_at(config, "hydra.launcher"))
        for option, value in launcher.items() if isinstance(launcher, Mapping) else ():
            if option != "_target_" and (
                self._grid_options is None or option in self._grid_options
            ):
                yield f"hydra.launcher.{option}", value

    def _sentence(self, key: str, value: object, composition: Composition) -> str:
        base = composition.base
        choice = self._choice(key, value, base.overrides) or " ".join(composition.task_overrides)
        used = self._settings.get(key)
        if key in _PLUGINS:
            used, value = _chosen(self._config, key), _chosen(base.config, key)
        elif used in (None, [], {}):
            used = "unset"
        elsewhere = f"give {key} on the command line, where it holds for all runs"
        if key == "hydra.sweeper.params":
            elsewhere = "sweep these keys on the command line"
        return without_known_secrets(
            f"{choice} sets {key} to {value}, but a grid reads that once, before it sweeps "
            f"{bare_key(choice.partition('=')[0])}: it stays {used}. Start a grid with {choice} "
            f"alone, or {elsewhere}."
        )

    def _choice(self, key: str, value: object, overrides: tuple[str, ...]) -> str | None:
        """The one override that sets a key so; None if none does alone."""
        for text in overrides:
            try:
                config = self._composer.base([text]).config
            except Exception:  # what Hydra composes only together with the others
                continue
            if dict(self._read(config)).get(key) == value:
                return text
        return None


def _chosen(config: DictConfig, group: str) -> object:
    """The option of one of Hydra's groups."""
    return plain_written(config.hydra.runtime.choices).get(group)  # type: ignore[attr-defined]
