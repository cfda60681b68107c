"""Host memory into which states are copied, so that the training may go on while they are written.

Fresh memory costs more than the copy, as the system must first find and clear each page: the same
memory is used again for every checkpoint.
"""

import contextlib
import mmap
import sys
from ctypes import memmove
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Size, SymInt, Tensor, dtype

ALIGNMENT = 64  # bytes; a line of the processor's cache
# torch copies more than 128 kB with all threads. Where another program uses a core, each such copy
# waits for it: 10 MB in 100 tensors then take 200 ms, and 1.6 ms without threads.
SMALL_BYTES = 1 << 20
_WIPE_ON_FORK = 18  # MADV_WIPEONFORK of Linux, which Python's mmap does not name


class _Memory(NamedTuple):
    """A piece of memory that one or several tensors lie in."""

    size: int  # bytes
    dtype: "dtype"
    pinned: bool  # on the host, as it is a GPU's
    small: bool  # so small that more than one thread would only be waited for


@dataclass(slots=True)
class _Place:
    """Where one tensor of a state goes: the memory's number, and how the tensor lies in it."""

    number: int
    memory: _Memory
    shape: "Size"
    stride: tuple[int, ...]
    offset: "int | SymInt"
    host: "Tensor"
    address: int  # of the tensor, if it filled its memory when it was last copied; else 0


class Staging:
    """One copy of a state in host memory, renewed by each `begin`, `keep` … `copy`.

    As in a file of `torch.save`, tensors that share memory share their copy, whatever part of it
    they show; so tied weights are copied once. The memory is as large as the state and pinned
    where it is copied from a GPU. It belongs to this object until that is dropped.
    """

    def __init__(self) -> None:
        import torch

        self._plain = (torch.Tensor, torch.nn.Parameter)
        self._strided = torch.strided
        self._places: list[_Place] = []  # of the last copy, in the order of `keep`
        self._memories: list[_Memory] = []
        self._bytes: list[Tensor] = []  # the host's memories
        self.begin()

    def begin(self) -> None:
        """Forget what was kept, but not the memory."""
        self._fits = True  # what is kept so far, into the memory of the last copy
        self._kept: list[_Place] = []
        self._kept_memories: list[_Memory] = []
        self._numbers: dict[int, int] = {}  # of the memories, by address
        self._sources: list[Tensor] = []
        self._targets: list[Tensor | None] = []  # None: all bytes of the memory

    def keep(self, tensor: "Tensor") -> "Tensor":
        """A tensor of the host that will equal this one after `copy`."""
        if type(tensor) not in self._plain or tensor.layout is not self._strided:
            return _independent(tensor)
        kept = self._kept
        place = self._places[len(kept)] if len(kept) < len(self._places) else None
        # The usual case, quickly: it lies where it lay the last time, and nothing else does.
        if (
            place is not None
            and place.address
            and tensor.data_ptr() == place.address
            and tensor.dtype is place.memory.dtype
            and tensor.shape == place.shape
            and tensor.stride() == place.stride
            and place.number == len(self._sources)
            and place.address not in self._numbers
        ):
            self._numbers[place.address] = place.number
            self._sources.append(tensor)
            self._targets.append(place.host)
            self._kept_memories.append(place.memory)
            kept.append(place)
            return place.host
        return self._keep_anew(tensor, place)

    def _keep_anew(self, tensor: "Tensor", place: _Place | None) -> "Tensor":
        import torch

        if tensor.device.type == "meta" or tensor.is_quantized:
            return _independent(tensor)
        storage = tensor.untyped_storage()
        size, dtype = storage.nbytes(), tensor.dtype
        # Conjugate numbers are another reading of the same bytes.
        small = size < SMALL_BYTES and tensor.device.type == "cpu" and not dtype.is_complex
        memory = _Memory(size, dtype, tensor.is_cuda, small)
        whole = tensor.is_contiguous() and tensor.nbytes == memory.size
        if not whole and (tensor.is_conj() or tensor.is_neg()):
            return _independent(tensor)  # its bytes are not its values
        address = storage.data_ptr()
        number = self._numbers.setdefault(address, len(self._sources))
        is_first = number == len(self._sources)
        if not is_first and self._kept_memories[number] != memory:
            return _independent(tensor)  # torch.save refuses one memory of two types
        shape, stride, offset = tensor.shape, tensor.stride(), tensor.storage_offset()
        if (
            place is None
            or place.number != number
            or place.memory.dtype is not memory.dtype
            or (place.shape, place.stride, place.offset) != (shape, stride, offset)
        ):
            self._fits = False
            host = torch.empty(0, dtype=tensor.dtype)
            place = _Place(number, memory, shape, stride, offset, host, 0)
        place.memory = memory
        place.address = address if whole else 0
        if is_first:
            self._sources.append(tensor if whole else _all_bytes(tensor))
            self._targets.append(place.host if whole else None)
            self._kept_memories.append(memory)
        self._kept.append(place)
        return place.host

    def copy(self) -> None:
        """Copy all that was kept since `begin`; afterwards the originals may change.

        Raises:
            MemoryError: If there is no memory for it.
        """
        import torch

        if not self._fits or self._kept_memories != self._memories:
            self._arrange()
        self._places, self._memories = self._kept, self._kept_memories
        devices = set()
        with torch.no_grad():
            for source, target, memory, whole in zip(
                self._sources, self._targets, self._memories, self._bytes, strict=True
            ):
                host = whole if target is None else target
                if memory.small:
                    memmove(host.data_ptr(), source.data_ptr(), memory.size)
                elif memory.pinned:
                    host.copy_(source, non_blocking=True)
                    devices.add(source.device)
                else:
                    host.copy_(source)
        for device in devices:
            # The copies wait in the stream behind the training's own work.
            torch.cuda.current_stream(device).synchronize()
        self.begin()  # lets go of the originals

    def _arrange(self) -> None:
        """Make memory for what was kept, and let the host's tensors lie in it."""
        import torch

        # The old memory goes first, so that there are never two of them.
        nothing = torch.empty(0, dtype=torch.uint8).untyped_storage()
        for place in self._places:
            place.host.set_(nothing)
        self._places, self._memories, self._bytes = [], [], []
        self._bytes = _host_memories(self._kept_memories)
        for place in self._kept:
            storage = self._bytes[place.number].untyped_storage()
            place.host.set_(storage, place.offset, place.shape, place.stride)


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


def _host_memories(memories: list[_Memory]) -> "list[Tensor]":
    """The bytes of as many memories of the host, those that are not pinned in one piece."""
    import torch

    starts, end = [], 0
    for memory in memories:
        starts.append(end)
        if not memory.pinned:
            end += -(-memory.size // ALIGNMENT) * ALIGNMENT
    piece = _fresh_memory(end) if end else None
    found = []
    for memory, start in zip(memories, starts, strict=True):
        if memory.pinned:
            found.append(_pinned(memory.size))
        elif memory.size and piece is not None:
            found.append(
                torch.frombuffer(piece, dtype=torch.uint8, count=memory.size, offset=start)
            )
        else:
            found.append(torch.empty(0, dtype=torch.uint8))
    return found


def _pinned(size: int) -> "Tensor":
    import torch

    try:
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)
    except RuntimeError:  # the system locks no more memory; copying into any other is slower only
        return torch.empty(size, dtype=torch.uint8)


def _fresh_memory(size: int) -> mmap.mmap:
    """Memory that forked children do not share.

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
    # No MADV_HUGEPAGE: it halves the first call, or makes it five times as long where the system
    # must first move what is in the way, and later calls are the same.
    with contextlib.suppress(OSError):  # a kernel without it
        memory.madvise(_WIPE_ON_FORK)
    return memory
