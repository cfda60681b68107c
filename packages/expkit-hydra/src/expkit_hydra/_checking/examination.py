"""A Hydra app, examined before its first run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .._composing.config_files import order_warning
from .._composing.errors import GridError, one_sentence, refuse_unresolvable
from .._composing.global_state import current_config
from .._composing.run_location import RunLocation, other_folders, pinned_keys, settle
from .._console.preview import missing_values
from .._console.texts import unused_folders
from .._grid.contents import has_tree
from .._program.app import StartedApp
from .._program.program import name_job
from .findings import NOTE, REFUSED, WARNING, Finding
from .places import Places
from .planning import Plan, plan_grid
from .shadowing import hidden_configs, lost_values
from .values import changing_values, secret_keys, unresolvable_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass
class Examination:
    """What a check says.

    Attributes:
        summary: What becomes of the runs; None where no grid is made.
        runs: How many runs start; None where no grid is made.
        findings: In the order in which they were found.
    """

    summary: str | None = None
    runs: int | None = None
    findings: list[Finding] = field(default_factory=list)


def examine(app: StartedApp) -> Examination:
    """Compose the grid that an app is about to sweep, and say what is to be said of it.

    Nothing is written, claimed or started.
    """
    places = Places(app.loader, app.config_name, app.overrides)
    examination = Examination(findings=list(hidden_configs(places)))
    try:
        with one_sentence():
            config = app.compose()
            name_job(config)
            with current_config(config):
                examination.findings += _of_folders(config, places)
                _examine_grid(app, config, places, examination)
    except GridError as error:
        key = str(error).partition(":")[0]
        place = places.of(key) if " " not in key else (None, None)
        examination.findings.append(Finding(REFUSED, "grid", str(error), *place))
    return examination


def _examine_grid(
    app: StartedApp, config: DictConfig, places: Places, examination: Examination
) -> None:
    refuse_unresolvable(config, ("hydra.job.name", "hydra.sweeper", "hydra.launcher"))
    sweeper = _sweeper(app, config)
    if not has_tree(config):
        text = "The defaults list has no expkit: Hydra sweeps alone. Write defaults: [expkit, …]."
        examination.findings.append(Finding(WARNING, "grid", text))
        return
    if sweeper is None:
        name = config.hydra.runtime.choices.get("hydra/sweeper")
        text = f"hydra/sweeper={name} makes its runs itself, while it sweeps: none was composed."
        examination.findings.append(Finding(NOTE, "grid", text))
        return

    if order_warning(app.loader, app.config_name) is not None:
        examination.findings += lost_values(config, places)

    def warn(text: str) -> None:
        key = "defaults" if "_self_" in text else text.partition(" ")[0]
        examination.findings.append(Finding(WARNING, "configuration", text, *places.of(key)))

    options = getattr(sweeper.launcher, "grid_options", None)
    arguments = [str(text) for text in config.hydra.overrides.task]
    plan = plan_grid(config, app.loader, arguments, grid_options=options, warn=warn)
    examination.findings += _of_plan(config, plan, places)
    selection = plan.draft.selection
    examination.summary, examination.runs = selection.summary(), len(selection.to_run)


def _sweeper(app: StartedApp, config: DictConfig) -> Any:
    """Our sweeper with its launcher, made as Hydra makes it; None for another sweeper."""
    from hydra.core.plugins import Plugins

    from .._composing.internals import make_context

    context = make_context(app.loader, None)
    with one_sentence("hydra.sweeper cannot be made"):
        sweeper = Plugins.instance().instantiate_sweeper(
            hydra_context=context, task_function=app.task_function, config=config
        )
    return getattr(sweeper, "grid_sweeper", None)


def _of_folders(config: DictConfig, places: Places) -> Iterator[Finding]:
    if not has_tree(config):
        return
    training = "results_dir/experiment_id/training"
    for node, runs in (("sweep", "The runs of a grid are"), ("run", "A single run is")):
        for key, text in other_folders(config, node).items():
            sentence = f"{unused_folders({key: text})} {runs} in {training}. It may stay."
            yield Finding(NOTE, "folder", sentence, *places.of(key))


def _of_plan(config: DictConfig, plan: Plan, places: Places) -> Iterator[Finding]:
    for text in plan.rule_warnings():
        yield Finding(WARNING, "rule", text, *places.of("_filters"))
    for text in plan.draft.without_effect:
        yield Finding(WARNING, "no effect", text)
    missing = zip(plan.draft.missing, missing_values(plan.draft), strict=True)
    for key, text in missing:
        yield Finding(WARNING, "missing", text, *places.of(key))
    draft = plan.draft
    kept = [run for run in draft.runs if run.skipped_by is None]
    if kept:  # values of one run stand for those of all
        run_config = plan.composer.compose(kept[0].index, kept[0].overrides)
        settle(run_config, RunLocation(kept[0].run_name, pinned_keys(config)))
        yield from unresolvable_values(run_config, places)
        yield from changing_values(run_config, plan.expansion.keys, places)
    yield from secret_keys(config)
