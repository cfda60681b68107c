"""DataLoaders whose workers all draw different numbers, and the same ones again in a rerun."""

from __future__ import annotations

from functools import partial
from typing import TypedDict

from ._optional import require_torch
from ._streams import check_rank, check_seed, derive_seed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


class LoaderArguments(TypedDict):
    """Keyword arguments of `torch.utils.data.DataLoader`."""

    generator: torch.Generator
    worker_init_fn: Callable[[int], None]


def loader_kwargs(seed: int, rank: int = 0) -> LoaderArguments:
    """Arguments that make a DataLoader reproducible: `DataLoader(data, **loader_kwargs(seed))`.

    The generator decides the order of shuffling and, in each epoch, what workers draw. Save it in
    checkpoints: `rng_state(generators={"loader": loader.generator})`.

    Args:
        seed: The experiment's seed, 0..2**32-1.
        rank: Of this process in distributed training.

    Returns:
        `generator` and `worker_init_fn`, which seeds `random`, numpy and torch in each worker.

    Raises:
        ImportError: If torch is not installed.
        TypeError: If `seed` or `rank` is not an integer.
        ValueError: If `seed` or `rank` is out of range.
    """
    seed, rank = check_seed(seed), check_rank(rank)
    torch = require_torch("loader_kwargs")
    generator = torch.Generator()
    generator.manual_seed(derive_seed(seed, "loader", rank))
    return {"generator": generator, "worker_init_fn": partial(init_worker, seed, rank)}


def init_worker(seed: int, rank: int, worker_id: int) -> None:
    """Seed a DataLoader's worker when it starts."""
    import torch

    from ._seeding import seed_all

    # PyTorch draws this from the loader's generator whenever it starts the workers, and adds the
    # worker's number: it differs between epochs and workers, and is the same in a rerun.
    pytorch_seed = torch.initial_seed()
    seed_all(derive_seed(seed, "worker", rank, worker_id, pytorch_seed))
