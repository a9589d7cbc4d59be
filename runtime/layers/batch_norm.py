"""BatchNorm and BN: every channel minus its mean, by its deviation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from netspec.graph import Node
from netspec.ops import Shape
from netspec.ops.base import count
from netspec.ops.batch_norm import BN as BnOp  # noqa: N811
from netspec.ops.batch_norm import BatchNorm as BatchNormOp
from netspec.ops.batch_norm import ChannelNorm
from netspec.schema import TRAIN
from runtime.arrays import Array, ArraySpec, once, views
from runtime.layers._windows import blocks
from runtime.layers.base import Context, Kernel, register


class NormKernel(Kernel):
    """Normalize every channel, then multiply and add what is learned, if anything is.

        normal = (x - mean) / sqrt(var + eps);  y = gamma normal + beta
        dnormal = gamma dy;  dgamma = sum of dy normal;  dbeta = sum of dy
        dx = (dnormal - mean(dnormal) - normal mean(dnormal normal)) / sqrt(var + eps)
             by statistics of the batch
        dx = dnormal / sqrt(var + eps)     by stored ones

    Means are over the batch and the pixels of a channel. By statistics of the batch,
    where the layer remembers them, m values each, every forward also changes those that
    are stored (the variance times m / (m - 1) where the op says `unbiased`):

        stored = keep stored + share measured

    Where they are sums that are divided by a weight, that is weight = keep weight + 1.
    """

    op: BatchNormOp | BnOp

    @property
    def _shape(self) -> Shape:
        x = self.op.bottoms[0]
        return (x[0], self.op.channels, count(x, 2))

    @property
    def _keeps(self) -> bool:
        """Whether the normalized values have an array of their own."""
        gamma = self.op.slots.gamma
        learns = gamma is not None and self.node.learn[gamma]
        return self.op.statistics == "batch" or bool(learns)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for what the gradient needs, and for statistics."""
        n, c, inner = self._shape
        images = max(1, self.backend.block_elements // max(1, c * inner))
        self._taken = blocks(n, images)
        at_once = max((at.stop - at.start for at in self._taken), default=0)
        specs = {
            "inverse": ArraySpec((c,), life="saved"),
            "mean": ArraySpec((c,)),
            "spread": ArraySpec((c,)),
            "sums": self.backend.dot_scratch(self._shape),
            "block": ArraySpec((at_once, c, inner)),
        }
        if self.op.statistics == "stored" and self.op.slots.weight is not None:
            specs["flag"] = ArraySpec((1,), "bool")
            specs["factor"] = ArraySpec((1,))
            specs["divisor"] = ArraySpec((1,))
        if self._keeps:
            specs["normal"] = ArraySpec(self._shape, life="saved")
        return specs

    def setup(self) -> None:
        """View everything as (N, C, pixels) and cut it into blocks of images."""
        shape, work, slots = self._shape, self.work, self.op.slots
        self._x, self._y = views(shape, self.x, self.y)
        self._values = shape[0] * shape[2]
        self._mean, self._spread, self._inverse = (
            work[name][:, None] for name in ("mean", "spread", "inverse")
        )
        self._gamma, self._beta = self._flat(slots.gamma), self._flat(slots.beta)
        self._stored_mean = self._flat(slots.mean)
        self._stored_variance = self._flat(slots.variance)
        self._normal = work["normal"] if self._keeps else self._y
        self._forward = [
            once(itemgetter(at), self._x, self._normal) for at in self._taken
        ]
        self._backward = []
        self._dx, self._dy = views(shape, self.dx, self.dtops[0])
        if self.dx is not None:
            self._backward = [
                (
                    *once(itemgetter(at), self._dx, self._dy, self._normal),
                    work["block"][: at.stop - at.start],
                )
                for at in self._taken
            ]

    def _flat(self, slot: int | None) -> Array | None:
        return None if slot is None else self.params[slot].reshape(-1)

    def forward(self) -> None:
        """Compute y, and update what is stored."""
        statistics = self.op.statistics
        xp, inverse = self.xp, self.work["inverse"]
        if statistics == "none":
            if self._normal is not self._y:
                xp.copyto(self._normal, self._x)
            inverse.fill(1)
            self._finish(self._x)
            return
        if statistics == "stored":
            self._remember()
        else:
            self._measure()
        xp.add(inverse, self.op.eps, out=inverse)
        xp.sqrt(inverse, out=inverse)
        xp.divide(1, inverse, out=inverse)
        for x, normal in self._forward:
            if statistics == "stored":
                xp.subtract(x, self._mean, out=normal)
            xp.multiply(normal, self._inverse, out=normal)
        self._finish(self._normal)

    def _finish(self, normal: Array) -> None:
        """Write y from the normalized values."""
        xp, y = self.xp, self._y
        if self._gamma is not None:
            xp.multiply(normal, self._gamma[:, None], out=y)
            normal = y
        if self._beta is not None:
            xp.add(normal, self._beta[:, None], out=y)
            normal = y
        if normal is not y:
            xp.copyto(y, normal)

    def _remember(self) -> None:
        """Take mean and variance (into `inverse`) from the parameters."""
        xp, work, slot = self.xp, self.work, self.op.slots.weight
        if slot is None:
            xp.copyto(work["mean"], self._stored_mean)
            xp.copyto(work["inverse"], self._stored_variance)
            return
        factor, divisor, weight = work["factor"], work["divisor"], self.params[slot]
        xp.not_equal(weight, 0, out=work["flag"])
        xp.copyto(factor, work["flag"])
        xp.subtract(1, factor, out=divisor)
        xp.add(divisor, weight, out=divisor)  # never 0
        xp.divide(factor, divisor, out=factor)
        xp.multiply(self._stored_mean, factor, out=work["mean"])
        xp.multiply(self._stored_variance, factor, out=work["inverse"])

    def _measure(self) -> None:
        """Write x - mean into `normal`, the variance into `inverse`; keep them."""
        xp, work, backend, op = self.xp, self.work, self.backend, self.op
        mean, inverse = work["mean"], work["inverse"]
        backend.channel_sum(self._x, mean, work["sums"])
        xp.divide(mean, self._values, out=mean)
        for x, normal in self._forward:
            xp.subtract(x, self._mean, out=normal)
        backend.channel_dot(self._normal, self._normal, inverse, work["sums"])
        xp.divide(inverse, self._values, out=inverse)
        self._show()
        if op.remembers and not self.again:
            m = self._values
            self._store(m / (m - 1) if op.unbiased and m > 1 else 1.0)

    def _show(self) -> None:
        """Copy mean and variance to the tops that are for them."""
        statistics = self.work["mean"], self.work["inverse"]
        for top, statistic in zip(self.tops[1:], statistics, strict=False):
            self.xp.copyto(top.reshape(-1), statistic)

    def _store(self, correction: float) -> None:
        """Let what is stored follow mean and variance, the latter corrected."""
        xp, work, op = self.xp, self.work, self.op
        stored = (
            (self._stored_mean, work["mean"], op.share),
            (self._stored_variance, work["inverse"], op.share * correction),
        )
        for blob, statistic, share in stored:
            xp.multiply(statistic, share, out=work["spread"])
            xp.multiply(blob, op.keep, out=blob)
            xp.add(blob, work["spread"], out=blob)
        if op.slots.weight is not None:
            weight = self.params[op.slots.weight]
            xp.multiply(weight, op.keep, out=weight)
            xp.add(weight, 1, out=weight)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients; dx last, as it may be written over dy."""
        xp, work = self.xp, self.work
        self._learn(accumulate)
        if self.dx is None:
            return
        if self.op.statistics == "batch":
            self._average()
            for dx, dy, normal, part in self._backward:
                xp.multiply(normal, self._spread, out=part)
                xp.subtract(dy, part, out=dx)
                xp.subtract(dx, self._mean, out=dx)
        factor, dy = self._inverse, self._dy
        if self._gamma is not None:
            xp.multiply(work["inverse"], self._gamma, out=work["spread"])
            factor = self._spread
        if self.op.statistics == "batch":
            dy = self._dx
        xp.multiply(dy, factor, out=self._dx)

    def _average(self) -> None:
        """Compute the means of dy, and of dy times what was normalized."""
        xp, work, backend = self.xp, self.work, self.backend
        backend.channel_sum(self._dy, work["mean"], work["sums"])
        xp.divide(work["mean"], self._values, out=work["mean"])
        backend.channel_dot(self._dy, self._normal, work["spread"], work["sums"])
        xp.divide(work["spread"], self._values, out=work["spread"])

    def _learn(self, accumulate: Sequence[bool]) -> None:
        """Compute the gradients of factor and bias."""
        backend, sums = self.backend, self.work["sums"]
        for slot in self.op.learned_params:
            gradient, add = self.dparams[slot], accumulate[slot]
            if gradient is None:
                continue
            out = gradient.reshape(-1)
            if slot == self.op.slots.beta:
                backend.channel_sum(self._dy, out, sums, accumulate=add)
            else:
                backend.channel_dot(self._dy, self._normal, out, sums, accumulate=add)


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


@register
class BatchNorm(NormKernel):
    """Normalize every channel, by its own statistics or by remembered ones.

        y = (x - mean) / sqrt(var + eps)

    By its own statistics, every forward also updates the parameters, sums that fade
    with f, the moving average fraction, where m values make a mean:

        b2 = f b2 + 1;  b0 = f b0 + mean;  b1 = f b1 + var m / (m - 1)

    The remembered mean and variance are b0 / b2 and b1 / b2, or 0 where b2 is 0. One of
    NVCaffe's or Intel's has b3 and b4 too: y = b3 normal + b4. See `NormKernel`.

    Shapes: x (N, C, ...) -> y (same), b2 (1,), others (C,); x (N,) is one channel.
    Source: Ioffe, Szegedy, Batch normalization, 2015, arXiv:1502.03167.
    """

    types = ("BatchNorm",)


@register
class BN(NormKernel):
    """Normalize every channel, multiply and add, as PSPNet's, SegNet's or others' BN.

        y = slope (x - mean) / sqrt(var + eps) + bias

    By statistics of the batch, PSPNet's parameters follow them with momentum m:

        mean = m mean + (1 - m) mean of the batch
        var = m var + (1 - m) var of the batch

    See `netspec.ops.batch_norm.BN` for the forms, and `NormKernel` for gradients.

    Shapes: x (N, C, ...) -> y (same), parameters (1, C, 1, 1).
    """

    types = ("BN",)
