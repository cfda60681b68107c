"""The `expkit` command: hands over to the verb that an installed package brings."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, distributions, entry_points

from ._verbs import GROUP, overview, unknown_verb, verbs


def first_docstring_line(entry_point: EntryPoint) -> str:
    """What a verb does, or why it cannot be loaded."""
    try:
        documentation = entry_point.load().__doc__ or ""
    except Exception as error:  # one broken package must not hide the verbs of the others
        return f"cannot be loaded: {error}"
    return documentation.strip().partition("\n")[0]


def installed_versions() -> str:
    """A line for each of the kit's packages that is installed, as a bug report needs it."""
    found = {each.name: each.version for each in distributions() if each.name.startswith("expkit")}
    return "\n".join(f"{name} {version}" for name, version in sorted(found.items()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run `expkit VERB …`; returns the exit code.

    It ends quietly, with 1, when its reader has gone, as `| head` does: the pattern is that of
    "Note on SIGPIPE" in Python's documentation of the module `signal`.
    """
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()  # here: the interpreter would complain when it ends
    except BrokenPipeError:
        try:
            print(flush=True)  # tells it from a pipe or socket of the verb's own
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        raise


def _run(arguments: Sequence[str]) -> int:
    installed = verbs(entry_points(group=GROUP))
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview({verb: first_docstring_line(it) for verb, it in installed.items()}))
        return 0
    if arguments[0] == "--version":
        print(installed_versions())
        return 0
    verb, *rest = arguments
    if verb not in installed:
        print(unknown_verb(verb, installed), file=sys.stderr)
        return 2
    command: Callable[[Sequence[str]], int] = installed[verb].load()
    return command(rest)


if __name__ == "__main__":
    raise SystemExit(main())
