"""What ranks agree on: in every iteration, and in long work without iterations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from netspec.errors import SpecError
from runtime.distributed import Communicator

# What a rank tells all others in one number.
STOP, INTERRUPT, SNAPSHOT, UNSAVED, LISTENS, MEET, SPOILED = (1 << b for b in range(7))

PERIOD_S = 0.2  # about so long a wish waits until all know of it
MOST_ROUNDS = 1024  # without asking


@dataclass(frozen=True)
class Told:
    """What a rank tells the others of an iteration.

    loss: the sum of its passes. wishes: bits such as `STOP`. lr: its learning rate.
    end: the iteration up to which it trains.
    """

    loss: float
    wishes: int
    lr: float
    end: int


@dataclass(frozen=True)
class Agreed:
    """What all ranks told, in their order."""

    told: Sequence[Told]

    @property
    def loss(self) -> float:
        """The sum of all losses, with the same bits on all ranks."""
        return float(sum(one.loss for one in self.told))

    @property
    def wishes(self) -> int:
        """What anybody wishes."""
        found = 0
        for one in self.told:
            found |= one.wishes
        return found

    @property
    def bad_rank(self) -> int | None:
        """The first rank whose loss is not finite."""
        bad = (r for r, one in enumerate(self.told) if not math.isfinite(one.loss))
        return next(bad, None)

    @property
    def spoiling_rank(self) -> int | None:
        """The first rank whose own gradients are not finite."""
        bad = (r for r, one in enumerate(self.told) if one.wishes & SPOILED)
        return next(bad, None)

    def check(self, iteration: int) -> None:
        """Refuse ranks that go on otherwise than rank 0.

        Raises `SpecError`, on all ranks.
        """
        first = self.told[0]
        for rank, one in enumerate(self.told):
            if one.end != first.end:
                raise SpecError(
                    f"rank {rank} is to train up to iteration {one.end}, and rank 0 up "
                    f"to {first.end}; call step, solve and end_at alike on all ranks"
                )
            if one.lr != first.lr:
                raise SpecError(
                    f"the learning rate of iteration {iteration} is {one.lr:.9g} on "
                    f"rank {rank} and {first.lr:.9g} on rank 0; change it on all ranks "
                    f"alike"
                )


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
