"""The override lists of sweepers that know no grids, each batch a grid.

Optuna's sweeper, Hydra's basic one and others hand override lists to a launcher and wait for what
each run returns. Each list becomes a run: none is skipped, none stands for another, and Hydra alone
composes them. With the keys of `defaults: [expkit, …]` the records lie in the experiment. Without
them they lie in `.expkit/` of the sweep's folder, and the runs write where Hydra lets them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from expkit_bookkeeping.launching import (
    NO_PART_OF_IDENTITY,
    foreign_reason,
    is_secret_key,
    public_override,
)

from .._composing.composer import Composer
from .._composing.config_files import files_read_once
from .._composing.errors import one_sentence
from .._composing.global_state import current_config
from .._composing.overrides import bare_key
from .._composing.run_location import RunLocation, pinned_keys, writable
from .._grid.contents import has_tree
from .._grid.frozen_configs import FrozenConfigs
from .._grid.grid import RECORDS
from .._grid.identity import identify
from .._grid.names import clean, fill_in_name, swept_values
from .._grid.run import GridRun, SweepJob, run_version
from .._grid.schedulers import ask_schedulers
from .._grid.secrets import patterns_of, remember_secrets_of, secret_nodes, veiled
from .description import describe_runs
from .experiment import check_experiment
from .shared_names import file_system_ignores_case, folded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

    from expkit_bookkeeping import RunRecord
    from expkit_bookkeeping.launching import Liveness

    from .._composing.composer import Composition
    from .._grid.run import RunVersion

UNFINISHED = ("failed", "interrupted", "lost")


@dataclass
class ListSweep:
    """One sweep of a sweeper that knows no grids: what its batches have in common.

    `names` are those of the runs of all batches so far.
    """

    sweep_id: str = field(default_factory=lambda: uuid4().hex[:12])
    names: set[str] = field(default_factory=set)

    def draft(
        self,
        override_lists: Sequence[Sequence[str]],
        first: int,
        *,
        config: DictConfig,
        loader: ConfigLoader,
        task: Mapping[str, object] | None = None,
        command: Sequence[str] = (),
    ) -> ListDraft:
        """Compose and name the runs of a batch.

        Args:
            override_lists: The overrides of each run.
            first: `hydra.job.num` of the first one.
            config: The sweep's base configuration.
            loader: Hydra's.
            task: Where the user's function is; None if no other process would find it.
            command: What runs the sweep again, behind `python`.

        Raises:
            GridError: If the experiment has no valid name, or if Hydra refuses a list.
        """
        with one_sentence(), current_config(config):
            remember_secrets_of(config, [text for texts in override_lists for text in texts])
            batch = _Batch(self, config, loader)
            with files_read_once(loader):
                for number, overrides in enumerate(override_lists, start=first):
                    batch.add(number, overrides)
            return batch.draft(task, command)


@dataclass(frozen=True)
class ListDraft:
    """A batch before its files are written.

    `known` and `unwritten` are as in `Grid`; `folder_key` is what moves it to another folder.
    """

    experiment: Path
    runs: Sequence[GridRun]
    frozen: FrozenConfigs
    description: Mapping[str, object]
    known: Mapping[int, frozenset[RunVersion]]
    unwritten: Mapping[int, DictConfig]
    folder_key: str


class _Batch:
    def __init__(self, sweep: ListSweep, config: DictConfig, loader: ConfigLoader) -> None:
        self._sweep = sweep
        self._config = config
        self._composer = Composer(loader, config)
        self._patterns = patterns_of(config)
        self._has_tree = has_tree(config)
        if self._has_tree:
            check_experiment(str(config.results_dir), str(config.experiment_id))
            results_dir = Path(str(config.results_dir)).absolute()
            self._experiment = results_dir / str(config.experiment_id)
        else:
            self._experiment = Path(str(config.hydra.sweep.dir)).absolute() / RECORDS
        self._pinned = pinned_keys(config) if self._has_tree else ()
        self._is_alive = ask_schedulers(self._experiment).is_alive
        self._ignores_case = file_system_ignores_case(self._experiment)
        self._frozen = FrozenConfigs(self._patterns)
        self._runs: list[GridRun] = []
        self._unwritten: dict[int, DictConfig] = {}
        self._continued: dict[int, frozenset[RunVersion]] = {}

    def add(self, number: int, overrides: Sequence[str]) -> None:
        """Compose a run, and name it."""
        index = len(self._runs)
        composition = self._composer.compose_job(number, overrides)
        config = composition.base.config
        if self._has_tree:
            fill_in_name(config)
        keys = self._keys(overrides)
        secrets = secret_nodes(config, self._patterns)
        with current_config(config), veiled(secrets, self._patterns):
            values = swept_values(config, keys)
            sweep_dir, subdir = (str(config.hydra.sweep[key]) for key in ("dir", "subdir"))
            config_hash = identify(config, swept=keys).config_hash
            folder = Path(sweep_dir, subdir).absolute()
            lies_in_tree = self._has_tree and folder.parent == self._experiment / "training"
            wanted = str(number)
            if self._has_tree:
                wanted = folder.name if lies_in_tree else clean(config.run_name)
        name, earlier = self._free_name(wanted, config_hash)
        if not lies_in_tree or subdir != str(config.run_name):
            # As text: what refers to the time has one answer for all runs of a sweep.
            with writable(config):
                config.hydra.sweep.dir = sweep_dir
                config.hydra.sweep.subdir = name if lies_in_tree else subdir
        self._freeze(index, composition, name)
        if earlier is not None:
            self._continued[index] = frozenset([run_version(earlier)])
        self._runs.append(
            GridRun(
                index=index,
                run_name=name,
                overrides=tuple(overrides),
                values=values,
                config_hash=config_hash,
                skipped_by=None,
                folder=self._experiment / "training" / name,
                job=SweepJob(self._sweep.sweep_id, number),
            )
        )

    def _freeze(self, index: int, composition: Composition, name: str) -> None:
        location = RunLocation(name, self._pinned) if self._has_tree else None
        try:
            self._frozen.add(index, composition, location)
        except TypeError:  # objects, which only a pickle holds
            config = composition.config()
            if location is not None:
                from .._composing.run_location import settle

                settle(config, location)
            self._unwritten[index] = config

    def _keys(self, overrides: Sequence[str]) -> list[str]:
        """The keys that the sweeper sets, but for those that are no part of what a run is."""
        keys: dict[str, None] = {}
        for text in overrides:
            key = bare_key(text.partition("=")[0])
            top = key.replace("/", ".").partition(".")[0]
            if text.startswith("~") or top in NO_PART_OF_IDENTITY:
                continue
            if public_override(text, self._patterns) == text and not is_secret_key(
                key, self._patterns
            ):
                keys[key] = None
        return list(keys)

    def _free_name(self, wanted: str, config_hash: str) -> tuple[str, RunRecord | None]:
        """A name that no other run has, and the unfinished run of an earlier sweep behind it."""
        for copy in itertools.count(1):
            name = wanted if copy == 1 else f"{wanted}-{copy}"
            key = folded(name) if self._ignores_case else name
            if key in self._sweep.names:
                continue
            folder = self._experiment / "training" / name
            is_free, earlier = _what_is_there(folder, config_hash, self._is_alive)
            if is_free:
                self._sweep.names.add(key)
                return name, earlier
        raise AssertionError

    def draft(self, task: Mapping[str, object] | None, command: Sequence[str]) -> ListDraft:
        """All of them."""
        counts = {"product": len(self._runs), "duplicates": 0, "skipped by rule": 0}
        description = describe_runs(
            self._config,
            self._experiment,
            list(dict.fromkeys(key for run in self._runs for key in run.values)),
            self._runs,
            {
                "counts": {**counts, "to run": len(self._runs)},
                "filters": [],
                "sweep_id": self._sweep.sweep_id,
            },
            task=task,
            command=command,
        )
        return ListDraft(
            self._experiment,
            self._runs,
            self._frozen,
            description,
            known=self._continued,
            unwritten=self._unwritten,
            folder_key="results_dir" if self._has_tree else "hydra.sweep.dir",
        )


def _what_is_there(
    folder: Path, config_hash: str, is_alive: Liveness
) -> tuple[bool, RunRecord | None]:
    """Whether a run may have a folder, and the run there that it continues."""
    from expkit_bookkeeping.reading import find_run

    record = find_run(folder, is_alive=is_alive)
    if record is None:
        return foreign_reason(folder) is None, None
    continues = (
        record.state in UNFINISHED and record.config_hash == config_hash and not record.is_newer
    )
    return continues, record if continues else None
