"""States of the random number generators, for checkpoints, and what a loader draws from them."""

from __future__ import annotations

import hashlib
import random
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import cast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from torch import Generator


def rng_state() -> dict[str, object]:
    """States of `random`, and of numpy, torch and every CUDA device if they are in use.

    All are copies. `pack` makes them smaller for a file.
    CUDA is left alone unless the process has used it: asking would create a context on a device.
    """
    state: dict[str, object] = {"python": random.getstate()}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        state["numpy"] = numpy.random.get_state(legacy=False)
    if torch is not None:
        state["torch"] = torch.get_rng_state()
        if torch.cuda.is_initialized():
            state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def pack(state: Mapping[str, object]) -> dict[str, object]:
    """Convert what `rng_state` returned to types that `torch.load(weights_only=True)` reads."""
    packed = dict(state)
    version, numbers, gauss = cast(tuple[int, tuple[int, ...], float | None], state["python"])
    # As bytes, as torch.save calls a Python function for each of 625 numbers.
    packed["python"] = (version, struct.pack(f"<{len(numbers)}I", *numbers), gauss)
    if "numpy" in state:
        packed["numpy"] = _without_arrays(state["numpy"])
    return packed


def restore_rng_state(state: Mapping[str, object], report: Callable[[str], None]) -> None:
    """Restore what `rng_state` returned.

    Args:
        state: The states, packed or not. Generators without one are left as they are.
        report: Called with a sentence if the states do not fit this machine: with another number
            of CUDA devices, those that both have are restored.
    """
    python = state.get("python")
    if isinstance(python, tuple):
        version, words, gauss = python
        if isinstance(words, bytes):
            words = struct.unpack(f"<{len(words) // 4}I", words)
        random.setstate((version, words, gauss))
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and "numpy" in state:
        try:
            numpy.random.set_state(_with_arrays(state["numpy"]))
        except (ValueError, TypeError) as error:
            report(f"numpy's global random state was not restored: {error}")
    if torch is not None and "torch" in state:
        torch.set_rng_state(state["torch"])
    devices = state.get("cuda")
    if torch is None or not isinstance(devices, list):
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count != len(devices):
        report(
            f"The checkpoint has random states of {len(devices)} CUDA devices, and there are "
            f"{count} here: {min(count, len(devices))} restored. On another number of devices a "
            "run does not repeat bit by bit."
        )
    for index, device_state in enumerate(devices[:count]):
        torch.cuda.set_rng_state(device_state, index)


class RankStreams:
    """The random streams of a rank above 0: a checkpoint holds only the states of rank 0.

    They begin anew at each checkpoint, both where it is saved and where a run resumes from it, so
    that a resumed run draws what one that was not stopped draws. They depend on the seed that the
    process had before, the rank and the checkpoint's place alone.

    Args:
        rank: The rank.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._seed: int | None = None

    def remember_seed(self) -> None:
        """Take the seed that the script has given this process, before the first checkpoint."""
        torch = sys.modules.get("torch")
        if self._seed is None and torch is not None:
            self._seed = torch.initial_seed()

    def begin(self, epoch: int, batch: int | None, loader: object) -> None:
        """Begin the streams that follow a checkpoint.

        Args:
            epoch: The checkpoint's epoch.
            batch: How many batches of that epoch are done; None if it is complete.
            loader: The loader, for its generators.
        """
        self.remember_seed()

        def seed(name: str) -> int:
            text = f"{self._seed}/{self._rank}/{epoch}/{batch}/{name}"
            return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")

        random.seed(seed("python"))
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        if numpy is not None:
            numpy.random.seed(seed("numpy"))
        if torch is not None:
            torch.manual_seed(seed("torch"))
        for index, generator in enumerate(loader_generators(loader)):
            generator.manual_seed(seed(f"generator {index}"))


def loader_generators(loader: object) -> list[Generator]:
    """The generators of a DataLoader and its samplers, each once, in a fixed order."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    owners = [
        loader,
        getattr(loader, "sampler", None),
        batch_sampler,
        getattr(batch_sampler, "sampler", None),
    ]
    generators: dict[int, Generator] = {}
    for owner in owners:
        generator = getattr(owner, "generator", None)
        if generator is not None:
            generators.setdefault(id(generator), generator)
    return list(generators.values())


def keeps_workers(loader: object) -> bool:
    """Whether a DataLoader keeps its workers from one epoch to the next."""
    return bool(getattr(loader, "persistent_workers", False) and getattr(loader, "num_workers", 0))


def has_kept_workers(loader: object) -> bool:
    """Whether its workers run: it has been iterated since it was made."""
    return keeps_workers(loader) and getattr(loader, "_iterator", loader) is not None


def start_kept_workers(loader: object) -> None:
    """Start the workers that a DataLoader keeps; what that draws is for the caller to undo.

    It draws their seed when it starts them, and not again in later epochs. A resumed run has to
    start them once more, and without this would be one number ahead from then on. The batches that
    they load ahead are dropped at the next `iter`.
    """
    iter(cast("Iterable[object]", loader))


def draws_in_workers(loader: object) -> bool:
    """Whether a loader's dataset may draw random numbers, as far as its classes tell."""
    from .._optional import torch

    collates = getattr(loader, "collate_fn", None) is torch.utils.data.default_collate
    return not collates or _may_draw(getattr(loader, "dataset", None))


def _may_draw(dataset: object) -> bool:
    from .._optional import torch

    data = torch.utils.data
    if type(dataset) is data.Subset:
        return _may_draw(dataset.dataset)
    if type(dataset) is data.ConcatDataset:
        return any(map(_may_draw, dataset.datasets))
    # expkit-seed's numbers depend on the sample and the epoch alone
    is_seeded = type(dataset).__module__.partition(".")[0] == "expkit_seed"
    return not (type(dataset) is data.TensorDataset or is_seeded)


def _without_arrays(value: object) -> object:
    """Replace arrays by their bytes, as torch before 2.3 has no tensor of uint32.

    Not the walk to plain data: states keep tuples and numbers of all types, for `saveable`.
    """
    if isinstance(value, Mapping):
        return {key: _without_arrays(part) for key, part in value.items()}
    if hasattr(value, "tobytes"):
        return {"dtype": value.dtype.str, "bytes": value.tobytes()}  # type: ignore[attr-defined]
    return value


def _with_arrays(value: object) -> object:
    from .._optional import numpy

    if not isinstance(value, Mapping):
        return value
    if value.keys() == {"dtype", "bytes"}:
        return numpy.frombuffer(value["bytes"], value["dtype"])
    return {key: _with_arrays(part) for key, part in value.items()}
