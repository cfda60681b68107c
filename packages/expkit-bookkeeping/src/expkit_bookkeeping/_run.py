"""`Run`: a run as its folder tells it, a thin face over what reads and adds."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from os import PathLike
from pathlib import Path

from ._results.outcomes import number
from ._runs.records import Liveness, RunRecord, find_run, is_alive
from ._runs.settings import RunSettings, folder_name, read_config, settings_of_run
from ._stored_files import StoredFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pandas as pd
    from omegaconf import DictConfig

    from ._results.curves import Curve


class Run(StoredFiles):
    """A run, read from its folder and never changed, for notebooks, evaluation and second stages.

    State, attempt and best are read when the object is made, and the rest when it is asked for. An
    object does not follow a run that goes on; make another one.

    Args:
        folder: The run folder; or a record, as `find_runs` gives it; or, with `name`, the folder
            of an experiment.
        name: Name of the run in the experiment.
        is_alive: Says whether the owner of a running run is alive.
        clock: Seconds since the epoch.

    Attributes:
        folder: The run folder.
        record: What run.json says.

    Raises:
        FileNotFoundError: If there is no such run; names one that is called nearly so.
        ValueError: If the name could lead out of the experiment.
    """

    def __init__(
        self,
        folder: str | PathLike[str] | RunRecord,
        name: str | None = None,
        *,
        is_alive: Liveness = is_alive,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(folder, RunRecord):
            path = folder.folder.absolute()
            record: RunRecord | None = replace(folder, folder=path)
        else:
            path = Path(folder).absolute()  # as a notebook may change the working directory
            if name is not None:
                path = path / "training" / folder_name(name, "name")
            record = find_run(path, is_alive=is_alive)
        if record is None:
            raise _missing_run(path)
        self.folder = path
        self.record = record
        self._is_alive = is_alive
        self._clock = clock

    def __repr__(self) -> str:
        best = self.best
        text = "" if best is None else f", best {best.get('metric')} {best.get('value')!r}"
        return f"<Run {self.name!r}: {self.state}{text}, {str(self.folder)!r}>"

    def _repr_html_(self) -> str:
        from ._finished.display import run_html

        record = self.record
        best = dict(self.best or {})
        rows: list[tuple[str, object]] = [
            ("swept", record.swept),
            ("best", {best["metric"]: best.get("value")} if "metric" in best else None),
            ("at step", best.get("step")),
            ("last metrics", record.metrics),
            ("results", list(self.results)),
            ("attempt", record.attempt),
            ("seconds", record.elapsed_s),
            ("started", record.started_at),
            ("ended", record.ended_at),
            ("error", (record.error or {}).get("message") or record.reason),
            ("path", str(self.folder)),
        ]
        return run_html(self.name, self.state, rows)

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder

    @property
    def name(self) -> str:
        """The run's name."""
        return self.record.run_name

    @property
    def state(self) -> str:
        """completed, failed, interrupted or running; or lost, or unknown (see `record.reason`)."""
        return self.record.state

    @property
    def attempt(self) -> int:
        """How often the run has been started."""
        return self.record.attempt

    @property
    def elapsed_s(self) -> float:
        """Seconds spent in the run, over all attempts."""
        return self.record.elapsed_s

    @property
    def swept(self) -> dict[str, object]:
        """The keys that vary between the runs of the experiment, with this run's values."""
        return dict(self.record.swept)

    @property
    def best(self) -> dict[str, object] | None:
        """Best value of `expkit.metric`: metric, direction, value, step. None if there is none."""
        best = self.record.best
        return None if best is None else {**best, "value": number(best.get("value"))}

    @cached_property
    def config(self) -> dict[str, object]:
        """The run's configuration as plain data, resolved; {} if it was given none.

        Secrets are not in it: config.yaml shows references to them, or `***`.

        Raises:
            ValueError: If config.yaml is damaged.
        """
        try:
            return read_config(self.folder)
        except FileNotFoundError:
            return {}

    def dict_config(self) -> DictConfig:
        """`config` as a DictConfig of OmegaConf, with the same values: no reference is followed.

        Raises:
            ImportError: If OmegaConf is missing.
            ValueError: If config.yaml is damaged.
        """
        from ._optional import omegaconf

        config: dict[str, object] = {key: _literal(value) for key, value in self.config.items()}
        return omegaconf.OmegaConf.create(config)

    @property
    def curves(self) -> dict[str, Curve]:
        """By metric the steps and values that were logged; needs no pandas."""
        from ._results.curves import read_curves

        return read_curves(self.folder)

    @property
    def metrics(self) -> pd.DataFrame:
        """What was logged: one row per step, one column per metric, NaN where none was logged.

        Raises:
            ImportError: If pandas is missing.
        """
        from ._results.frames import run_metrics_frame

        return run_metrics_frame(self.folder)

    @property
    def results(self) -> Mapping[str, object]:
        """What `save_results` and `add_results` have written, by name; each is read when asked."""
        from ._results.values import SavedResults

        return SavedResults(self.folder)

    @property
    def additions(self) -> list[dict[str, object]]:
        """Who has added which results, and when, oldest first; see docs/formats.md."""
        from ._finished.additions import read_additions

        return read_additions(self.folder)

    def add_results(self, data: object, name: str) -> Path:
        """Add results to a completed run; its state, best, progress and other files stay.

        Numbers in a mapping become columns of `results`, beside those of the training. A mapping is
        merged into the one that has this name; a value that is replaced is kept in `additions`,
        and a warning names it. Several processes may add at once, and none loses anything (on a
        file system without locks, such as some network ones, one after another).

        Args:
            data: The results, as for `Bookkeeping.save_results`.
            name: Their name, with or without suffix: `"test"`.

        Returns:
            The file.

        Raises:
            ClaimLost: If the run was moved away or run again since this object was made.
            FileExistsError: If there is a file of this name, and it or the data is no mapping.
            RunClaimed: If the run is running.
            TypeError: If something would not be read back equal; says where and what to do.
            ValueError: If the run is not completed, or the name leaves the run folder.
        """
        from ._finished.additions import add_results

        return add_results(self.record, data, name, is_alive=self._is_alive, clock=self._clock)

    def _settings_of_run(self) -> RunSettings:
        return settings_of_run(self.record, None)


def _missing_run(folder: Path) -> FileNotFoundError:
    from difflib import get_close_matches

    training = folder / "training"
    if training.is_dir():
        fact = f"{folder} is an experiment: name one of its runs, Run({str(folder)!r}, name)"
    elif folder.is_dir():
        fact = f"{folder} is no run: it has no run.json and no claim"
    else:
        fact = f"There is no run {folder}"
    place = training if training.is_dir() else folder.parent
    names = sorted(path.name for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
    names = [name for name in names if not name.startswith(".")]
    near = get_close_matches(folder.name, names, 1)
    hint = f" Did you mean {near[0]!r}?" if near and not folder.is_dir() else ""
    some = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return FileNotFoundError(f"{fact}.{hint} In {place}: {some or 'nothing'}.")


def _literal(value: object) -> object:
    r"""A value in which OmegaConf takes every text as it is.

    Examples:
        >>> _literal({"token": "${oc.env:HF_TOKEN}"})
        {'token': '\\${oc.env:HF_TOKEN}'}
    """
    if isinstance(value, dict):
        return {key: _literal(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_literal(part) for part in value]
    if isinstance(value, str):
        # A backslash before ${ escapes it, and before such a backslash escapes that.
        return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", value)
    return value
