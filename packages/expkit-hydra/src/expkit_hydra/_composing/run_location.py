"""Where a run's folder is, and its overrides, written into its configuration as Hydra does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .internals import child_node, computes_override_dirname, content_of, raw_value
from .overrides import bare_key, to_override

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

# What conf/expkit.yaml has, by Hydra's node and key.
FOLDERS = {
    "run": {"dir": "${results_dir}/${experiment_id}/training/${run_name}"},
    "sweep": {"dir": "${results_dir}/${experiment_id}/training", "subdir": "${run_name}"},
}


@contextmanager
def writable(config: DictConfig) -> Iterator[None]:
    """Let a configuration and Hydra's node in it be changed for the length of a block.

    Hydra makes its node read-only for a job and, since 1.4, for a sweep.
    """
    from omegaconf import open_dict, read_write

    with read_write(config), open_dict(config), read_write(config.hydra):
        yield


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


def listed_overrides(hydra: DictConfig, of: str = "task") -> tuple[str, ...]:
    """Overrides as Hydra's node lists them; `a=${b}` is not resolved.

    Args:
        hydra: Hydra's node.
        of: `task` for the user's own keys, `hydra` for those of this node.
    """
    nodes = content_of(hydra.overrides[of])
    return tuple([str(raw_value(node)) for node in nodes])


@dataclass(frozen=True)
class RunLocation:
    """Where a run's folder is, as far as every process must agree on it."""

    run_name: str
    pinned: tuple[tuple[str, str], ...] = ()  # experiment_id and results_dir, if they may move

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides that tell a run where its folder is, under a foreign launcher."""
        return tuple(to_override(key, value) for key, value in self.items())

    def items(self) -> tuple[tuple[str, str], ...]:
        """Keys and values."""
        return (("run_name", self.run_name), *self.pinned)


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
    """Write where a run's folder is into its composed configuration.

    The name is known only after composing. It is none of the overrides that Hydra lists: those
    are the user's, and other tools make names of them.

    Args:
        config: The configuration, which is changed.
        location: Where the run's folder is.
        overrides: The run's overrides, if Hydra has not listed them yet.
    """
    with writable(config):
        for key, value in location.items():
            config[key] = value
        if overrides is not None:
            list_overrides(config, overrides)


def without_location(config: DictConfig) -> None:
    """Take what a foreign launcher was told of a run's location from what Hydra lists."""
    overrides = listed_overrides(config.hydra)
    starts = [i for i, text in enumerate(overrides) if text.startswith("run_name=")]
    own = set(folder_overrides("sweep"))
    with writable(config):
        if starts:  # the last one, which follows the user's own overrides
            list_overrides(config, overrides[: starts[-1]])
        others = [text for text in listed_overrides(config.hydra, "hydra") if text not in own]
        config.hydra.overrides.hydra = others


def other_folders(config: DictConfig, node: str) -> dict[str, str]:
    """What a configuration has in place of expkit's folders, by key, as it is written.

    Args:
        config: A configuration with Hydra's node.
        node: Hydra's name for what the folders are of: `run` or `sweep`.
    """
    keys = {key: str(raw_value(child_node(config.hydra[node], key))) for key in FOLDERS[node]}
    return {f"hydra.{node}.{key}": text for key, text in keys.items() if text != FOLDERS[node][key]}


def typed_folders(config: DictConfig, node: str) -> list[str]:
    """The overrides of the command line that say where Hydra's folders are."""
    keys = {f"hydra.{node}", *(f"hydra.{node}.{key}" for key in FOLDERS[node])}
    texts = listed_overrides(config.hydra, "hydra")
    return [text for text in texts if bare_key(text.partition("=")[0]) in keys]


def take_folders(config: DictConfig, node: str) -> None:
    """Let Hydra's folders be expkit's, whatever the project's own files say."""
    with writable(config):
        config.hydra[node].update(FOLDERS[node])


def keep_working_directory(config: DictConfig) -> None:
    """Let a single run stay in the working directory, if the project's own folder was that one.

    Hydra changes into the run's folder if `hydra.job.chdir` is true, or by default before its
    version base 1.2; a project with `hydra.run.dir: .` relies on staying where it was started.
    """
    from omegaconf.errors import OmegaConfBaseException

    try:
        stays = Path(str(config.hydra.run.dir)).samefile(Path())
    except (OmegaConfBaseException, OSError):  # it is not there, or cannot be resolved
        return
    if stays:
        with writable(config):
            config.hydra.job.chdir = False


def folder_overrides(node: str) -> list[str]:
    """The overrides that do the same in what others compose."""
    return [to_override(f"hydra.{node}.{key}", text) for key, text in FOLDERS[node].items()]


def settle_job(config: DictConfig, number: int) -> None:
    """Number a run as Hydra numbers the jobs of a sweep."""
    with writable(config):
        config.hydra.job.id, config.hydra.job.num = str(number), number


def _override_dirname(
    lines: Sequence[str], *, kv_sep: str, item_sep: str, exclude_keys: Sequence[str]
) -> str:
    """As Hydra 1.3 makes `hydra.job.override_dirname` (get_overrides_dirname)."""
    # `+group@package=choice` counts under the name of its group.
    keys = [line.partition("=")[0].lstrip("+~").partition("@")[0] for line in lines]
    kept = [line for key, line in zip(keys, lines, strict=True) if key not in exclude_keys]
    return item_sep.join(sorted(kept)).replace("=", kv_sep)
