"""Copying many blocks of memory, the large ones with several threads.

torch copies each tensor with all of its threads and waits for the last of them: if another program
uses a core, 10 MB in 100 tensors then take 200 ms, and 1 ms with one thread. Here a thread takes
the next piece when it is done with one, so that nobody waits longer than for one piece.

A plain copy by one thread, of a third of the code, takes 1.3 times as long at 100 MB and 1.4 times
at 10 MB (measured by benchmarks/checkpoints.py on two idle cores, 2026-11-30).
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from ctypes import memmove
from operator import itemgetter
from queue import SimpleQueue
from typing import NamedTuple

SHARED_BYTES = 1 << 18  # 25 us; handing it to another thread costs a few percent of that
# Waking a thread may cost what it saves, as one alone nearly reaches the memory's speed: measured
# on two cores, 10 MB take as long with both, 20 MB take 0.8, 40 MB and more 0.7 of the time.
WORTH_SHARING_BYTES = 1 << 24
PIECE_BYTES = 1 << 22
MOST_THREADS = 4  # more of them wait for the memory, not for the processor

BlockCopy = tuple[int, int, int]  # target address, source address, bytes


class DividedCopies(NamedTuple):
    """Which copies the caller's thread makes alone, and which it shares with others."""

    alone: Sequence[BlockCopy] = ()
    shared: Sequence[BlockCopy] = ()


_Job = tuple[deque[BlockCopy], object]  # with what the memory belongs to


def divide(copies: Iterable[BlockCopy]) -> DividedCopies:
    """Divide large copies into pieces for several threads, the largest first.

    Examples:
        >>> copies = divide([(0, 0, 8), (8, 8, (16 << 20) + 1)])
        >>> [size for _, _, size in copies.alone], [size >> 20 for _, _, size in copies.shared]
        ([8], [4, 4, 4, 4, 0])
    """
    copies = list(copies)
    large = [copy for copy in copies if copy[2] >= SHARED_BYTES]
    if sum(map(itemgetter(2), large)) < WORTH_SHARING_BYTES:
        return DividedCopies(copies)
    pieces = [piece for copy in large for piece in _pieces(*copy)]
    pieces.sort(key=itemgetter(2), reverse=True)  # so that all threads end at about the same time
    return DividedCopies([copy for copy in copies if copy[2] < SHARED_BYTES], pieces)


def _pieces(target: int, source: int, size: int) -> Iterable[BlockCopy]:
    for start in range(0, size, PIECE_BYTES):
        yield target + start, source + start, min(PIECE_BYTES, size - start)


class MemoryCopier:
    """Copies memory with the caller's thread and up to three helpers, which end with this object.

    SIGTERM and Ctrl-C raise at any point in the training's thread, so the caller holds no lock for
    longer than a wait. A helper holds its lock while it copies a piece; once there are no more
    pieces, none can be taken.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._locks: list[threading.Lock] = []

    def copy(self, copies: DividedCopies, keep_alive: object) -> None:
        """Make all copies.

        Args:
            copies: What `divide` returned.
            keep_alive: What the memory belongs to.
        """
        self.wait()
        if not copies.shared:
            for copy in copies.alone:
                memmove(*copy)
            return
        if not self._locks:
            self._start()
        shared = deque(copies.shared)
        try:
            for _ in self._locks:
                self._jobs.put((shared, keep_alive))
            for copy in copies.alone:
                memmove(*copy)
            _copy_until_empty(shared)
        finally:
            shared.clear()  # if it was interrupted
            self.wait()

    def wait(self) -> None:
        """Wait until no helper is copying a piece, as one may be after an interrupted call."""
        for lock in self._locks:
            with lock:
                pass

    def _start(self) -> None:
        from .._optional import torch

        for _ in range(min(torch.get_num_threads(), MOST_THREADS) - 1):
            lock = threading.Lock()
            thread = threading.Thread(
                target=_help, args=(self._jobs, lock), name="expkit-bookkeeping copies", daemon=True
            )
            self._locks.append(lock)  # first: `wait` must know every helper
            weakref.finalize(self, self._jobs.put, None)
            thread.start()


def _copy_until_empty(copies: deque[BlockCopy]) -> None:
    try:
        while True:
            memmove(*copies.popleft())
    except IndexError:
        return


def _help(jobs: SimpleQueue[_Job | None], lock: threading.Lock) -> None:
    while True:
        job = jobs.get()
        if job is None:
            return
        while True:
            with lock:
                try:
                    copy = job[0].popleft()
                except IndexError:
                    break
                memmove(*copy)
        del job  # or the tensors would live until the next job
