"""Many pieces of memory copied, the large ones by several threads.

torch copies each tensor with all of its threads and waits for the last of them: where another
program uses a core, 10 MB in 100 tensors then take 200 ms, and 1 ms by one thread. Here a thread
takes the next piece when it is done with one, so that nobody waits for more than a piece.
"""

import threading
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from ctypes import memmove
from operator import itemgetter
from queue import SimpleQueue
from typing import NamedTuple

SHARED_BYTES = 1 << 18  # 25 us; handing it over costs a few percent of that
# Waking a thread costs what it saves, as one alone is nearly as fast as the memory: measured on
# two cores, 10 MB take as long by both, 20 MB take 0.8, 40 MB and more 0.7 of the time.
WORTH_SHARING_BYTES = 1 << 24
PIECE_BYTES = 1 << 22
MOST_THREADS = 4  # more of them wait for the memory, not for the processor

Move = tuple[int, int, int]  # to, from, bytes


class Moves(NamedTuple):
    """Who copies what."""

    alone: Sequence[Move] = ()  # by the caller's thread
    shared: Sequence[Move] = ()


_Job = tuple[deque[Move], object]


def divided(moves: Iterable[Move]) -> Moves:
    """Moves, those of much memory as pieces for several threads, the largest first.

    >>> moves = divided([(0, 0, 8), (8, 8, (16 << 20) + 1)])
    >>> [size for _, _, size in moves.alone], [size >> 20 for _, _, size in moves.shared]
    ([8], [4, 4, 4, 4, 0])
    """
    moves = list(moves)
    large = [move for move in moves if move[2] >= SHARED_BYTES]
    if sum(map(itemgetter(2), large)) < WORTH_SHARING_BYTES:
        return Moves(moves)
    pieces = [piece for move in large for piece in _pieces(*move)]
    pieces.sort(key=itemgetter(2), reverse=True)  # so that all threads end at about one time
    return Moves([move for move in moves if move[2] < SHARED_BYTES], pieces)


def _pieces(to: int, source: int, size: int) -> Iterable[Move]:
    for done in range(0, size, PIECE_BYTES):
        yield to + done, source + done, min(PIECE_BYTES, size - done)


class Mover:
    """Copies memory with the caller's thread and up to three others, which end with this object.

    Nothing is locked by the caller for longer than a wait, as SIGTERM and Ctrl-C raise at any
    point in the training's thread: a helper that is in a piece holds its lock, and no more pieces
    can be taken when there are none.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._locks: list[threading.Lock] = []

    def move(self, moves: Moves, alive: object) -> None:
        """Copy them all.

        Args:
            moves: What `divided` gave.
            alive: What the memory belongs to.
        """
        self.wait()
        if not moves.shared:
            for move in moves.alone:
                memmove(*move)
            return
        if not self._locks:
            self._start()
        shared = deque(moves.shared)
        try:
            for _ in self._locks:
                self._jobs.put((shared, alive))
            for move in moves.alone:
                memmove(*move)
            _take(shared)
        finally:
            shared.clear()  # where it was interrupted
            self.wait()

    def wait(self) -> None:
        """Until no helper is in a piece; one may be, after an interrupted call."""
        for lock in self._locks:
            with lock:
                pass

    def _start(self) -> None:
        import torch

        for _ in range(min(torch.get_num_threads(), MOST_THREADS) - 1):
            lock = threading.Lock()
            thread = threading.Thread(
                target=_help, args=(self._jobs, lock), name="expkit-bookkeeping copies", daemon=True
            )
            self._locks.append(lock)  # first: nobody may help whom `wait` does not know
            weakref.finalize(self, self._jobs.put, None)
            thread.start()


def _take(moves: deque[Move]) -> None:
    try:
        while True:
            memmove(*moves.popleft())
    except IndexError:
        return


def _help(jobs: "SimpleQueue[_Job | None]", lock: threading.Lock) -> None:
    while True:
        job = jobs.get()
        if job is None:
            return
        while True:
            with lock:
                try:
                    move = job[0].popleft()
                except IndexError:
                    break
                memmove(*move)
        del job  # or the tensors would live until the next
