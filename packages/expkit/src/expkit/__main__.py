"""The `expkit` command: hands over to a verb from one of the installed packages."""

from __future__ import annotations

import io
import os
import sys

from ._completion.candidates import VERB, complete
from ._verbs import GROUP, first_docstring_line, overview, unknown_verb, verbs_by_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def installed_versions() -> str:
    """One line per installed package of the kit, for bug reports."""
    from importlib.metadata import distributions

    versions = {
        distribution.name: distribution.version
        for distribution in distributions()
        if distribution.name.startswith("expkit")
    }
    return "\n".join(f"{name} {version}" for name, version in sorted(versions.items()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run `expkit VERB …` and return the exit code.

    If the reader of the output has gone, as after `| head`, it ends quietly with 1; the pattern
    is that of "Note on SIGPIPE" in Python's documentation of the module `signal`.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # escapes for characters that it lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()  # here, or the interpreter would complain when it ends
    except BrokenPipeError:
        try:
            print(flush=True)  # works if it was a pipe or socket of the verb's own that broke
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        raise


def _run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] == VERB:
        return complete(arguments[1:])
    from importlib.metadata import entry_points  # a shell that completes cannot wait for it

    verbs = verbs_by_name(entry_points(group=GROUP))
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(
            overview(
                {verb: first_docstring_line(entry_point) for verb, entry_point in verbs.items()}
            )
        )
        return 0
    if arguments[0] == "--version":
        print(installed_versions())
        return 0
    verb, *rest = arguments
    if verb not in verbs:
        print(unknown_verb(verb, verbs), file=sys.stderr)
        return 2
    command: Callable[[Sequence[str]], int] = verbs[verb].load()
    return command(rest)


if __name__ == "__main__":
    raise SystemExit(main())
