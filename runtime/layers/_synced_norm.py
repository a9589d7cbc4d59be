"""BatchNorm and BN by the statistics of the batches that all ranks have at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from netspec.graph import Node
from netspec.ops.batch_norm import ChannelNorm
from netspec.schema import TRAIN
from runtime.arrays import Array, ArraySpec
from runtime.layers.base import Context
from runtime.layers.batch_norm import NormKernel


def is_synced(node: Node, context: Context) -> bool:
    """Whether a node takes its statistics over all ranks: where it trains by batches.

    In tests a rank has its own batches, whose number may differ from the others'.
    """
    op = node.op
    if context.ranks is None or context.ranks.size == 1 or node.phase != TRAIN:
        return False
    return isinstance(op, ChannelNorm) and op.statistics == "batch"


class SyncedNorm(NormKernel):
    """Normalize every channel by the statistics of all ranks' batches.

        n = sum of m;  mean = (sum of x) / n;  var = (sum of x^2) / n - mean^2
        dx = (dnormal - (sum of dnormal) / n - normal (sum of dnormal normal) / n)
             / sqrt(var + eps)

    The sums go over the m values of a channel of every rank, in float64: what squares
    lose there is less than float32 loses of x itself. A pass forward sends 2 C + 1
    numbers, one backward 2 C, in the midst of the pass: all ranks run the same passes
    together. Gradients of factor and bias are a rank's own, to be added up as all
    others are. So N ranks do what one process does with batches N times as large; what
    is stored fades once a pass, and is the same on all of them.

    A pass that runs the layer again sends nothing: it uses the statistics that it had.
    """

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for statistics that stay until the gradient, and for exact sums."""
        specs = super().arrays()
        c = (self.op.channels,)
        wide = specs["block"].shape
        return specs | {
            "all_mean": ArraySpec(c, life="state"),
            "all_variance": ArraySpec(c, life="state"),
            "count": ArraySpec((1,), "float64", life="state"),
            "totals": ArraySpec((2 * c[0] + 1,), "float64"),
            "part": ArraySpec(c, "float64"),
            "wide": ArraySpec(wide, "float64"),
        }

    def setup(self) -> None:
        """Cut the sums into those of values and of products."""
        super().setup()
        c, totals = self.op.channels, self.work["totals"]
        self._sums, self._products, self._count = totals[:c], totals[c:-1], totals[-1:]
        self._host = totals if self.backend.on_host else np.empty(2 * c + 1)
        self._wide = [self.work["wide"][: at.stop - at.start] for at in self._taken]
        self._gradients = [(dy, normal) for _, dy, normal, _ in self._backward]

    def _measure(self) -> None:
        """Write x - mean into `normal`, the variance into `inverse`; keep them."""
        xp, work = self.xp, self.work
        if not self.again:
            self._total(self._forward, squares=True)
            self._add_up(self._host)
            self._settle()
        xp.copyto(work["mean"], work["all_mean"])
        xp.copyto(work["inverse"], work["all_variance"])
        for x, normal in self._forward:
            xp.subtract(x, self._mean, out=normal)
        self._show()
        if self.op.remembers and not self.again:
            n = float(self._host[-1])
            self._store(n / (n - 1) if self.op.unbiased and n > 1 else 1.0)

    def _total(self, pairs: Iterable[Sequence[Array]], *, squares: bool) -> None:
        """Sum the first of each pair, and its squares or products with the second."""
        xp, totals, part = self.xp, self.work["totals"], self.work["part"]
        totals.fill(0)
        totals[-1:].fill(self._values)
        for (first, second), wide in zip(pairs, self._wide, strict=True):
            xp.copyto(wide, first)
            xp.sum(wide, axis=(0, 2), out=part)
            xp.add(self._sums, part, out=self._sums)
            xp.multiply(wide, wide if squares else second, out=wide)
            xp.sum(wide, axis=(0, 2), out=part)
            xp.add(self._products, part, out=self._products)

    def _add_up(self, sent: np.ndarray) -> None:
        """Let the sums be those of all ranks; sent: what of `_host` they are."""
        ranks: Any = self.context.ranks
        totals, backend = self.work["totals"], self.backend
        if not backend.on_host:
            backend.download(totals, out=self._host)
        ranks.sum(sent)
        if not backend.on_host:
            backend.upload(self._host, out=totals)

    def _settle(self) -> None:
        """Compute mean and variance, which stay until the gradient."""
        xp, work = self.xp, self.work
        xp.copyto(work["count"], self._count)
        xp.divide(self._sums, self._count, out=self._sums)
        xp.divide(self._products, self._count, out=self._products)
        xp.multiply(self._sums, self._sums, out=work["part"])
        xp.subtract(self._products, work["part"], out=self._products)
        xp.maximum(self._products, 0, out=self._products)
        xp.copyto(work["all_mean"], self._sums)
        xp.copyto(work["all_variance"], self._products)

    def _average(self) -> None:
        """Compute the means of dy, and of dy times what was normalized."""
        xp, work = self.xp, self.work
        self._total(self._gradients, squares=False)
        self._add_up(self._host[:-1])
        xp.divide(self._sums, work["count"], out=self._sums)
        xp.divide(self._products, work["count"], out=self._products)
        xp.copyto(work["mean"], self._sums)
        xp.copyto(work["spread"], self._products)
