"""A dataset whose samples are the same whichever worker loads them."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar, overload

from ._optional import import_installed, require_torch
from ._streams import check_integer, check_rank, check_seed, derive_seed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch.utils.data import Dataset
else:  # without torch the name can still be imported; the constructor says what is missing
    torch = import_installed("torch")
    Dataset = Generic if torch is None else torch.utils.data.Dataset

Sample = TypeVar("Sample", covariant=True)


class MapStyleDataset(Protocol[Sample]):
    """What a dataset must have for its samples to have an index."""

    def __getitem__(self, index: int, /) -> Sample: ...

    def __len__(self) -> int: ...


class SeededDataset(Dataset[Sample]):
    """A dataset whose random numbers depend on seed, rank, epoch and sample alone.

    It wraps a map-style dataset. Which worker loads a sample, how many workers there are, whether
    they persist and where a run was resumed make no difference. Loading without workers leaves
    the training's generators as they are, too.

    Args:
        dataset: With `__getitem__` and `__len__`; may draw from the global generators of `random`,
            numpy and torch (on the CPU).
        seed: The experiment's seed, 0..2**32-1.
        rank: Of this process in distributed training.

    Attributes:
        dataset: The wrapped dataset.

    Raises:
        ImportError: If torch is not installed.
        TypeError: If the dataset has no length or items, or `seed` or `rank` is not an integer.
        ValueError: If `seed` or `rank` is out of range.
    """

    # First by the class: PyTorch's own datasets do not annotate what `__getitem__` returns.
    @overload
    def __init__(self, dataset: Dataset[Sample], seed: int, rank: int = 0) -> None: ...

    @overload
    def __init__(self, dataset: MapStyleDataset[Sample], seed: int, rank: int = 0) -> None: ...

    def __init__(self, dataset: Any, seed: int, rank: int = 0) -> None:
        if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
            raise TypeError(
                f"{type(dataset).__name__} has no __getitem__ and __len__, so its samples have no "
                "index. In an iterable dataset, draw from "
                "numpy.random.default_rng(sample_seed(seed, epoch=…, index=…)) instead."
            )
        self.dataset: MapStyleDataset[Sample] = dataset
        self._seed, self._rank = check_seed(seed), check_rank(rank)
        torch = require_torch("SeededDataset")
        import_installed("numpy")  # now, so that no worker draws from it unseeded
        # In shared memory, so that set_epoch reaches persistent workers too.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch for which random numbers are drawn."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; without a call before each, all epochs see the same augmentation.

        Raises:
            TypeError: If it is not an integer.
        """
        self._epoch.fill_(check_integer(epoch, "epoch"))

    def sampler(self) -> EpochSampler:
        """A shuffled order for `DataLoader(sampler=…)`, a function of seed, rank and epoch.

        With persistent workers, a loader's own shuffling depends on how often it was started,
        which differs after a resume. Each rank gets all samples; to divide them among ranks, use
        PyTorch's `DistributedSampler(data, seed=seed)` with its own `set_epoch`.
        """
        return EpochSampler(self, self._seed, self._rank)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        keys: Sequence[int | str] = index if isinstance(index, (tuple, list)) else (index,)
        with _sample_rng(derive_seed(self._seed, "sample", self._rank, self.epoch, *keys)):
            return self.dataset[index]


@contextmanager
def _sample_rng(seed: int) -> Iterator[None]:
    """Like `isolated_rng`, but for the CPU alone and ten times as fast."""
    import random

    import torch
    from torch.utils.data import get_worker_info

    numpy = sys.modules.get("numpy")
    generator = torch.default_generator
    # A worker only loads samples, each with a seed of its own: there is nothing to restore.
    is_worker = get_worker_info() is not None
    if not is_worker:
        python_state, torch_state = random.getstate(), generator.get_state()
        numpy_state = None if numpy is None else numpy.random.get_state(legacy=False)
    random.seed(seed)
    generator.manual_seed(seed)
    if numpy is not None:
        numpy.random.seed(seed)
    try:
        yield
    finally:
        if not is_worker:
            random.setstate(python_state)
            generator.set_state(torch_state)
            if numpy is not None:
                numpy.random.set_state(numpy_state)


class EpochSampler:
    """All indices of a dataset, in a different order in each epoch."""

    def __init__(self, dataset: SeededDataset[object], seed: int, rank: int) -> None:
        self._dataset = dataset
        self._seed = seed
        self._rank = rank

    def __len__(self) -> int:
        return len(self._dataset)

    def __iter__(self) -> Iterator[int]:
        import torch

        generator = torch.Generator()
        generator.manual_seed(derive_seed(self._seed, "order", self._rank, self._dataset.epoch))
        order: list[int] = torch.randperm(len(self), generator=generator).tolist()
        return iter(order)
