"""Iterations that several ranks make together: the gradients of all, added up.

Rank r of N runs the passes (k I + i) N + r of iteration k, with i from 0 to I - 1 for
`iter_size` I. One iteration of N ranks is what one process does with `iter_size` I N.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from runtime.distributed import Communicator
from runtime.distributed.communicator import Request
from runtime.execution.mirror import Kind, Steps
from runtime.execution.net import Net
from runtime.training.passes import at_passes

POLL_S = 0.0002  # between looks at a sum; each look moves a piece of it
LOOKS = 20  # without a pause before the first

_GRADIENTS = frozenset({Kind.WEIGHT_DIFF})
SUMS = Steps(reads=_GRADIENTS, changes=_GRADIENTS)


def several(communicator: Any) -> Communicator | None:
    """Return a communicator of more than one rank, or None."""
    return communicator if communicator and communicator.size > 1 else None


def ranks_of(communicator: Communicator | None) -> int:
    """Return how many ranks there are: 1 without a communicator."""
    return 1 if communicator is None else communicator.size


class DataParallel:
    """The share that this rank has in the iterations of a net."""

    def __init__(self, net: Net, communicator: Communicator) -> None:
        self._net, self._communicator = net, communicator

    def mean_gradients(self, iteration: int, size: int) -> float:
        """Sum up the gradients of `size` batches of each rank; return the mean loss.

        The losses of all ranks are added in their order, so that all have the same.
        """
        net, ranks = self._net, self._communicator.size
        losses = np.zeros(ranks)
        for index in range(size):
            number = (iteration * size + index) * ranks + self._communicator.rank
            with at_passes(net, number):
                net.forward_backward(accumulate=index > 0)
            losses[self._communicator.rank] += net.loss()
        self._add_up()
        self._communicator.sum(losses)
        return float(sum(losses.tolist())) / (size * ranks)

    def _add_up(self) -> None:
        """Add up the gradients of all ranks, in place."""
        net, flat = self._net, self._net.parameters.flat
        net.mirror.before_steps(SUMS, again=True)
        if flat.unlearned:
            wait(self._communicator.start_sum(flat.diff[: flat.unlearned]))
        net.mirror.after_steps()


def wait(request: Request) -> None:
    """Wait for a sum without spinning, and with an ear for signals."""
    for _ in range(LOOKS):
        if request.done():
            return
    while not request.done():
        time.sleep(POLL_S)
