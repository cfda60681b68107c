"""The runs of a grid before it is decided what becomes of them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._composition import Composer, Place, settle
from ._errors import GridError
from ._expansion import Expansion
from ._frozen import FrozenConfigs
from ._hydra_state import current_config
from ._identity import NO_PART_OF_IDENTITY, Identity, identify
from ._names import clean, name_of, swept_values
from ._progress import progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig

DEFAULT_TEMPLATE = "${expkit.name:}"


@dataclass(frozen=True)
class Member:
    """A run of the grid, composed."""

    position: int  # in the product
    overrides: tuple[str, ...]
    identity: Identity
    values: Mapping[str, object]
    run_name: str
    experiment: tuple[str, str]  # results_dir, experiment_id
    output_dir: Path  # where Hydra would run it


def refuse_keys(keys: Sequence[str]) -> None:
    """Refuse to sweep what is no part of a run.

    Raises:
        GridError: Naming the key.
    """
    for key in keys:
        if key.partition(".")[0] in NO_PART_OF_IDENTITY - {"plotting"}:
            raise GridError(
                f"{key} cannot be swept: it is no part of what a run is, so its values would make "
                "no different runs. Start one grid for each value instead."
            )


def compose_members(
    expansion: Expansion,
    composer: Composer,
    config: "DictConfig",
    *,
    pinned: tuple[tuple[str, str], ...],
    frozen: FrozenConfigs,
) -> Iterator[Member]:
    """Compose, name, freeze and identify the runs, one after another.

    Args:
        expansion: Their overrides.
        composer: Composes a run.
        config: The configuration of the sweep.
        pinned: Keys that are the same for all runs.
        frozen: Takes the configurations, by position in the product.
    """
    keys = expansion.keys
    template = name_template(config)
    for position, overrides in progress(list(enumerate(expansion))):
        composed = composer.compose(position, overrides)
        with current_config(composed):
            values = swept_values(composed, keys)
            name = name_of(values) if template is None else _fill_template(composed, overrides)
            experiment = (str(composed.results_dir), str(composed.experiment_id))
        settle(composed, Place(name, pinned))
        # Frozen at once: a composed configuration takes a hundred times the room.
        frozen.add(position, composed)
        identity = identify(composed, swept=keys)
        with current_config(composed):
            output_dir = Path(str(composed.hydra.sweep.dir), str(composed.hydra.sweep.subdir))
        yield Member(position, overrides, identity, values, name, experiment, output_dir)


def name_template(config: "DictConfig") -> str | None:
    """The user's template of the name, None for the default."""
    from omegaconf import OmegaConf

    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    text = str(raw["run_name"])
    if re.search(r"hydra[:.]job\.(num|id)", text):
        raise GridError(
            f"run_name: {text} uses the job's number, which changes with what is left to run: a "
            "run would find another's folder. Use keys of the configuration, e.g. "
            "${model.name}_${seed}, or leave run_name out: it is then made of the swept keys."
        )
    return None if text == DEFAULT_TEMPLATE else text


def _fill_template(config: "DictConfig", overrides: Sequence[str]) -> str:
    from omegaconf.errors import OmegaConfBaseException

    try:
        return clean(config.run_name)
    except OmegaConfBaseException as error:
        reason = str(error).partition("\n")[0]
        raise GridError(
            f"run_name cannot be made for the run ({' '.join(overrides)}): {reason}. "
            "A template may use keys of the run's configuration, e.g. ${model.name}_${seed}."
        ) from error


def collapse(members: Iterable[Member]) -> list[Member]:
    """The first run of each configuration."""
    first: dict[str, Member] = {}
    for member in members:
        first.setdefault(member.identity.config_hash, member)
    return list(first.values())


def count_blocks(expansion: Expansion, members: Sequence[Member]) -> list[dict[str, int]]:
    """Size of each block of a union, and how many of its runs stand before them already."""
    counts = []
    start = 0
    for size in expansion.sizes:
        kept = sum(1 for member in members if start <= member.position < start + size)
        counts.append({"product": size, "duplicates": size - kept})
        start += size
    return counts


def check_experiment_id(experiment_id: str) -> None:
    """Refuse what is not the name of one folder: Hydra would write elsewhere.

    Raises:
        GridError: If it is none.
    """
    # None: `experiment_id: null`, as text by then.
    if experiment_id.startswith(".") or experiment_id in ("", "None") or "/" in experiment_id:
        raise GridError(
            f"experiment_id is the name of one folder in results_dir, got {experiment_id!r}. "
            "Use letters, digits and ._-, and no dot at the start."
        )


def experiment_folder(members: Sequence[Member]) -> Path:
    """The folder of the experiment, one for the whole grid.

    Raises:
        GridError: If there are several, or if Hydra would run elsewhere.
    """
    folders = {member.experiment for member in members}
    if len(folders) != 1:
        shown = ", ".join("/".join(folder) for folder in sorted(folders)[:3])
        raise GridError(
            f"The runs of one grid have several experiment folders ({shown}): results_dir and "
            "experiment_id must not depend on a swept key. Put what differs into run_name."
        )
    ((results_dir, experiment_id),) = folders
    check_experiment_id(experiment_id)
    experiment = Path(results_dir).absolute() / experiment_id
    for member in members:
        folder = experiment / "training" / member.run_name
        if member.output_dir.absolute() != folder:
            raise GridError(
                f"hydra.sweep.dir and hydra.sweep.subdir lead to {member.output_dir}, but the run "
                f"{member.run_name} belongs into {folder}. Leave both out and set results_dir and "
                "experiment_id instead."
            )
    return experiment
