"""The verb `compare`: several experiments beside each other."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from .._console.screen import answered, console, say
from .answers import ATTENTION, DONE, add_experiment, print_json, refuse, verb_parser
from .best import DIRECTIONS
from .comparison import ABSENT, Comparison, compared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._console.layout import Column

MOST_VALUES = 6  # of one key, in one experiment


def compare_parser() -> argparse.ArgumentParser:
    """The arguments of `compare`."""
    parser = verb_parser(
        "compare",
        compare,
        attention="configurations within a group differ, or the figure cannot be drawn, as stderr "
        "says",
    )
    add_experiment(parser, several=True)
    parser.add_argument(
        "--metric", help="a column of results.csv (default: the best expkit.metric)"
    )
    parser.add_argument(
        "--direction",
        choices=DIRECTIONS,
        help="which value is best (default: expkit.direction, for expkit.metric)",
    )
    parser.add_argument(
        "--no-figure", action="store_true", help="do not draw the metric (expkit plot)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, and draw nothing")
    return parser


@answered
def compare(argv: Sequence[str]) -> int:
    """Compare experiments: keys that differ, best runs, means with n, and one figure."""
    parser = compare_parser()
    arguments = parser.parse_args(argv)
    if len(arguments.experiments) < 2:
        parser.error("name two experiments or more; `expkit table` shows one")
    try:
        comparison = compared(
            arguments.experiments, metric=arguments.metric, direction=arguments.direction
        )
    except (FileNotFoundError, LookupError, ValueError) as error:
        return refuse(error)
    for complaint in comparison.complaints:
        say(complaint, sys.stderr)
    if arguments.json:
        print_json(_facts(comparison))
        return ATTENTION if comparison.complaints else DONE
    _print(comparison)
    is_drawn = arguments.no_figure or _draw(comparison)
    return ATTENTION if comparison.complaints or not is_drawn else DONE


def _facts(comparison: Comparison) -> dict[str, object]:
    from .._console.command_lines import short_path

    return {
        "metric": comparison.metric,
        "column": comparison.column,
        "experiments": [
            {
                "experiment": name,
                "path": short_path(overview.experiment),
                "states": dict(overview.states),
                "best": None
                if best is None
                else {"run": best.record.run_name, "value": best.value, "step": best.step},
            }
            for name, overview, best in zip(
                comparison.names, comparison.overviews, comparison.bests, strict=True
            )
        ],
        "differences": comparison.differences,
        "groups": [group.facts() for group in comparison.groups],
    }


def _print(comparison: Comparison) -> None:
    from .._console.layout import fitted_table, print_fitted

    screen = console()
    parts = [
        ("", _summary(comparison)),
        ("keys that differ:", _differences(comparison)),
        (f"mean ± standard deviation of {comparison.label}:", _means(comparison)),
    ]
    for title, columns in parts:
        if title:
            screen.print(f"\n{title}", markup=False, soft_wrap=True)
        if columns:
            table = fitted_table(columns, width=screen.width, elsewhere="see --json")
            print_fitted(screen, table)
        else:
            screen.print("none")


def _summary(comparison: Comparison) -> list[Column]:
    from .._console.layout import Column
    from .._console.texts import counts_text, value_text

    bests = comparison.bests
    values = ["" if best is None else value_text(best.value) for best in bests]
    runs = ["" if best is None else best.record.run_name for best in bests]
    states = [counts_text(row.state for row in part.rows) for part in comparison.overviews]
    return [
        Column("experiment", comparison.names),
        Column("runs", states, rank=2, is_sentence=True),
        Column(comparison.label, values, rank=1, is_number=True, short_header="value"),
        Column("best run", runs, rank=3),
    ]


def _differences(comparison: Comparison) -> list[Column]:
    from .._console.layout import Column

    differences = comparison.differences
    if not differences:
        return []
    columns = [Column("key", list(differences))]
    for index, name in enumerate(comparison.names):
        cells = [_values_text(values[index]) for values in differences.values()]
        columns.append(Column(name, cells, rank=index + 1, is_sentence=True))
    return columns


def _means(comparison: Comparison) -> list[Column]:
    """One row for each combination of swept values, one column for each experiment."""
    from .._console.layout import Column

    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for group, text in zip(comparison.groups, comparison.texts, strict=True):
        name, *values = map(str, group.keys.values())
        rows.setdefault(tuple(values), {})[name] = text
    _, *keys = comparison.groups[0].keys
    columns = [
        Column(key, [values[position] for values in rows]) for position, key in enumerate(keys)
    ] or [Column("runs", ["all"])]
    for index, name in enumerate(comparison.names):
        cells = [texts.get(name, ABSENT) for texts in rows.values()]
        columns.append(Column(name, cells, rank=index + 1, is_number=True))
    return columns


def _draw(comparison: Comparison) -> bool:
    """Draw the metric of all experiments in one figure; False if that did not succeed."""
    from .._console.command_lines import installed_verbs, short_path

    package = installed_verbs().get("plot")
    records = [record for overview in comparison.overviews for record in overview.records]
    if package is None or not any(comparison.metric in record.metrics for record in records):
        return True
    paths = [short_path(overview.experiment) for overview in comparison.overviews]
    done = subprocess.run(
        [sys.executable, "-m", package, "plot", *paths, "--metric", comparison.metric],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    if done.stdout.strip():
        say("\n" + done.stdout.strip())
    if done.stderr.strip():
        say(done.stderr.strip(), sys.stderr)
    if done.returncode != 0:
        say(f"plot ended with exit code {done.returncode}: there is no figure.", sys.stderr)
    return done.returncode == 0


def _values_text(values: Sequence[object]) -> str:
    some = ", ".join(f"{value!s:.40}" for value in values[:MOST_VALUES])
    return some + (f", … ({len(values)})" if len(values) > MOST_VALUES else "")
