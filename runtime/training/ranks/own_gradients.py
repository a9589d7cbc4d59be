"""Whose gradients are not finite: looked at on each rank before they are added up.

A sum over ranks does not tell which of them spoiled it. So each looks at its own
gradients as `Update.finite` looks at those of all: of large arrays that have few
multiply-adds only at the first row and the first column. What it finds
is told where ranks agree on the iteration.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from netspec.graph import Parameter
from runtime.arrays import Array
from runtime.distributed.sending import Sending
from runtime.execution.buckets import Bucket
from runtime.execution.net import Net
from runtime.gradient_looks import edges, macs_of, paid
from runtime.update_rules import LARGE_ARRAY, LARGE_NET


class OwnGradients:
    """A way to add up gradients, and a look at those of this rank before.

    buckets: what is sent, in its order, where that begins amid backward.

    `spoiled` says whether any of the last iteration was not finite.
    """

    def __init__(self, net: Net, sending: Sending, buckets: Sequence[Bucket]) -> None:
        self._net, self._sending = net, sending
        self.spoiled = False
        self._looked = 0  # how many views of this iteration
        self._on_host = net.backend.on_host
        learned = [one for one in net.graph.parameters if one.learn]
        learned = [one for one in learned if one.index in net.flat.slices]
        self._ends = [0]  # of the views that belong to so many buckets
        self._views: list[Array] = []
        if not self._on_host:
            self._views = [net.flat.diff[: net.flat.unlearned]]
            self._norm = net.backend.zeros((), str(net.flat.diff.dtype))
            return
        left = {one.index: one for one in learned}
        every = net.flat.diff.size <= LARGE_NET
        whole = {*left} if every else paid(learned, macs_of(net.graph))

        def views(one: Parameter) -> Iterator[Array]:
            large = net.flat.diff.size if one.index in whole else LARGE_ARRAY
            return edges(one, net.flat, large)

        for bucket in buckets:
            for index in bucket.parameters:
                if index in left:
                    self._views += views(left.pop(index))
            self._ends.append(len(self._views))
        for one in left.values():
            self._views += views(one)

    def begin(self) -> None:
        """Begin an iteration."""
        self.spoiled, self._looked = False, 0
        self._sending.begin()

    def ready(self, count: int) -> None:
        """Look at the first `count` buckets, and let them go."""
        if self._on_host:
            self._look(self._ends[count])
        self._sending.ready(count)

    def wait(self) -> None:
        """Look at the rest; wait until all are added up."""
        if self._on_host:
            self._look(len(self._views))
            self._sending.wait()
            return
        xp, views = self._net.backend.xp, self._views
        for view in views:  # queued on the device, ahead of the sums
            xp.dot(view, view, out=self._norm)
        self._sending.wait()
        self.spoiled = bool(views) and not math.isfinite(float(self._norm))

    def _look(self, end: int) -> None:
        xp, total = self._net.backend.xp, 0.0
        for view in self._views[self._looked : end]:
            total += float(xp.dot(view, view))
        if not math.isfinite(total):
            # The square of a number that is just large is infinite too.
            views = self._views[self._looked : end]
            self.spoiled |= not all(bool(xp.isfinite(view).all()) for view in views)
        self._looked = max(self._looked, end)
