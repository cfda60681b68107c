"""The command's own verb: `expkit completion`."""

from __future__ import annotations

import argparse
import sys

from ._verbs import GROUP, PARSERS, first_docstring_line, verbs_by_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_INSTALLED = 69  # exit code: a package is missing; EX_UNAVAILABLE of sysexits.h


def completion(argv: Sequence[str]) -> int:
    """Print the script by which bash, zsh or tcsh completes `expkit`."""
    shell = completion_parser().parse_args(argv).shell
    from importlib.metadata import entry_points

    from ._completion.script import script

    verbs = verbs_by_name(entry_points(group=GROUP))
    declared = verbs_by_name(entry_points(group=PARSERS))
    parsers = {}
    for verb in verbs:
        try:
            parsers[verb] = declared[verb].load()()
        except Exception:  # without its options rather than without the other verbs
            parsers[verb] = argparse.ArgumentParser(f"expkit {verb}")
    help_lines = {verb: first_docstring_line(entry_point) for verb, entry_point in verbs.items()}
    try:
        text = script(shell, parsers, help_lines)
    except ImportError as error:
        print(f"{error}. `expkit completion` needs shtab: pip install shtab", file=sys.stderr)
        return NOT_INSTALLED
    print(text)
    return 0


def completion_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit completion`."""
    from ._completion.script import SHELLS

    parser = argparse.ArgumentParser(prog="expkit completion", description=completion.__doc__)
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to read the script")
    return parser
