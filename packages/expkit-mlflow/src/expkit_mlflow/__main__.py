"""`python -m expkit_mlflow VERB …`, for use without the package `expkit`."""

import gc
import io
import sys
from collections.abc import Sequence

from . import commands


def main(argv: Sequence[str]) -> int:
    """Runs the verb at the start of `argv`."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # escapes for characters that it lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    verbs = {"sync": commands.sync, "ui": commands.ui}
    if not argv or argv[0] not in verbs:
        for name, verb in verbs.items():
            print(f"python -m expkit_mlflow {name} …   {verb.__doc__}", file=sys.stderr)
        return 2
    return verbs[argv[0]](argv[1:])


if __name__ == "__main__":
    _exit_code = main(sys.argv[1:])
    gc.freeze()  # else Python, at its end, searches MLflow's modules for cycles
    sys.exit(_exit_code)
