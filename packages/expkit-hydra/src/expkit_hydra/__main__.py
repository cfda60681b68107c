"""`python -m expkit_hydra VERB …`, where the `expkit` command is not installed."""

import sys
from collections.abc import Sequence

from ._console.screen import run_verb
from .commands import VERBS


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] not in VERBS:
        print(f"usage: python -m expkit_hydra {{{','.join(VERBS)}}} EXPERIMENT …", file=sys.stderr)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    return run_verb(VERBS[arguments[0]], arguments[1:])


if __name__ == "__main__":
    raise SystemExit(main())
