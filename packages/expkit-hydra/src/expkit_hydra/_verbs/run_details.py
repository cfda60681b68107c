"""One run in full: which one is meant, its configuration and last lines, and how to repeat it."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .._console.command_lines import Repetition, repetition
from .._console.texts import run_count
from .._grid.grid import Grid, read_grid
from .._grid.run import GridRun
from .._grid.schedulers import ask_schedulers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_bookkeeping import RunRecord

    from .._grid.schedulers import SchedulerReport

_log = logging.getLogger(__name__)
_RESULTS_DIR = re.compile(r"\+{0,2}results_dir=")
_TAIL_BYTES = 64_000  # enough for any number of lines that anybody wants to see


@dataclass(frozen=True)
class SelectedRun:
    """The run that the user means; `record` is None if it was never started."""

    run_name: str
    folder: Path
    record: RunRecord | None
    run: GridRun | None
    grid: Grid | None
    report: SchedulerReport | None = None  # what a scheduler says about it

    @property
    def state(self) -> str:
        """The state in words."""
        if self.record is None and self.run is not None and self.run.skipped_by is not None:
            return f"skipped by {self.run.skipped_by}"
        reported = None if self.report is None else self.report.state
        return reported or ("pending" if self.record is None else self.record.state)


def find_run(experiment: Path, text: str) -> SelectedRun:
    """The run that the user means by a name, a unique part of one, or a number in the latest grid.

    Args:
        experiment: The experiment's folder.
        text: What the user typed.

    Raises:
        LookupError: If it means no run, or more than one.
    """
    from expkit_bookkeeping import find_runs

    view = ask_schedulers(experiment)
    records = {run.run_name: run for run in find_runs(experiment, is_alive=view.is_alive)}
    try:
        grid = read_grid(experiment)
    except FileNotFoundError:
        grid = None
    except ValueError as error:  # its runs can be shown nevertheless
        _log.warning("%s", error)
        grid = None
    runs = {} if grid is None else {run.run_name: run for run in grid.runs}
    names = sorted({*records, *runs})

    def select(name: str) -> SelectedRun:
        run = runs.get(name)
        folder = run.folder if run is not None else experiment / "training" / name
        record = records.get(name)
        report = view.report([run] if run else [], [record] if record else []).get(name)
        return SelectedRun(
            name, folder if record is None else record.folder, record, run, grid, report
        )

    if text not in records and text not in runs:
        text = unicodedata.normalize("NFC", text)  # as the names of a grid's runs are spelled
    if text in records or text in runs:
        return select(text)
    if text.isdecimal() and grid is not None:
        for run in grid.runs:
            if run.index == int(text):
                return select(run.run_name)
    matches = [name for name in names if text in name]
    if len(matches) == 1:
        return select(matches[0])
    if matches:
        some = ", ".join(matches[:8]) + (", …" if len(matches) > 8 else "")
        raise LookupError(f"{text!r} is part of {len(matches)} runs: {some}. Give more of one.")
    from difflib import get_close_matches

    near = get_close_matches(text, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    numbers = f", or a number from 0 to {len(grid.runs) - 1}" if grid is not None else ""
    raise LookupError(
        f"No run {text!r} in {experiment}.{hint} Give a name, a unique part of one{numbers}; "
        f"`expkit status` lists the {run_count(len(names))}."
    )


def debugger_command(selected: SelectedRun) -> str | None:
    """The command that repeats a run under pdb; None if it is unknown how the run was started.

    It leaves a completed run as it is, and repeats it below `debug/`.
    """
    started = _repetition(selected)
    return None if started is None else started.in_debugger()


def launch_configuration(selected: SelectedRun) -> dict[str, object]:
    """The same for VS Code: one of the `configurations` in `.vscode/launch.json`.

    Raises:
        LookupError: If it is unknown how the run was started.
    """
    started = _repetition(selected)
    if started is None:
        raise LookupError(
            f"Nothing says how {selected.run_name} was started, or its program is no longer there."
        )
    return started.for_vscode(f"{selected.run_name} of {selected.folder.parent.parent.name}")


def _repetition(selected: SelectedRun) -> Repetition | None:
    started = _started_by_grid(selected) or _recorded_start(selected.folder)
    is_completed = selected.record is not None and selected.record.state == "completed"
    if started is None or not is_completed or "results_dir" not in (_read_config(selected) or {}):
        return started
    # A single run is never skipped: it would move the completed one to the trash.
    others = [text for text in started.arguments if not _RESULTS_DIR.match(text)]
    return replace(started, arguments=[*others, "results_dir=debug"])


def _started_by_grid(selected: SelectedRun) -> Repetition | None:
    if selected.run is None or selected.grid is None:
        return None
    with contextlib.suppress(OSError, ValueError):  # damaged: the run's own files may say it
        words = selected.grid.description.get("command")
        if isinstance(words, list):
            return repetition(
                [str(word) for word in words], selected.run.overrides, _grid_folder(selected)
            )
    return None


def _grid_folder(selected: SelectedRun) -> Path | None:
    """Where the grid was started, to which its paths are relative; None if that is unknown."""
    assert selected.grid is not None
    assert selected.run is not None
    with contextlib.suppress(LookupError, OSError, ValueError, AttributeError):
        return Path(str(selected.grid.config(selected.run.index).hydra.runtime.cwd))
    return None


def _recorded_start(folder: Path) -> Repetition | None:
    """From what the run and Hydra have written into the run's folder."""
    from expkit_bookkeeping.launching import read_yaml

    try:
        node: Any = read_yaml(folder / ".hydra" / "hydra.yaml")
        overrides: Any = read_yaml(folder / ".hydra" / "overrides.yaml")
        started_in = Path(node["hydra"]["runtime"]["cwd"])
        words = [f"{node['hydra']['job']['name']}.py"]
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            environment: Any = read_yaml(folder / "environment.yaml")
            words = [str(word) for word in environment["command"]]
        return repetition(words, [str(text) for text in overrides], started_in)
    except (OSError, ValueError, LookupError, TypeError):  # missing, or damaged
        return None


def last_lines(path: Path, number: int) -> list[str]:
    """The last lines of a text file; none if it cannot be read."""
    from expkit_bookkeeping.launching import open_to_read

    try:
        with open_to_read(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return text.splitlines()[-number:] if number else []


def config_text(selected: SelectedRun, *, with_kit: bool = False) -> str | None:
    """The run's configuration as YAML: what the run wrote, or else what the grid froze.

    Args:
        selected: The run.
        with_kit: Whether to include the keys that only steer the kit.
    """
    from expkit_bookkeeping.launching import NO_PART_OF_IDENTITY, yaml_text

    data = _read_config(selected)
    if data is None:
        return None
    # Those only steer the kit, but for the two that say which run this is.
    hidden = () if with_kit else NO_PART_OF_IDENTITY - {"experiment_id", "run_name"}
    return yaml_text({key: value for key, value in data.items() if key not in hidden}).rstrip()


def _read_config(selected: SelectedRun) -> Mapping[str, object] | None:
    from expkit_bookkeeping.launching import public_config, secret_patterns

    from .._composing.plain_data import plain_text
    from .._grid.identity import read_config

    written = read_config(selected.folder)
    if written is not None:
        return written
    if selected.run is None or selected.grid is None:
        return None
    try:
        config = plain_text(selected.grid.config(selected.run.index))
    except (LookupError, OSError, ValueError):
        return None
    return public_config(
        {key: value for key, value in config.items() if key != "hydra"}, secret_patterns(config)
    )
