"""Which process of a distributed run this is."""

import os
import sys
from collections.abc import Mapping
from typing import Any

# Lightning's launcher tells a process neither its rank nor how many a node has.
_MOST_PER_NODE = 1024


def process_rank(rank: int | None = None, environ: Mapping[str, str] | None = None) -> int:
    """The rank of this process in a distributed run; 0 outside of one.

    It is the argument, else that of torch.distributed if the process has joined a group, else the
    first of these that the environment has:

    * RANK, which torchrun and Accelerate set,
    * SLURM_PROCID, in an srun step of several tasks,
    * OMPI_COMM_WORLD_RANK, of Open MPI's mpirun,
    * NODE_RANK and LOCAL_RANK, which Lightning's own launcher sets.

    Args:
        rank: The rank, where the caller knows it better than the environment.
        environ: Environment variables, of which alone the rank is read; None: this process's.

    Raises:
        ValueError: If the rank is not a number of at least 0.

    Examples:
        >>> process_rank(environ={"RANK": "3"}), process_rank(environ={"SLURM_PROCID": "3"})
        (3, 0)
    """
    if rank is not None:
        return _checked(rank, "rank")
    if environ is None:
        distributed = joined_group()
        if distributed is not None:
            joined: int = distributed.get_rank()
            return joined
        environ = os.environ
    names = ["RANK"]
    if environ.get("SLURM_STEP_NUM_TASKS", "1") not in ("", "1"):
        names.append("SLURM_PROCID")
    names.append("OMPI_COMM_WORLD_RANK")
    for name in names:
        if environ.get(name):
            return _checked(environ[name], f"The environment variable {name}")
    node, local, per_node = (
        _checked(environ.get(name) or default, f"The environment variable {name}")
        for name, default in (
            ("NODE_RANK", 0), ("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", _MOST_PER_NODE)
        )
    )  # fmt: skip
    return node * per_node + local


def joined_group() -> Any:
    """The module torch.distributed if the process has joined its default group, else None."""
    distributed = sys.modules.get("torch.distributed")  # never imported from here
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed


def _checked(value: object, name: str) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"{name} is {value!r}; a rank is a whole number from 0.")
