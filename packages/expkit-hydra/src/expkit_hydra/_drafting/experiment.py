"""The one experiment to which all runs of a grid belong, and what cannot be swept in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from expkit_bookkeeping.launching import NO_PART_OF_IDENTITY, is_secret_key, public_override

from .._composing.errors import GridError
from .._grid.names import refuse_unencodable
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


class Experiment:
    """The one experiment to which all runs of a grid belong."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._identifiers: tuple[str, str] | None = None  # results_dir, experiment_id
        self._sweep_dir: str | None = None  # as it stands in the configurations

    def enter(self, run: ResolvedRun) -> Path:
        """The run's folder.

        Raises:
            GridError: If the run belongs to another experiment than the runs before it, if Hydra
                would run it elsewhere, or if no folder can have its name.
        """
        if self._identifiers is None or self.folder is None:
            self._identifiers = run.experiment
            results_dir, experiment_id = run.experiment
            check_experiment_id(experiment_id)
            self.folder = Path(results_dir).absolute() / experiment_id
            self._training = self.folder / "training"
        elif run.experiment != self._identifiers:
            pairs = sorted([self._identifiers, run.experiment])
            shown = ", ".join("/".join(pair) for pair in pairs)
            raise GridError(
                f"The runs of one grid have several experiment folders ({shown}): results_dir and "
                "experiment_id must not depend on a swept key. Put what differs into run_name."
            )
        refuse_unencodable(run.run_name)
        folder = self._training / run.run_name
        sweep_dir, subdir = run.output_dir
        if sweep_dir == self._sweep_dir and subdir == run.run_name:
            return folder
        output_dir = Path(sweep_dir, subdir)
        if output_dir.absolute() != folder:
            raise GridError(
                f"hydra.sweep.dir and hydra.sweep.subdir lead to {output_dir}, but the run "
                f"{run.run_name} belongs in {folder}. Leave both out and set results_dir and "
                "experiment_id instead."
            )
        if subdir == run.run_name:
            self._sweep_dir = sweep_dir
        return folder


def check_experiment_id(experiment_id: str) -> None:
    """Refuse what is not the name of one folder: Hydra would write elsewhere.

    Raises:
        GridError: If it is not.
    """
    # "None": what is left of `experiment_id: null` by then.
    if experiment_id.startswith(".") or experiment_id in ("", "None") or "/" in experiment_id:
        raise GridError(
            f"experiment_id is the name of one folder in results_dir, got {experiment_id!r}. "
            "Use letters, digits and ._-, and no dot at the start."
        )
