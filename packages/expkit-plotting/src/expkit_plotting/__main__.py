"""`python -m expkit_plotting VERB …`, where the `expkit` command is not installed."""

import gc
import io
import signal
import sys

from .commands import plot, restyle
from .report_commands import report

VERBS = {"plot": plot, "report": report, "restyle": restyle}


def main() -> int:
    """Run the verb."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # escapes for characters that it lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    if len(sys.argv) < 2 or sys.argv[1] not in VERBS:
        print(f"usage: python -m expkit_plotting {{{','.join(VERBS)}}} …", file=sys.stderr)
        return 2
    return VERBS[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    # As a sweep ends a drawing that its runs have outdated: no file stays half written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    _exit_code = main()
    gc.freeze()  # else Python, at its end, searches matplotlib's modules for cycles
    sys.exit(_exit_code)
