"""The one experiment to which all runs of a grid belong, and what cannot be swept in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from expkit_bookkeeping.launching import NO_PART_OF_IDENTITY, is_secret_key, public_override

from .._composing.composer import Composer
from .._composing.errors import GridError, refuse_unresolvable
from .._composing.global_state import current_config
from .._grid.names import refuse_unencodable
from .._grid.run import GridRun
from .expansion import Expansion
from .shape import ResolvedRun


def refuse_keys(keys: Sequence[str]) -> None:
    """Refuse to sweep keys that are no part of what a run is.

    Raises:
        GridError: Naming the key.
    """
    for key in keys:
        if key.partition(".")[0] in NO_PART_OF_IDENTITY - {"plotting"}:
            raise GridError(
                f"{key} cannot be swept: it is no part of what a run is, so its values would make "
                "no different runs. Start one grid for each value instead."
            )


def refuse_folders(overrides: Sequence[str]) -> None:
    """Refuse folders for a grid's runs on the command line: a grid has its own.

    Raises:
        GridError: Naming the overrides.
    """
    if overrides:
        raise GridError(
            f"{' and '.join(overrides)}: the runs of a grid belong in "
            "results_dir/experiment_id/training/run_name, where the same command finds them again. "
            "Leave this out; results_dir=… and experiment_id=… say where the experiment is."
        )


def refuse_swept_secrets(expansion: Expansion, patterns: Sequence[str]) -> None:
    """Refuse to sweep secrets: values of swept keys name runs, and stand in all tables.

    Raises:
        GridError: Naming the key.
    """
    for axis in (axis for block in expansion.blocks for axis in block if axis.swept):
        hides = any(public_override(text, patterns) != text for text in axis.overrides)
        if hides or is_secret_key(axis.key, patterns):
            raise GridError(
                f"{axis.key} cannot be swept: its values hold secrets, and the values of swept "
                "keys name the runs and stand in every table. Sweep another key, such as the "
                "server's name, and let ${oc.env:…} give what is secret. If it is no secret, "
                "change expkit.secrets."
            )


def refuse_unresolved(runs: Iterable[GridRun], composer: Composer) -> None:
    """Refuse swept values that are references to nothing: they would be part of names.

    Raises:
        GridError: Naming the key and the run.
    """
    for run in runs:
        for key, value in run.values.items():
            if not (isinstance(value, str) and "${" in value):
                continue
            config = composer.compose(run.index, run.overrides)
            with current_config(config):
                try:
                    # What is missing, the program may fill in.
                    refuse_unresolvable(config, (key.partition("@")[0],), or_missing=False)
                except GridError as error:
                    raise GridError(f"{error} ({' '.join(run.overrides)})") from None


class Experiment:
    """The one experiment to which all runs of a grid belong."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._identifiers: tuple[str, str] | None = None  # results_dir, experiment_id

    def enter(self, run: ResolvedRun) -> Path:
        """The run's folder.

        Raises:
            GridError: If the run belongs to another experiment than the runs before it, or if no
                folder can have its name.
        """
        if self._identifiers is None or self.folder is None:
            self._identifiers = run.experiment
            results_dir, experiment_id = run.experiment
            check_experiment(results_dir, experiment_id)
            self.folder = Path(results_dir).absolute() / experiment_id
            self._training = self.folder / "training"
        elif run.experiment != self._identifiers:
            pairs = sorted([self._identifiers, run.experiment])
            shown = ", ".join("/".join(pair) for pair in pairs)
            raise GridError(
                f"The runs of one grid have several experiment folders ({shown}): results_dir and "
                "experiment_id, by default hydra.job.name, must not depend on a swept key. Write "
                "experiment_id: NAME, the same for all runs, and put what differs into run_name."
            )
        refuse_unencodable(run.run_name)
        return self._training / run.run_name


def check_experiment(results_dir: str, experiment_id: str) -> None:
    """Refuse what is no place for an experiment: its runs would be written elsewhere.

    Args:
        results_dir: The folder of all experiments, as text.
        experiment_id: The name of the experiment's folder, as text.

    Raises:
        GridError: If one of them is null or empty, or if the name is not that of one folder.
    """
    # "None": what is left of a null by then.
    if results_dir in ("", "None"):
        raise GridError(
            f"results_dir is the folder of all experiments, got {results_dir!r}. Write e.g. "
            "results_dir: results, or leave the key out."
        )
    if experiment_id.startswith(".") or experiment_id in ("", "None") or "/" in experiment_id:
        raise GridError(
            f"experiment_id is the name of one folder in results_dir, got {experiment_id!r}. "
            "Use letters, digits and ._-, and no dot at the start."
        )
