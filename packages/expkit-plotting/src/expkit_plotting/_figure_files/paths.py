"""Where the figures of an experiment go, and what their files are called."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._data.runs import Run

LONGEST_NAME = 90  # bytes; file systems allow 255 for two of these, a suffix and a temporary name
RUN_FIGURE = "metrics"


def file_name(text: str) -> str:
    """A metric's name as the name of a file.

    Examples:
        >>> file_name("val/top 5")
        'val_top_5'
    """
    kept = "".join(map(_letter, unicodedata.normalize("NFC", text)))
    name = re.sub(" +", "_", kept).strip("._") or "metric"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
    return f"{name.encode()[:LONGEST_NAME].decode(errors='ignore')}_{digest}"


def _letter(character: str) -> str:
    """The character, or a space for one that no name keeps: neither letter, mark nor digit."""
    is_kept = character in "_.+=-" or unicodedata.category(character)[0] in "LMN"
    return character if is_kept else " "


def style_folder(style: str) -> str:
    """The folder for figures in a style that is not the experiment's own.

    Examples:
        >>> style_folder("Thesis"), style_folder("conf/plotting/Mine.yaml")
        ('Thesis', 'Mine')
    """
    return file_name(Path(style.removesuffix(".yaml").removesuffix(".yml")).name)


def metric_figure_name(
    metric: str,
    options: Mapping[str, Any],
    metrics: Sequence[str],
    *,
    kind: str = "curves",
    experiments: Sequence[str] = (),
) -> str:
    """The file name, without suffix, of a metric's figure drawn with these options.

    Args:
        metric: The metric.
        options: Arguments of `PlotMetrics.metric`, or of the kind's method.
        metrics: All metrics of the experiment.
        kind: "curves", "final" or "heatmap".
        experiments: Names of the experiments, if the figure shows several.

    Examples:
        >>> metric_figure_name("loss", {"top": 5}, ["loss"], experiments=["a", "b"])
        'loss_of_a+b_top5'
        >>> metric_figure_name("loss", {"value": "best", "x": "lr"}, ["loss"], kind="heatmap")
        'loss_heatmap_best_x_lr'
    """
    name = file_name(metric)
    # val/loss and val_loss, and Loss where a file system ignores case.
    if [file_name(other).casefold() for other in metrics].count(name.casefold()) > 1:
        name = f"{name}_{list(metrics).index(metric)}"
    choices = [f"of_{'+'.join(experiments)}"] if experiments else []
    if kind != "curves":
        choices.append("final_values" if kind == "final" else kind)
    if options.get("value", "final") != "final":
        choices.append(options["value"])
    choices += [f"{axis}_{options[axis]}" for axis in ("x", "y") if options.get(axis)]
    group_by = options.get("group_by", "auto")
    if group_by is None:
        choices.append("by_run")
    elif group_by != "auto":
        choices.append(f"by_{'_'.join([group_by] if isinstance(group_by, str) else group_by)}")
    repeat = options.get("repeat")
    if repeat is not None:
        choices.append(f"over_{'_'.join([repeat] if isinstance(repeat, str) else repeat)}")
    if options.get("top") is not None:
        choices.append(f"top{options['top']}")
    choices += [options[key] for key in ("lines", "marks") if options.get(key, "auto") != "auto"]
    return f"{name}_{file_name('_'.join(choices))}" if choices else name


def confusion_figure_name(options: Mapping[str, Any]) -> str:
    """The file name, without suffix, of a confusion matrix drawn with these options.

    Args:
        options: Arguments of `PlotMetrics.confusion_matrix`.

    Examples:
        >>> confusion_figure_name({"source": "test/predictions", "normalize": None})
        'confusion_matrix_test_predictions_counts'
    """
    choices = [str(options["source"])] if options.get("source") else []
    if options.get("normalize", "true") != "true":
        choices.append(options["normalize"] or "counts")
    return "_".join(["confusion_matrix", *(file_name(choice) for choice in choices)])


def run_figure_path(run: Run, plots: Path, out: Path | None) -> Path:
    """The path, without suffix, of a run's figure: in its own folder, else among all plots.

    Args:
        run: The run.
        plots: The folder for figures over all runs.
        out: The folder for all figures, if they go elsewhere.
    """
    if out is not None:
        return out / file_name(run.name)
    if run.folder is not None:
        return run.folder / "plots" / RUN_FIGURE
    return plots / "runs" / file_name(run.name)
