"""Host memory for copies of states: pinned for those of a GPU, and not shared with forks."""

from __future__ import annotations

import contextlib
import mmap
import sys
from collections.abc import Sequence
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from torch import Tensor

ALIGNMENT = 64  # bytes; a line of the processor's cache
LARGE_PAGES_BYTES = 1 << 26
_WIPE_ON_FORK = 18  # MADV_WIPEONFORK of Linux, which Python's mmap does not name


class BlockSpec(NamedTuple):
    """The block of memory that one or several tensors need."""

    size: int  # bytes
    pinned: bool  # for what a GPU copies


def allocate(specs: Sequence[BlockSpec]) -> list[Tensor]:
    """Allocate blocks as tensors of bytes; all that are not pinned share one mapping."""
    from .._optional import torch

    starts, end = [], 0
    for spec in specs:
        starts.append(end)
        if not spec.pinned:
            end += -(-spec.size // ALIGNMENT) * ALIGNMENT
    mapping = _map_memory(end) if end else None
    blocks = []
    for spec, start in zip(specs, starts, strict=True):
        if spec.pinned:
            blocks.append(_allocate_pinned(spec.size))
        elif spec.size and mapping is not None:
            blocks.append(
                torch.frombuffer(mapping, dtype=torch.uint8, count=spec.size, offset=start)
            )
        else:
            blocks.append(torch.empty(0, dtype=torch.uint8, device="cpu"))
    return blocks


def _allocate_pinned(size: int) -> Tensor:
    from .._optional import torch

    try:
        return torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=True)
    except RuntimeError:  # the system locks no more memory; copying to other memory is just slower
        return torch.empty(size, dtype=torch.uint8, device="cpu")


def _map_memory(size: int) -> mmap.mmap:
    """Map memory that forked children do not share.

    The workers of a DataLoader are forks: as long as one lives, writing to a page that it shares
    costs a copy of the page.
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
        # With large pages 10 MB are copied in 0.86 of the time, and 1 GB in the same time. But the
        # system must first make room for them, so that the first call may take five times as long.
        if size <= LARGE_PAGES_BYTES:
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
