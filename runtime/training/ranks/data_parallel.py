"""Iterations that several ranks make together: the gradients of all, added up.

Rank r of N runs the passes (k I + i) N + r of iteration k, with i from 0 to I - 1 for
`iter_size` I. One iteration of N ranks is what one process does with `iter_size` I N.

Gradients go to the other ranks while the last pass backward of an iteration computes
the rest of them: see `runtime/execution/buckets.py`, `runtime/distributed/sending.py`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from runtime.distributed import Communicator
from runtime.distributed.sending import SendAfter, SendBeside, Sending
from runtime.execution.buckets import BUCKET_BYTES, buckets_of
from runtime.execution.mirror import Kind, Steps
from runtime.execution.net import Net
from runtime.training.passes import at_passes
from runtime.training.ranks.agreeing import SPOILED, Agreed, Told
from runtime.training.ranks.own_gradients import OwnGradients

_GRADIENTS = frozenset({Kind.WEIGHT_DIFF})
SUMS = Steps(reads=_GRADIENTS, changes=_GRADIENTS)


class DataParallel:
    """The share that this rank has in the iterations of a net."""

    bucket_bytes: ClassVar[int] = BUCKET_BYTES

    def __init__(self, net: Net, communicator: Communicator) -> None:
        self._net, self.communicator = net, communicator
        self.rank, self.ranks = communicator.rank, communicator.size
        net.take_every(self.ranks, self.rank)
        self._own = self._make_sending()
        self.sending: Sending = self._own

    def _make_sending(self) -> OwnGradients:
        net, flat = self._net, self._net.parameters.flat
        buckets = buckets_of(net.graph, flat, self.bucket_bytes)
        on_host = net.backend.on_host
        self._shared = self.communicator.share(flat.memory) if on_host else None
        # To add up in memory is work of the processors that compute backward.
        beside = on_host and (self._shared is None or not self._shared.whole)
        if not beside or len(buckets) < 2:
            learned = flat.diff[: flat.unlearned]
            after = SendAfter(self.communicator, [learned] if flat.unlearned else [])
            return OwnGradients(net, after, ())
        arrays = [flat.diff[one.start : one.stop] for one in buckets]
        sending = OwnGradients(net, SendBeside(self.communicator, arrays), buckets)
        net.tell_of(buckets, sending.ready)
        return sending

    def first_pass(self, iteration: int, size: int) -> int:
        """Return the number of the first of `size` passes of an iteration."""
        return iteration * size * self.ranks + self.rank

    def passes(self, size: int) -> int:
        """Return how many passes of all ranks are an iteration of `size` on each."""
        return size * self.ranks

    def gradients(self, first: int, size: int) -> float:
        """Add up the gradients of `size` passes of each rank; return the own losses.

        first: the number of the first one; the next follow in steps of all ranks.
        """
        net, loss = self._net, 0.0
        with at_passes(net, first):
            for index in range(size):
                if index == size - 1:
                    self.sending.begin()
                net.forward_backward(accumulate=index > 0)
                loss += net.loss()
        net.mirror.before_steps(SUMS, again=True)
        self.sending.wait()
        net.mirror.after_steps()
        return loss

    def exchange(self, told: Told) -> Agreed:
        """Tell all other ranks, and return what all tell."""
        table = np.zeros((self.ranks, 4))
        wishes = told.wishes | SPOILED * self._own.spoiled
        table[self.rank] = told.loss, wishes, told.lr, told.end
        self.communicator.sum(table)
        rows = table.tolist()
        return Agreed([Told(loss, int(w), lr, int(end)) for loss, w, lr, end in rows])
