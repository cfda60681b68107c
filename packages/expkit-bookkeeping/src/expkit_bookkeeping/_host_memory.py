"""Memory of the host for copies of states: pinned for those of a GPU, and not shared by forks."""

import contextlib
import mmap
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

ALIGNMENT = 64  # bytes; a line of the processor's cache
LARGE_PAGES_BYTES = 1 << 26
_WIPE_ON_FORK = 18  # MADV_WIPEONFORK of Linux, which Python's mmap does not name


class HostMemory(NamedTuple):
    """A piece of memory that one or several tensors lie in."""

    size: int  # bytes
    pinned: bool  # for what a GPU copies


def host_memories(memories: Sequence[HostMemory]) -> "list[Tensor]":
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
            found.append(torch.empty(0, dtype=torch.uint8, device="cpu"))
    return found


def _pinned(size: int) -> "Tensor":
    import torch

    try:
        return torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=True)
    except RuntimeError:  # the system locks no more memory; copying into any other is slower only
        return torch.empty(size, dtype=torch.uint8, device="cpu")


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
    with contextlib.suppress(OSError):  # a kernel without it
        memory.madvise(_WIPE_ON_FORK)
        # 10 MB are then copied in 0.86 of the time, and 1 GB in the same. The system must first
        # move what is in the way of large pages, which can make the first call five times as long.
        if size <= LARGE_PAGES_BYTES:
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
