"""Which process of a distributed run this is."""

import os
from collections.abc import Mapping


def process_rank(rank: int | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """The rank of this process: the argument, else RANK, else SLURM_PROCID, else 0.

    SLURM_PROCID counts only where the Slurm step has several tasks.

    Args:
        rank: What the caller knows better than the environment.
        environ: Environment variables.

    Raises:
        ValueError: If the rank is not a number of at least 0.

    >>> process_rank(environ={"RANK": "3"}), process_rank(environ={"SLURM_PROCID": "3"})
    (3, 0)
    """
    if rank is not None:
        return _checked(rank, "rank")
    if environ.get("RANK"):
        return _checked(environ["RANK"], "The environment variable RANK")
    if environ.get("SLURM_STEP_NUM_TASKS", "1") not in ("", "1"):
        return _checked(environ.get("SLURM_PROCID") or 0, "The environment variable SLURM_PROCID")
    return 0


def _checked(value: object, name: str) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"{name} is {value!r}; a rank is a whole number from 0.")
