"""Many pieces of memory copied, the large ones by several threads.

torch copies each tensor with all of its threads and waits for the last of them: where another
program uses a core, 10 MB in 100 tensors then take 200 ms, and 1 ms by one thread. Here a thread
takes the next piece when it is done with one, so that nobody waits for more than a piece.
"""

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from ctypes import memmove
from queue import SimpleQueue

SHARED_BYTES = 1 << 18  # 25 us; handing it over costs a few percent of that
PIECE_BYTES = 1 << 22
MOST_THREADS = 4  # more of them wait for the memory, not for the processor

Move = tuple[int, int, int]  # to, from, bytes
_Job = tuple[deque[Move], object]


class Mover:
    """Copies memory with the caller's thread and up to three others, which end with this object.

    Nothing is locked by the caller for longer than a wait, as SIGTERM and Ctrl-C raise at any
    point in the training's thread: a helper that is in a piece holds its lock, and no more pieces
    can be taken when there are none.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._locks: list[threading.Lock] = []

    def move(self, small: Sequence[Move], pieces: Sequence[Move], alive: object) -> None:
        """Copy them all.

        Args:
            small: What the caller's thread copies.
            pieces: What is shared, as `in_pieces` gives it.
            alive: What the memory belongs to.
        """
        self.wait()
        if len(pieces) < 2:
            _take(deque((*small, *pieces)))
            return
        if not self._locks:
            self._start()
        shared = deque(pieces)
        try:
            for _ in self._locks:
                self._jobs.put((shared, alive))
            _take(deque(small))
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


def in_pieces(move: Move) -> list[Move]:
    """A move as several, none of which is large.

    >>> [size for _, _, size in in_pieces((0, 0, (8 << 20) + 1))]
    [4194304, 4194304, 1]
    """
    to, source, size = move
    return [
        (to + done, source + done, min(PIECE_BYTES, size - done))
        for done in range(0, size, PIECE_BYTES)
    ]


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
