"""Commands of expkit as they work here, for messages."""

import os
import shlex
import shutil
import sys


def command_line(verb: str, *arguments: object) -> str:
    """By name, or by module where the meta-package with the command `expkit` is not installed."""
    if shutil.which("expkit") is not None:
        words = ["expkit"]
    else:
        python = shutil.which("python")
        # Not resolved: the interpreters of two environments may be links to the same file.
        is_ours = python is not None and os.path.abspath(python) == os.path.abspath(sys.executable)  # noqa: PTH100
        words = ["python" if is_ours else sys.executable, "-m", "expkit_mlflow"]
    return shlex.join([*words, verb, *map(str, arguments)])
