"""What all verbs have in common: their arguments, exit codes, refusals and JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

DONE, ATTENTION, UNANSWERED = 0, 1, 2


def verb_parser(
    verb: str, command: object, *, attention: str | None = None
) -> argparse.ArgumentParser:
    """A parser of a verb, without its arguments.

    Args:
        verb: The verb.
        command: Its function, whose docstring says what it does.
        attention: What exit code 1 means; None if it never ends so.
    """
    codes = "0: answered; " + (f"1: {attention}; " if attention else "")
    return argparse.ArgumentParser(
        prog=f"expkit {verb}",
        description=command.__doc__,
        epilog=f"Exit codes: {codes}2: cannot be answered; 69: a package is missing.",
    )


def add_experiment(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add the argument that names an experiment, or two and more."""
    if several:
        parser.add_argument(
            "experiments",
            metavar="results/EXPERIMENT",
            type=Path,
            nargs="+",
            help="the folders of two or more experiments",
        )
        return
    parser.add_argument(
        "experiment", metavar="results/EXPERIMENT", type=Path, help="the experiment's folder"
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a run."""
    parser.add_argument(
        "run", metavar="RUN", help="a name, a unique part of one, or a number in the latest grid"
    )


def refuse(error: Exception) -> int:
    """Say on stderr why a verb cannot answer; returns its exit code."""
    from .._console.screen import say

    is_key = isinstance(error, KeyError) and error.args  # whose text is in quotes
    say(str(error.args[0]) if is_key else str(error), sys.stderr)
    return UNANSWERED


def print_json(answer: object) -> None:
    """Print an answer for programs: strict JSON, in which NaN and infinities are text."""
    from expkit_bookkeeping.launching import json_data

    print(json.dumps(json_data(answer), allow_nan=False))
