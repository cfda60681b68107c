"""The recipe of a confusion matrix, from what a run has saved or from data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._data.errors import PlottingError, listed
from .._data.folder_facts import saved_results
from .confusion_matrix import ConfusionMatrix, confusion_matrix
from .recipe import NORMALIZE, Normalize, Recipe
from .selection import check_choice, find_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._data.runs import Experiment

_LIKELY = ("confusion", "predict")  # in the names of results that give a confusion matrix


def confusion_recipe(
    experiment: Experiment,
    source: object = None,
    *,
    run: str | int | None = None,
    classes: Sequence[object] | None = None,
    normalize: Normalize | None = "true",
) -> tuple[Recipe, ConfusionMatrix]:
    """The figure of a confusion matrix, as `PlotMetrics.confusion_matrix` draws it.

    Raises:
        PlottingError: If there is no such run or result, or it is no confusion matrix.
    """
    check_choice("normalize", normalize, (None, *NORMALIZE))
    title = ""
    where = f"This {type(source).__name__}"
    if source is None or isinstance(source, str):
        owner = find_run(run, experiment)
        name = likely_result(experiment, run) if source is None else source
        title, where = owner.name, f"Result {name!r} of run {owner.name!r}"
        source = _read(name, saved_results(owner))
    elif run is not None:
        title = find_run(run, experiment).name
    matrix = confusion_matrix(source, classes=classes, where=where)
    recipe = Recipe(kind="confusion", metrics=(), step="", title=title, normalize=normalize)
    return recipe, matrix


def likely_result(experiment: Experiment, run: str | int | None = None) -> str:
    """The name of the only result of a run that looks as if it were a confusion matrix.

    Raises:
        PlottingError: If there is no such run, and if there are several such results, or none.
    """
    owner = find_run(run, experiment)
    names = list(saved_results(owner))
    for word in _LIKELY:
        likely = [name for name in names if word in name.lower()]
        if len(likely) == 1:
            return likely[0]
    if not names:
        raise PlottingError(
            f"Run {owner.name!r} has saved no results. save_results of the labels and predictions, "
            "or of the matrix, is what its confusion matrix is drawn from."
        )
    raise PlottingError(
        f"Say which result of run {owner.name!r} is its confusion matrix, or its labels and "
        f"predictions: {listed(names)}."
    )


def _read(name: str, results: Mapping[str, object]) -> object:
    try:
        return results[name]
    except (KeyError, ValueError) as error:  # of several files by this name; damaged; newer
        text = error.args[0] if error.args else error
        raise PlottingError(str(text)) from None
