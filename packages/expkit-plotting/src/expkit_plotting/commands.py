"""The verbs `plot` and `restyle`; the only place that prints."""

import argparse
import errno
import logging
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from ._data.files import short_path

# As in expkit-bookkeeping: what a terminal acts on, or turns round, and halves of surrogate pairs.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

NOT_INSTALLED = 69  # exit code: a package is missing; EX_UNAVAILABLE of sysexits.h


def plot(argv: Sequence[str]) -> int:
    """Draw each metric over all runs of one or several experiments, or the metrics of a run."""
    arguments = plot_parser().parse_intermixed_args(argv)
    options = {
        key: value
        for key in ("top", "direction", "lines", "value", "marks", "x", "y", "normalize")
        if (value := getattr(arguments, key)) is not None
    }
    if arguments.group_by:
        keys = [key for argument in arguments.group_by for key in argument.split(",")]
        options["group_by"] = None if keys == ["none"] else keys
    if options.get("normalize") == "none":
        options["normalize"] = None
    if arguments.result is not None:
        options["source"] = arguments.result
    if arguments.classes is not None:
        options["classes"] = arguments.classes.split(",")
    if arguments.repeat:
        options["repeat"] = [key for text in arguments.repeat for key in text.split(",")]

    def work() -> list[str]:
        from ._figure_files.arguments import sources_and_runs
        from ._figure_files.experiment_plots import plot_experiments

        sources, runs = sources_and_runs(arguments.words)
        plots = plot_experiments(
            sources,
            style=arguments.style,
            metrics=arguments.metric,
            runs=[*runs, *arguments.run],
            each=arguments.each,
            kind=arguments.kind,
            options=options,
            out=arguments.out,
        )
        suffixes = ",".join(plots.filetypes)
        lines = []
        if plots.metric_figures:
            count = len(plots.metric_figures)
            folder = short_path(plots.metric_figures[0].parent)
            names = ",".join(figure.name for figure in plots.metric_figures)
            names = f"{{{names}}}" if count > 1 else names
            whose = f" of {', '.join(plots.experiments)}" if plots.experiments else ""
            lines.append(
                f"{_count(count, 'plot')} over all runs{whose}"
                f"{_up_to_date(count, plots.metric_figures_drawn)}: "
                f"{folder}/{names}.{{{suffixes}}}"
            )
        if plots.run_figures:
            count = len(plots.run_figures)
            lines.append(
                f"{_count(count, 'plot')} of single runs"
                f"{_up_to_date(count, plots.run_figures_drawn)}: "
                f"{_pattern(plots.run_figures)}.{{{suffixes}}}"
            )
        if plots.runs_without_metrics:
            lines.append(f"{_count(len(plots.runs_without_metrics), 'run')} without metrics yet")
        # One folder per style: plots/ rather than those of single runs.
        longest_first = sorted(
            plots.outdated_folders, key=lambda folder: len(folder.parts), reverse=True
        )
        for style_folder in {folder.name: folder for folder in longest_first}.values():
            warnings.warn(
                f"The figures in {short_path(style_folder)} show earlier data. "
                "Draw them again with the same --style, or delete them.",
                stacklevel=1,
            )
        return lines

    return run_verb(work)


def restyle(argv: Sequence[str]) -> int:
    """Redraw a saved figure in another style, from the data and recipe beside it."""
    arguments = restyle_parser().parse_args(argv)

    def work() -> list[str]:
        from ._figure_files.paths import style_folder
        from ._figure_files.restyling import figure_base
        from ._figure_files.restyling import restyle as redraw
        from ._figures.saving import save_figure
        from ._style.choice import as_style

        base = figure_base(arguments.path)
        style = None if arguments.style is None else as_style(arguments.style, base.parent)
        figure = redraw(base, style)
        target = base
        if style is not None and base.parent.name != style_folder(arguments.style):
            target = base.parent / style_folder(arguments.style) / base.name
        if arguments.out is not None:
            out: Path = arguments.out
            target = out / base.name if out.is_dir() else out
        written = save_figure(figure, target, figure.style)  # type: ignore[attr-defined]
        return [short_path(path) for path in written]

    return run_verb(work)


def plot_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit plot`; options may stand between the words."""
    parser = argparse.ArgumentParser(
        prog="expkit plot",
        description=(
            "Draw each metric over all runs (into plots/), or all metrics of the runs that are "
            "named (into training/RUN/plots/). Of several experiments, all runs of each go into "
            "the same figures (into plots/ of the first). Figures that are up to date are left "
            "alone. Figures in another style than the experiment's own go into a folder of the "
            "style's name, such as plots/Thesis/. --kind draws other figures than curves."
        ),
    )
    parser.add_argument(
        "words", nargs="+", metavar="EXPERIMENT|RUN",
        help="folders of experiments, results/EXPERIMENT, then runs: name, part of it, or number",
    )  # fmt: skip
    parser.add_argument("--each", action="store_true", help="draw the figure of each run, too")
    parser.add_argument(
        "--style", metavar="STYLE", help="Default, Thesis, a name in conf/plotting/, or a .yaml "
        "file (default: the experiment's own)"
    )  # fmt: skip
    parser.add_argument(
        "--metric", action="append", default=[], metavar="METRIC",
        help="only this metric; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--group-by", action="append", default=[], metavar="KEY",
        help="average over all but these swept keys; repeatable; 'none': every run by itself",
    )  # fmt: skip
    parser.add_argument(
        "--repeat", action="append", default=[], metavar="KEY",
        help="average over these keys, e.g. seed,fold: over folds, then over seeds "
        "(default: expkit.repeat of the experiment, else seed)",
    )  # fmt: skip
    parser.add_argument("--run", action="append", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--top", type=int, metavar="K", help="only the K best groups of runs")
    parser.add_argument("--direction", choices=("minimize", "maximize"), help="which value is best")
    parser.add_argument(
        "--lines",
        choices=("auto", "groups", "bands", "all"),
        help="which curves are drawn (default: auto)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write all figures there")
    _add_kinds(parser)
    return parser


def _add_kinds(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "kinds of figure",
        "final: the last or best value of each run, as bars or points per group. heatmap: the same "
        "over two swept keys. Both are of the experiment's own metric unless --metric says so, and "
        "of completed runs. confusion: the confusion matrix of a run.",
    )
    group.add_argument(
        "--kind", choices=("curves", "final", "heatmap", "confusion"), default="curves",
        help="what is drawn (default: curves)",
    )  # fmt: skip
    group.add_argument(
        "--value", choices=("final", "best"), help="the last value of each run, or its best"
    )
    group.add_argument(
        "--marks", choices=("auto", "bars", "points"), help="of final values (default: auto)"
    )
    group.add_argument("--x", metavar="KEY", help="the swept key of a heat map's columns")
    group.add_argument("--y", metavar="KEY", help="the swept key of its rows")
    group.add_argument(
        "--result", metavar="NAME",
        help="the saved result with a confusion matrix, or labels and predictions "
        "(default: the only one with such a name)",
    )  # fmt: skip
    group.add_argument("--classes", metavar="A,B,…", help="the classes in their order")
    group.add_argument(
        "--normalize", choices=("true", "pred", "all", "none"),
        help="percentages of the true class (default), of the predicted one, of all; or counts",
    )  # fmt: skip


def restyle_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit restyle`."""
    parser = argparse.ArgumentParser(
        prog="expkit restyle",
        description=(
            "Redraw a figure that was saved in a style with pickle: true. Reads the .csv and "
            ".json beside it, never the pickle. With --style it goes into a folder of the style's "
            "name beside the figure."
        ),
    )
    parser.add_argument("path", type=Path, help="the figure, such as results/digits/plots/loss.pdf")
    parser.add_argument("--style", help="as for expkit plot (default: the one it was drawn in)")
    parser.add_argument("--out", type=Path, metavar="PATH", help="write there instead")
    return parser


def style_names() -> list[str]:
    """The names that `--style` takes here, for shells to complete."""
    from ._style.yaml_files import style_names as names

    return names()


def run_verb(work: Callable[[], list[str]]) -> int:
    """Run a verb: print its lines, warnings without source code, and errors without traceback."""
    from ._data.errors import PlottingError

    handler = logging.StreamHandler()
    handler.setFormatter(_PrintableFormatter("warning: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        try:
            lines = work()
        except (PlottingError, ImportError, OSError) as error:
            print(printable(f"error: {error}{_advice(error)}"), file=sys.stderr)
            return NOT_INSTALLED if isinstance(error, ImportError) else 1
    for message in dict.fromkeys(str(warning.message) for warning in warned
                                 if warning.category is UserWarning):  # fmt: skip
        print(f"warning: {printable(message)}", file=sys.stderr)
    for line in lines:
        print(printable(line))
    return 0


def printable(text: str) -> str:
    """Text for a terminal: control characters in names of runs are shown, and obeyed by nobody."""
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _advice(error: Exception) -> str:
    """What to do if figures cannot be written, or data not read."""
    if not isinstance(error, OSError):
        return ""
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT):
        return ". If figures cannot be written there, --out DIR writes them elsewhere"
    return ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _up_to_date(number: int, drawn: int) -> str:
    if drawn == number:
        return ""
    return " (up to date)" if drawn == 0 else f" ({number - drawn} up to date)"


def _pattern(paths: Sequence[Path]) -> str:
    """Paths with a star where they differ, as `training/*/plots/metrics`."""
    parts = [set(level) for level in zip(*(path.parts for path in paths), strict=False)]
    return short_path(Path(*(level.pop() if len(level) == 1 else "*" for level in parts)))
