"""The verb `table`: means of metrics over the runs of each group."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from .._console.screen import answered, console, say
from .answers import ATTENTION, DONE, add_experiment, print_json, refuse, verb_parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pandas as pd

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

SPREADS = ("std", "sem", "ci95", "range", "quartiles")


def table_parser() -> argparse.ArgumentParser:
    """The arguments of `table`."""
    parser = verb_parser(
        "table",
        table,
        attention="configurations within a group differ, or a value is unknown, as stderr says",
    )
    add_experiment(parser)
    parser.add_argument(
        "--metric",
        action="append",
        help="only this column of results.csv; repeatable",
    )
    parser.add_argument(
        "--group-by",
        action="append",
        metavar="KEY",
        help="average over all but these swept keys; repeatable; 'none': every run by itself",
    )
    parser.add_argument(
        "--repeat",
        action="append",
        metavar="KEY",
        help="average over these keys, e.g. seed,fold: over folds, then over seeds "
        "(default: expkit.repeat of the experiment, else seed)",
    )
    parser.add_argument(
        "--spread",
        choices=SPREADS,
        default="std",
        help="what stands beside the mean: sample standard deviation, standard error, half of the "
        "95 %% confidence interval, smallest and largest value, or quartiles (default: std)",
    )
    parser.add_argument(
        "--digits", type=_digits, default=3, metavar="N", help="after the point (default: 3)"
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--latex", action="store_true", help="a tabular for LaTeX's booktabs")
    kinds.add_argument("--csv", action="store_true", help="CSV, with all digits")
    kinds.add_argument("--json", action="store_true", help="JSON, with all digits")
    return parser


@answered
def table(argv: Sequence[str]) -> int:
    """Print means and spreads of metrics over the runs of each group, with their number."""
    arguments = table_parser().parse_args(argv)
    from expkit_bookkeeping import results

    from .experiments import find_experiment
    from .overview import look

    group_by = _words(arguments.group_by)
    try:
        overview = look(find_experiment(arguments.experiment))
        with collected_warnings() as complaints:
            frame = results(overview.experiment, runs=overview.records)
            means = frame.table(
                ["run_name"] if group_by == ["none"] else group_by,
                metrics=arguments.metric,
                repeat=_words(arguments.repeat),
                spread=arguments.spread,
            )
    except (FileNotFoundError, LookupError, ValueError) as error:
        return refuse(error)
    for complaint in complaints:
        say(complaint, sys.stderr)
    if arguments.latex:
        print(means.to_latex(digits=arguments.digits), end="")
    elif arguments.csv:
        print(_csv(means), end="")
    elif arguments.json:
        print_json(_facts(means, arguments.spread))
    else:
        _print(means, means.text(arguments.digits), overview.metric)
    return ATTENTION if complaints else DONE


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """The texts of what is warned of inside, by `warnings` or in a log, each once."""
    texts: dict[str, None] = {}

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts[record.getMessage()] = None

    handler = Handler(logging.WARNING)
    logger = logging.getLogger("expkit_bookkeeping")
    complaints: list[str] = []
    logger.addHandler(handler)
    propagates, logger.propagate = logger.propagate, False
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            yield complaints
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
    complaints += [*texts, *dict.fromkeys(str(warning.message) for warning in caught)]


@dataclass(frozen=True)
class GroupMeans:
    """What a table says of one group.

    Attributes:
        keys: The values of the keys that its runs share.
        runs: How many there are.
        metrics: By metric the mean, the spread and `n`, the number of values.
    """

    keys: Mapping[str, object]
    runs: int
    metrics: Mapping[str, Mapping[str, float]]

    @classmethod
    def all_of(cls, means: pd.DataFrame) -> list[GroupMeans]:
        """Those of a table, as `Results.table` makes it."""
        names = [str(name) for name in means.index.names]
        groups = []
        for position, label in enumerate(means.index):
            values = label if isinstance(label, tuple) else (label,)
            metrics: dict[str, dict[str, float]] = {}
            for column, value in zip(means.columns.tolist(), means.iloc[position], strict=True):
                metrics.setdefault(str(column[0]), {})[str(column[1])] = float(value)
            runs = int(metrics.pop("runs")["count"])
            groups.append(cls(dict(zip(names, values, strict=True)), runs, metrics))
        return groups

    def facts(self) -> dict[str, object]:
        """The same as data for JSON."""
        metrics = {
            metric: {**parts, "n": int(parts["n"])} for metric, parts in self.metrics.items()
        }
        return {"keys": self.keys, "runs": self.runs, "metrics": metrics}


def _facts(means: pd.DataFrame, spread: str) -> dict[str, object]:
    return {
        "group_by": [str(name) for name in means.index.names],
        "spread": spread,
        "groups": [group.facts() for group in GroupMeans.all_of(means)],
    }


def _csv(means: pd.DataFrame) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    groups = GroupMeans.all_of(means)
    names = [f"{metric}_{part}" for metric, parts in groups[0].metrics.items() for part in parts]
    writer.writerow([*groups[0].keys, "runs", *names])
    for group in groups:
        cells = [
            int(value) if part == "n" else "" if value != value else value
            for parts in group.metrics.values()
            for part, value in parts.items()
        ]
        writer.writerow([*group.keys.values(), group.runs, *cells])
    return text.getvalue()


def _print(means: pd.DataFrame, texts: pd.DataFrame, metric: str | None) -> None:
    from .._console.layout import Column, fitted_table, print_fitted

    groups = GroupMeans.all_of(means)
    keys = [Column(key, [str(group.keys[key]) for group in groups]) for key in groups[0].keys]
    first = [f"best_{metric}", metric]
    names = sorted(
        map(str, texts.columns), key=lambda name: first.index(name) if name in first else 2
    )
    cells = [
        Column(name, [str(text) for text in texts[name]], rank, is_number=True)
        for rank, name in enumerate(names)
    ]
    screen = console()
    table = fitted_table(
        [*keys, *cells], width=screen.width, elsewhere="--metric chooses, --csv has all"
    )
    print_fitted(screen, table)


def _words(texts: Sequence[str] | None) -> list[str] | None:
    """Several words in one argument, separated by commas, or in several."""
    return None if texts is None else [word for text in texts for word in text.split(",")]


def _digits(text: str) -> int:
    if not text.isdecimal() or int(text) > 17:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of digits from 0 to 17")
    return int(text)
