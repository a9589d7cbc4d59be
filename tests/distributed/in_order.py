"""One process that adds gradients in the order in which MPI adds those of ranks."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.distributed import Alone
from runtime.training.passes import at_passes
from runtime.training.ranks.agreeing import Agreed, Told
from runtime.training.ranks.data_parallel import DataParallel


def in_ranks_order(parts: list[np.ndarray]) -> np.ndarray:
    """Return the sum of ranks' arrays as MPICH adds them.

    That is (0 + 1) + 2 for three ranks, and (0 + 1) + (2 + 3) for four.

    Source: measured with MPICH 5.0.2; it is that of recursive doubling, in which ranks
    that no partner is left for are added to their neighbours first.
    """
    largest = 1 << (len(parts).bit_length() - 1)
    rest = len(parts) - largest
    parts = [
        *(parts[2 * r] + parts[2 * r + 1] for r in range(rest)),
        *parts[2 * rest :],
    ]
    while len(parts) > 1:
        parts = [one + two for one, two in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


class InOrder(DataParallel):
    """All ranks of a solver in one process, one after the other.

        solver = runtime.Solver(..., iter_size=ranks * size)
        InOrder.of(solver, ranks)

    The net counts its statistics over all passes, as one process does.
    """

    def __init__(self, net: Any, ranks: int) -> None:
        self._net, self.ranks, self.rank = net, ranks, 0
        self.communicator = Alone()
        self._losses: list[float] = []

    total = staticmethod(in_ranks_order)

    @classmethod
    def of(cls, solver: Any, ranks: int) -> None:
        """Let a solver alone do what so many ranks would."""
        solver._together = cls(solver.net, ranks)

    def gradients(self, first: int, size: int) -> float:
        """Sum up each rank's gradients, and then those of all."""
        net, diff = self._net, self._net.parameters.flat.diff
        parts = []
        self._losses = []
        per_rank = size // self.ranks
        for rank in range(self.ranks):
            loss = 0.0
            for index in range(per_rank):
                with at_passes(net, first + index * self.ranks + rank):
                    net.forward_backward(accumulate=index > 0)
                loss += net.loss()
            parts.append(diff.copy())
            self._losses.append(loss)
        diff[...] = self.total(parts)
        return 0.0

    def first_pass(self, iteration: int, size: int) -> int:
        """Return the number of the first pass; `size` is that of all ranks."""
        return iteration * size

    def passes(self, size: int) -> int:
        """Return `size`, which is that of all ranks."""
        return size

    def exchange(self, told: Told) -> Agreed:
        """Return what the ranks would tell."""
        losses = self._losses or [0.0] * self.ranks
        return Agreed([Told(loss, told.wishes, told.lr, told.end) for loss in losses])
