"""Whether the runs of a task may be forked from the process that has done the imports."""

import os
import sys


def forking() -> tuple[bool, str]:
    """Whether the runs of a task may be forks, and why, in words."""
    if not hasattr(os, "fork"):
        return False, "each spawned: this system cannot fork"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return False, "each spawned: the imports made a CUDA context, which no fork survives"
    threads = _threads()
    if threads != 1:
        count = "an unknown number of" if threads is None else str(threads)
        return False, (
            f"each spawned: the imports left {count} threads, and a fork of them may hang "
            "(OPENBLAS_NUM_THREADS=1 in the batch script often avoids them)"
        )
    return True, "forked from one process with the imports"


def _threads() -> int | None:
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208
    except OSError:
        return None
