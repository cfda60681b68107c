"""Host memory into which states are copied, so that the training may go on while they are written.

Fresh memory costs more than the copy, as the system must first find and clear each page: the same
memory is used again for every checkpoint.
"""

import contextlib
import mmap
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ._moves import SHARED_BYTES, Move, Mover, in_pieces

if TYPE_CHECKING:
    from torch import Size, SymInt, Tensor, dtype

ALIGNMENT = 64  # bytes; a line of the processor's cache
_WIPE_ON_FORK = 18  # MADV_WIPEONFORK of Linux, which Python's mmap does not name


class _Memory(NamedTuple):
    """A piece of memory that one or several tensors lie in."""

    size: int  # bytes
    dtype: "dtype"
    pinned: bool  # on the host, as it is a GPU's
    bytewise: bool  # copied as bytes, without torch


class _Place(NamedTuple):
    """Where one tensor of a state goes, and how it lies in that memory."""

    number: int  # of the memory
    memory: _Memory
    shape: "Size"
    stride: tuple[int, ...]
    offset: "int | SymInt"
    is_whole: bool  # it is all of its memory, in order
    address: int  # of the memory that it is copied from
    host: "Tensor"


_Form = tuple["dtype", "Size", tuple[int, ...]]  # type, shape and stride
# A place as it is compared where the tensor comes again: its address (0 where more than that must
# be compared) and form; and the host's tensor.
_Step = tuple[int, _Form, "Tensor"]


class _Plan(NamedTuple):
    """A copy that was made, as it is repeated. All of it at once, as a signal may come between."""

    places: Sequence[_Place] = ()  # in the order of `keep`
    steps: Sequence[_Step] = ()
    memories: Sequence[_Memory] = ()
    hosts: "Sequence[Tensor]" = ()  # the host's memories
    moves: Sequence[Move] = ()
    pieces: Sequence[Move] = ()  # of the large memories
    copies: Sequence[tuple[int, _Place]] = ()  # those by torch, with the number of `keep`


class Staging:
    """One copy of a state in host memory, renewed by each `begin`, `keep` … `copy`.

    As in a file of `torch.save`, tensors that share memory share their copy, whatever part of it
    they show; so tied weights are copied once. The memory is as large as the state and pinned
    where it is copied from a GPU. It belongs to this object until that is dropped.

    A state nearly always has the tensors of the last time, where they were: then `keep` compares
    each with the one that came at its place, and `copy` repeats what it did.
    """

    def __init__(self) -> None:
        import torch

        self._plain = (torch.Tensor, torch.nn.Parameter)
        self._strided = torch.strided
        self._mover = Mover()
        self._last = _Plan()
        self.begin()

    def begin(self) -> None:
        """Forget what was kept, but not the memory."""
        self._tensors: list[Tensor] = []  # that have a place
        self._ahead = self._last.steps  # none from the tensor on that was not there the last time
        self._kept: list[_Place] = []  # filled from then on
        self._kept_memories: list[_Memory] = []
        self._numbers: dict[int, int] = {}  # of the memories, by address
        self._fits = True  # what is kept, into the memory of the last copy

    def keep(self, tensor: "Tensor") -> "Tensor":
        """A tensor of the host that will equal this one after `copy`."""
        tensors = self._tensors
        if type(tensor) in self._plain and tensor.layout is self._strided:
            try:
                address, form, host = self._ahead[len(tensors)]
            except IndexError:
                return self._keep_anew(tensor)
            # Memory that is shared now was shared the last time, as the addresses are those of
            # then, all of them from the first tensor on.
            if (
                address
                and tensor.data_ptr() == address
                and (tensor.dtype, tensor.shape, tensor.stride()) == form
                and not tensor.is_neg()
            ):
                tensors.append(tensor)
                return host
            return self._keep_anew(tensor)
        return _independent(tensor)

    def _keep_anew(self, tensor: "Tensor") -> "Tensor":
        import torch

        if tensor.device.type == "meta" or tensor.is_quantized or tensor.is_neg():
            return _independent(tensor)
        storage = tensor.untyped_storage()
        size, dtype = storage.nbytes(), tensor.dtype
        # Conjugate numbers are another reading of the same bytes.
        bytewise = tensor.device.type == "cpu" and not dtype.is_complex
        memory = _Memory(size, dtype, tensor.is_cuda, bytewise)
        is_whole = tensor.is_contiguous() and tensor.nbytes == size
        if not is_whole and tensor.is_conj():
            return _independent(tensor)  # its bytes are not its values
        address, place = storage.data_ptr(), self._place_before()
        lies = (tensor.shape, tensor.stride(), tensor.storage_offset())
        is_there = place is not None and (place.shape, place.stride, place.offset) == lies
        if self._ahead:
            if (
                place is not None
                and is_there
                and (place.memory, place.is_whole, place.address) == (memory, is_whole, address)
            ):
                self._tensors.append(tensor)
                return place.host
            self._leave_the_last()
        number = self._numbers.setdefault(address, len(self._kept_memories))
        if number == len(self._kept_memories):
            self._kept_memories.append(memory)
        elif self._kept_memories[number] != memory:
            return _independent(tensor)  # torch.save refuses one memory of two types
        if (
            place is not None
            and is_there
            and place.number == number
            and place.memory.dtype is memory.dtype
        ):
            host = place.host
        else:
            self._fits = False
            host = torch.empty(0, dtype=dtype)
        self._tensors.append(tensor)
        self._kept.append(_Place(number, memory, *lies, is_whole, address, host))
        return host

    def _place_before(self) -> _Place | None:
        """What came the last time where the next tensor comes now."""
        number = len(self._tensors)
        return self._last.places[number] if number < len(self._last.places) else None

    def _leave_the_last(self) -> None:
        """From here on it is another state: write down what was the same until now."""
        self._ahead = ()
        for place in self._last.places[: len(self._tensors)]:
            if place.number == len(self._kept_memories):
                self._kept_memories.append(place.memory)
                self._numbers[place.address] = place.number
            self._kept.append(place)

    def copy(self) -> None:
        """Copy all that was kept since `begin`; afterwards the originals may change.

        Raises:
            MemoryError: If there is no memory for it.
        """
        import torch

        self._mover.wait()  # for what an interrupted call may have left
        if self._ahead and len(self._tensors) < len(self._ahead):
            self._leave_the_last()
        if not self._ahead:
            hosts = self._last.hosts
            if not self._fits or self._kept_memories != list(self._last.memories):
                hosts = self._arranged()
            self._last = self._planned(hosts)
        last = self._last
        self._mover.move(last.moves, last.pieces, (self._tensors, last.hosts))
        devices = set()
        with torch.no_grad():
            for number, place in last.copies:
                source, host = self._tensors[number], place.host
                if not place.is_whole:
                    source, host = _all_bytes(source), last.hosts[place.number]
                if place.memory.pinned:
                    host.copy_(source, non_blocking=True)
                    devices.add(source.device)
                else:
                    host.copy_(source)
        for device in devices:
            # The copies wait in the stream behind the training's own work.
            torch.cuda.current_stream(device).synchronize()
        self.begin()  # lets go of the originals

    def _arranged(self) -> "Sequence[Tensor]":
        """Memory for what was kept, and the host's tensors lie in it."""
        import torch

        # The old memory goes first, so that there are never two of them.
        places, self._last = self._last.places, _Plan()
        nothing = torch.empty(0, dtype=torch.uint8).untyped_storage()
        for place in places:
            place.host.set_(nothing)
        hosts = _host_memories(self._kept_memories)
        for place in self._kept:
            storage = hosts[place.number].untyped_storage()
            place.host.set_(storage, place.offset, place.shape, place.stride)
        return hosts

    def _planned(self, hosts: "Sequence[Tensor]") -> _Plan:
        """How what was kept is copied, and the same tensors the next time."""
        steps: list[_Step] = []
        moves: list[Move] = []
        pieces: list[Move] = []
        copies: list[tuple[int, _Place]] = []
        # One object for tensors of one form: comparing then reads less memory, which is as cold as
        # it can be after an epoch.
        forms: dict[_Form, _Form] = {}
        met = 0  # memories; a tensor of one that was met is copied with it
        for number, place in enumerate(self._kept):
            form = (place.memory.dtype, place.shape, place.stride)
            address = place.address if place.is_whole else 0
            steps.append((address, forms.setdefault(form, form), place.host))
            if place.number < met:
                continue
            met += 1
            if not place.memory.bytewise:
                copies.append((number, place))
                continue
            move = (hosts[place.number].data_ptr(), place.address, place.memory.size)
            if move[2] < SHARED_BYTES:
                moves.append(move)
            else:
                pieces.extend(in_pieces(move))
        return _Plan(self._kept, steps, self._kept_memories, hosts, moves, pieces, copies)


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
