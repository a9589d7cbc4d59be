"""What ranks tell each other: arrays of all, and wishes that all follow at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from runtime.distributed.communicator import Communicator

PERIOD_S = 0.2  # about so long a wish waits until all know of it
MOST_ROUNDS = 1024  # without asking


def gather_arrays(
    communicator: Communicator, mine: Sequence[np.ndarray]
) -> list[list[np.ndarray]]:
    """Return the arrays of all ranks, on each, by rank.

    They may have any shapes, and types whose values float64 has: they go as a sum in
    float64 to which one rank alone adds a value each, which is exact but for the sign
    of a zero.
    """
    told = communicator.gather([[str(a.dtype), *a.shape] for a in mine])
    sizes = [sum(_count(one[1:]) for one in of_rank) for of_rank in told]
    flat = np.zeros(sum(sizes))
    at = sum(sizes[: communicator.rank])
    for array in mine:
        flat[at : at + array.size] = array.reshape(-1)
        at += array.size
    if flat.size:
        communicator.sum(flat)
    found: list[list[np.ndarray]] = []
    at = 0
    for of_rank in told:
        arrays = []
        for dtype, *shape in of_rank:
            count = _count(shape)
            arrays.append(flat[at : at + count].reshape(shape).astype(dtype))
            at += count
        found.append(arrays)
    return found


def _count(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


class Agreement:
    """Asks in every round of some work whether any rank wishes to leave it.

    All ranks learn of it in the same round. They speak about every `PERIOD_S` seconds
    only, by how long their rounds take together, so that it costs nothing.
    """

    def __init__(
        self,
        communicator: Communicator,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._communicator, self._clock = communicator, clock
        self._round, self._next, self._last = 0, 1, 0
        self._since = clock()

    def ask(self, *, wish: bool, last: bool = False) -> bool:
        """End a round; say whether all leave now.

        wish: of this rank; it is to be told again in later rounds. last: whether this
        is the last round, of all ranks.
        """
        self._round += 1
        if self._round < self._next and not last:
            return False
        now, ranks = self._clock(), self._communicator.size
        told = np.array([float(wish), now - self._since])
        self._communicator.sum(told)
        rounds = self._round - self._last
        seconds = max(float(told[1]) / ranks / rounds, PERIOD_S / MOST_ROUNDS)
        self._last, self._since = self._round, now
        self._next = self._round + max(1, int(PERIOD_S / seconds))
        return bool(told[0] > 0)
