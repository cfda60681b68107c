"""Which process of a distributed run this is."""

import os
import sys
from collections.abc import Mapping


def process_rank(rank: int | None = None, environ: Mapping[str, str] | None = None) -> int:
    """The rank of this process: the argument, else RANK, else SLURM_PROCID, else 0.

    SLURM_PROCID counts only where the Slurm step has several tasks.

    Args:
        rank: The rank, where the caller knows it better than the environment.
        environ: Environment variables; None: this process's.

    Raises:
        ValueError: If the rank is not a number of at least 0.

    >>> process_rank(environ={"RANK": "3"}), process_rank(environ={"SLURM_PROCID": "3"})
    (3, 0)
    """
    if rank is not None:
        return _checked(rank, "rank")
    environ = os.environ if environ is None else environ
    if environ.get("RANK"):
        return _checked(environ["RANK"], "The environment variable RANK")
    if environ.get("SLURM_STEP_NUM_TASKS", "1") not in ("", "1"):
        return _checked(environ.get("SLURM_PROCID") or 0, "The environment variable SLURM_PROCID")
    return 0


def true_on_any_rank(value: bool) -> bool:
    """Whether the value is true on any rank of torch.distributed's default group.

    Where there is no such group, the value itself.

    A collective: it returns when all ranks have called it.
    """
    distributed = sys.modules.get("torch.distributed")  # never imported from here
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return value
    import torch

    # NCCL handles only what is on a GPU.
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    maximum = torch.tensor(int(value), device=device)
    distributed.all_reduce(maximum, distributed.ReduceOp.MAX)
    return bool(maximum.item())


def _checked(value: object, name: str) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"{name} is {value!r}; a rank is a whole number from 0.")
