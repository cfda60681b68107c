"""The plan of a grid: what a sweep does, decided and warned of before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from expkit_bookkeeping.launching import literal_secrets, secret_warning

from .._composing.composer import Composer
from .._composing.config_files import files_read_once, order_warning
from .._composing.run_location import pinned_keys, typed_folders
from .._console.preview import missing_values, narrowed, warnings
from .._drafting.draft import Draft, draft_grid, read_rules
from .._drafting.expansion import Expansion, expand
from .._drafting.experiment import (
    refuse_folders,
    refuse_keys,
    refuse_swept_secrets,
    refuse_unresolved,
)
from .._drafting.shape import Naming
from .._drafting.sweep_params import sweep_params
from .._grid.names import name_template
from .._grid.secrets import patterns_of, remember_secrets_of
from .._grid.settings import grid_settings, unread_rules
from .._running.yaml_text import without_hydra

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

    from .._drafting.composed_runs import ShowProgress


@dataclass(frozen=True)
class Plan:
    """A grid as it is going to be.

    Attributes:
        expansion: Its axes.
        draft: Its runs, and what becomes of each.
        composer: What has composed them.
        declared: What the configuration would sweep without the command line.
    """

    expansion: Expansion
    draft: Draft
    composer: Composer
    declared: Callable[[], Expansion]

    def rule_warnings(self) -> Iterator[str]:
        """Rules that skip nothing, and runs that cannot be read."""
        selection = self.draft.selection
        left = narrowed(self.declared(), self.expansion) if selection.unused else {}
        yield from warnings(selection, left)

    def warnings(self) -> Iterator[str]:
        """What a sweep warns of: also settings without effect, and missing values."""
        yield from self.rule_warnings()
        yield from self.draft.without_effect
        yield from missing_values(self.draft)


def remember_secrets(config: DictConfig, expansion: Expansion) -> None:
    """Let no message show the secrets of a configuration and of the runs' overrides."""
    axes = [axis for block in expansion.blocks for axis in block]
    remember_secrets_of(config, [text for axis in axes for text in axis.overrides])


def plan_grid(
    config: DictConfig,
    loader: ConfigLoader,
    arguments: Sequence[str],
    *,
    grid_options: Collection[str] | None = None,
    warn: Callable[[str], None],
    show_progress: ShowProgress | None = None,
) -> Plan:
    """Expand, compose and name a grid, and decide about its runs.

    Args:
        config: The configuration of the sweep, with expkit's keys.
        loader: Hydra's.
        arguments: Overrides of the command line.
        grid_options: The options that the launcher reads once for the whole grid; None: all.
        warn: Is given what is to be said before the runs are composed.
        show_progress: Shows how far it is while it passes the runs on.

    Raises:
        GridError: If the grid cannot be run as asked.
        HydraException: If Hydra refuses a run.
        OmegaConfBaseException: If a setting cannot be resolved.
    """
    params = sweep_params(config)
    expansion = expand(params, arguments, loader)
    remember_secrets(config, expansion)
    order = order_warning(loader, config.hydra.job.config_name)
    if order is not None:
        warn(order)
    settings = grid_settings(config)  # refuses what is misspelt before anything is composed
    if settings.fresh:
        warn("expkit.fresh is for single runs; expkit.rerun=all starts a grid over.")
    read_rules(config)  # refuses what is no list
    misplaced = unread_rules(config)
    if misplaced is not None:
        warn(misplaced)
    refuse_folders(typed_folders(config, "sweep"))
    refuse_keys(expansion.keys)
    patterns = patterns_of(config)
    refuse_swept_secrets(expansion, patterns)
    for line in literal_secrets(without_hydra(config), patterns):
        warn(secret_warning(line))
    naming = Naming(tuple(expansion.keys), name_template(config), pinned_keys(config))
    composer = Composer(loader, config, decides_folders=True)
    with files_read_once(loader):
        draft = draft_grid(
            config,
            expansion,
            composer,
            naming,
            grid_options=grid_options,
            show_progress=show_progress,
        )
        refuse_unresolved(draft.runs, composer)
    return Plan(expansion, draft, composer, lambda: expand(params, [], loader))
