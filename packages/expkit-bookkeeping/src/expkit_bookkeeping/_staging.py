"""Host memory into which states are copied, so that the training may go on while they are written.

Fresh memory costs more than the copy, as the system must first find and clear each page: the same
memory is used again for every checkpoint.
"""

import contextlib
import mmap
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Size, SymInt, Tensor, dtype

ALIGNMENT = 64  # bytes; a line of the processor's cache
_WIPE_ON_FORK = 18  # MADV_WIPEONFORK of Linux, which Python's mmap does not name


@dataclass(slots=True)
class _Place:
    """Where one tensor of a state goes: the memory's number, and how the tensor lies in it."""

    memory: int
    dtype: "dtype"
    shape: "Size"
    stride: tuple[int, ...]
    offset: "int | SymInt"
    host: "Tensor"


class Staging:
    """One copy of a state in host memory, renewed by each `begin`, `keep` … `copy`.

    As in a file of `torch.save`, tensors that share memory share their copy, whatever part of it
    they show; so tied weights are copied once. The memory is as large as the state and pinned
    where it is copied from a GPU. It belongs to this object until that is dropped.
    """

    def __init__(self) -> None:
        self._places: list[_Place] = []  # of the last copy, in the order of `keep`
        self._sizes: list[tuple[int, bool]] = []  # bytes of each memory, and whether it is pinned
        self._memories: list[Tensor] = []  # their bytes
        self.begin()

    def begin(self) -> None:
        """Forget what was kept, but not the memory."""
        self._fits = True  # what is kept so far, into the memory of the last copy
        self._new_places: list[_Place] = []
        self._new_sizes: list[tuple[int, bool]] = []
        self._numbers: dict[tuple[int, int], int] = {}  # of the memories, by address and size
        self._dtypes: list[dtype] = []
        self._sources: list[Tensor] = []
        self._targets: list[Tensor | None] = []  # None: all bytes of the memory

    def keep(self, tensor: "Tensor") -> "Tensor":
        """A tensor of the host that will equal this one after `copy`."""
        import torch

        kind = type(tensor)
        if (kind is not torch.Tensor and kind is not torch.nn.Parameter) or not _has_plain_memory(
            tensor
        ):
            return _independent(tensor)
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        address = (storage.data_ptr(), size)
        numbers = self._numbers
        memory = numbers.setdefault(address, len(numbers))
        if memory == len(self._sources):
            whole = tensor.is_contiguous() and tensor.nbytes == size
            self._sources.append(tensor if whole else _all_bytes(tensor))
            self._targets.append(None)
            self._dtypes.append(tensor.dtype)
            self._new_sizes.append((size, tensor.is_cuda))
        elif self._dtypes[memory] is not tensor.dtype:
            return _independent(tensor)  # torch.save refuses one memory of two types
        else:
            whole = False
        shape, stride, offset = tensor.shape, tensor.stride(), tensor.storage_offset()
        number = len(self._new_places)
        if number < len(self._places):
            place = self._places[number]
            if (
                place.memory == memory
                and place.shape == shape
                and place.dtype is tensor.dtype
                and place.stride == stride
                and place.offset == offset
            ):
                self._new_places.append(place)
                if whole:
                    self._targets[memory] = place.host
                return place.host
        self._fits = False
        host = torch.empty(0, dtype=tensor.dtype)
        self._new_places.append(_Place(memory, tensor.dtype, shape, stride, offset, host))
        if whole:
            self._targets[memory] = host
        return host

    def copy(self) -> None:
        """Copy all that was kept since `begin`; afterwards the originals may change."""
        import torch

        if not self._fits or self._new_sizes != self._sizes:
            self._arrange()
        self._places = self._new_places
        plain: tuple[list[Tensor], list[Tensor]] = [], []
        pinned: tuple[list[Tensor], list[Tensor]] = [], []
        for number, (source, target) in enumerate(zip(self._sources, self._targets, strict=True)):
            targets, sources = pinned if source.is_cuda else plain
            targets.append(self._memories[number] if target is None else target)
            sources.append(source)
        with torch.no_grad():
            for target, source in zip(*plain, strict=True):
                target.copy_(source)
            for target, source in zip(*pinned, strict=True):
                target.copy_(source, non_blocking=True)
        for each in {source.device for source in pinned[1]}:
            # The copies wait in the stream behind the training's own work.
            torch.cuda.current_stream(each).synchronize()
        self.begin()  # lets go of the originals

    def _arrange(self) -> None:
        """Make memory for what was kept, and let the host's tensors lie in it."""
        import torch

        # The old memory goes first, so that there are never two of them.
        nothing = torch.empty(0, dtype=torch.uint8).untyped_storage()
        for place in self._places:
            place.host.set_(nothing)
        self._places, self._memories, self._sizes = [], [], []
        self._memories = _memories(self._new_sizes)
        self._sizes = self._new_sizes
        with torch.no_grad():
            for place in self._new_places:
                storage = self._memories[place.memory].untyped_storage()
                place.host.set_(storage, place.offset, place.shape, place.stride)


def _has_plain_memory(tensor: "Tensor") -> bool:
    import torch

    return (
        tensor.layout is torch.strided
        and tensor.device.type != "meta"
        and not tensor.is_quantized
        and not tensor.is_conj()
        and not tensor.is_neg()
    )


def _independent(tensor: "Tensor") -> "Tensor":
    """A copy that shares nothing: sparse, quantized and other tensors without plain memory."""
    copy = tensor.detach().resolve_conj().resolve_neg()
    copy = copy.clone()
    return copy if copy.device.type == "meta" else copy.cpu()


def _all_bytes(tensor: "Tensor") -> "Tensor":
    """The whole memory of which a tensor shows a part."""
    import torch

    storage = tensor.untyped_storage()
    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)


def _memories(sizes: list[tuple[int, bool]]) -> "list[Tensor]":
    """Memories of these sizes, those that are not pinned in one piece."""
    import torch

    places, end = [], 0
    for size, pinned in sizes:
        places.append(end)
        if not pinned:
            end += -(-size // ALIGNMENT) * ALIGNMENT
    piece = _large_pages(end) if end else None
    found = []
    for (size, pinned), start in zip(sizes, places, strict=True):
        if pinned:
            found.append(_pinned(size))
        elif size and piece is not None:
            found.append(torch.frombuffer(piece, dtype=torch.uint8, count=size, offset=start))
        else:
            found.append(torch.empty(0, dtype=torch.uint8))
    return found


def _pinned(size: int) -> "Tensor":
    import torch

    try:
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)
    except RuntimeError:  # the system locks no more memory; copying into any other is slower only
        return torch.empty(size, dtype=torch.uint8)


def _large_pages(size: int) -> mmap.mmap:
    """Fresh memory that is quick to use first, and that forked children do not share.

    The workers of a DataLoader are forks: as long as one lives, writing to a page that it shares
    costs the copy of the page.
    """
    if sys.platform != "linux":
        return mmap.mmap(-1, size)
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(
            f"There are no {size / 1e6:.0f} MB of memory for the copy of the state. Save with "
            "background=False, which needs none."
        ) from error
    for advice in (mmap.MADV_HUGEPAGE, _WIPE_ON_FORK):
        with contextlib.suppress(OSError):  # a kernel without it
            memory.madvise(advice)
    return memory
