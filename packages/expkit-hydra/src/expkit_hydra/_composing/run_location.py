"""Where a run's folder is, and its overrides, written into its configuration as Hydra does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .internals import child_node, computes_override_dirname, content_of, raw_value
from .overrides import to_override

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig


def list_overrides(config: DictConfig, overrides: Sequence[str]) -> None:
    """Write a run's overrides where Hydra lists them."""
    task = config.hydra.overrides.task
    task.clear()
    task.extend(overrides)
    if computes_override_dirname():
        return
    job = config.hydra.job
    settings = job.config.override_dirname
    job.override_dirname = _override_dirname(
        overrides,
        kv_sep=settings.kv_sep,
        item_sep=settings.item_sep,
        exclude_keys=list(settings.exclude_keys),
    )


def listed_overrides(hydra: DictConfig) -> tuple[str, ...]:
    """A run's overrides as Hydra's node lists them; `a=${b}` is not resolved."""
    nodes = content_of(hydra.overrides.task)
    return tuple([str(raw_value(node)) for node in nodes])


@dataclass(frozen=True)
class RunLocation:
    """Where a run's folder is, as far as every process must agree on it."""

    run_name: str
    pinned: tuple[tuple[str, str], ...] = ()  # experiment_id and results_dir, if they may move

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides that tell a run where its folder is, under any launcher."""
        return tuple(to_override(key, value) for key, value in self.items())

    def items(self) -> tuple[tuple[str, str], ...]:
        """Keys and values."""
        return (*self.pinned, ("run_name", self.run_name))


def pinned_keys(master: DictConfig) -> tuple[tuple[str, str], ...]:
    """What a run would resolve to another folder on another machine, or after midnight.

    An `experiment_id` that refers to something is pinned for the grid, `results_dir` only if it
    holds a time: `${oc.env:SCRATCH}` is meant to be resolved where the run executes.
    """
    pinned = []
    for key in ("results_dir", "experiment_id"):
        raw = str(raw_value(child_node(master, key)))
        if ("${" in raw and key == "experiment_id") or "now:" in raw:
            pinned.append((key, str(master[key])))
    return tuple(pinned)


def settle(
    config: DictConfig, location: RunLocation, overrides: Sequence[str] | None = None
) -> None:
    """Change a composed configuration into what Hydra composes with the location's overrides.

    The name is known only after composing; this saves composing once more.

    Args:
        config: The configuration, which is changed.
        location: Where the run's folder is.
        overrides: The run's overrides, if Hydra has not listed them yet.
    """
    from omegaconf import open_dict, read_write

    with read_write(config), open_dict(config):
        for key, value in location.items():
            config[key] = value
        listed = listed_overrides(config.hydra) if overrides is None else overrides
        list_overrides(config, [*listed, *location.overrides])


def _override_dirname(
    lines: Sequence[str], *, kv_sep: str, item_sep: str, exclude_keys: Sequence[str]
) -> str:
    """As Hydra 1.3 makes `hydra.job.override_dirname` (get_overrides_dirname)."""
    # `+group@package=choice` counts under the name of its group.
    keys = [line.partition("=")[0].lstrip("+~").partition("@")[0] for line in lines]
    kept = [line for key, line in zip(keys, lines, strict=True) if key not in exclude_keys]
    return item_sep.join(sorted(kept)).replace("=", kv_sep)
