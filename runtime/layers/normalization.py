"""BatchNorm and MVN: subtract a mean, divide by a deviation."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from netspec.ops import Shape
from netspec.ops.base import count
from netspec.ops.normalization import MVN as MvnOp  # noqa: N811
from netspec.ops.normalization import BatchNorm as BatchNormOp
from runtime.arrays import ArraySpec, once, views
from runtime.layers._windows import blocks
from runtime.layers.base import Kernel, register


@register
class BatchNorm(Kernel[BatchNormOp]):
    """Normalize every channel, by its own statistics or by remembered ones.

        y = (x - mean) / sqrt(var + eps)
        dx = (dy - mean(dy) - y mean(dy y)) / sqrt(var + eps)   by its own
        dx = dy / sqrt(var + eps)                               by remembered ones

    Means are over the batch and the pixels of a channel. By its own statistics, every
    forward also updates the parameters, sums that fade with f, the moving average
    fraction, where m values make a mean:

        b2 = f b2 + 1;  b0 = f b0 + mean;  b1 = f b1 + var m / (m - 1)

    The remembered mean and variance are b0 / b2 and b1 / b2, or 0 where b2 is 0.

    Shapes: x (N, C, ...) -> y (same), b0 and b1 (C,), b2 (1,); x (N,) is one channel.
    Source: Ioffe, Szegedy, Batch normalization, 2015, arXiv:1502.03167.
    """

    types = ("BatchNorm",)

    @property
    def _shape(self) -> Shape:
        x = self.op.bottoms[0]
        return (x[0], self.op.channels, count(x, 2))

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
        if self.op.use_global_stats:
            specs["flag"] = ArraySpec((1,), "bool")
            specs["factor"] = ArraySpec((1,))
            specs["divisor"] = ArraySpec((1,))
        else:
            specs["normal"] = ArraySpec(self._shape, life="saved")
        return specs

    def setup(self) -> None:
        """View everything as (N, C, pixels) and cut it into blocks of images."""
        shape, work = self._shape, self.work
        self._x, self._y = views(shape, self.x, self.y)
        self._values = shape[0] * shape[2]
        self._mean, self._spread, self._inverse = (
            work[name][:, None] for name in ("mean", "spread", "inverse")
        )
        self._normal = self._y if self.op.use_global_stats else work["normal"]
        self._forward = [
            once(itemgetter(at), self._x, self._normal) for at in self._taken
        ]
        self._backward = []
        if self.dx is not None:
            self._dx, self._dy = views(shape, self.dx, self.dy)
            self._backward = [
                (
                    *once(itemgetter(at), self._dx, self._dy, self._normal),
                    work["block"][: at.stop - at.start],
                )
                for at in self._taken
            ]

    def forward(self) -> None:
        """Compute y, and update the sums."""
        if self.op.use_global_stats:
            self._remember()
        else:
            self._measure()
        xp, inverse = self.xp, self.work["inverse"]
        xp.add(inverse, self.op.eps, out=inverse)
        xp.sqrt(inverse, out=inverse)
        xp.divide(1, inverse, out=inverse)
        for x, normal in self._forward:
            if self.op.use_global_stats:
                xp.subtract(x, self._mean, out=normal)
            xp.multiply(normal, self._inverse, out=normal)
        if not self.op.use_global_stats:
            xp.copyto(self._y, self._normal)

    def _remember(self) -> None:
        """Take mean and variance (into `inverse`) from the parameters."""
        xp, work = self.xp, self.work
        means, variances, weight = self.params
        factor, divisor = work["factor"], work["divisor"]
        xp.not_equal(weight, 0, out=work["flag"])
        xp.copyto(factor, work["flag"])
        xp.subtract(1, factor, out=divisor)
        xp.add(divisor, weight, out=divisor)  # never 0
        xp.divide(factor, divisor, out=factor)
        xp.multiply(means, factor, out=work["mean"])
        xp.multiply(variances, factor, out=work["inverse"])

    def _measure(self) -> None:
        """Write x - mean into `normal`, the variance into `inverse`; update sums."""
        xp, work, backend = self.xp, self.work, self.backend
        mean, inverse = work["mean"], work["inverse"]
        backend.channel_sum(self._x, mean, work["sums"])
        xp.divide(mean, self._values, out=mean)
        for x, normal in self._forward:
            xp.subtract(x, self._mean, out=normal)
        backend.channel_dot(self._normal, self._normal, inverse, work["sums"])
        xp.divide(inverse, self._values, out=inverse)
        fraction = self.op.moving_average_fraction
        m = self._values
        sums = ((mean, 1.0), (inverse, m / (m - 1) if m > 1 else 1.0))
        for blob, (statistic, correction) in zip(self.params, sums, strict=False):
            xp.multiply(statistic, correction, out=work["spread"])
            xp.multiply(blob, fraction, out=blob)
            xp.add(blob, work["spread"], out=blob)
        xp.multiply(self.params[2], fraction, out=self.params[2])
        xp.add(self.params[2], 1, out=self.params[2])

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute dx."""
        xp, work = self.xp, self.work
        if self.op.use_global_stats:
            for dx, dy, _, _ in self._backward:
                xp.multiply(dy, self._inverse, out=dx)
            return
        if self.dx is None:
            return
        self.backend.channel_sum(self._dy, work["mean"], work["sums"])
        xp.divide(work["mean"], self._values, out=work["mean"])
        self.backend.channel_dot(self._dy, self._normal, work["spread"], work["sums"])
        xp.divide(work["spread"], self._values, out=work["spread"])
        for dx, dy, normal, part in self._backward:
            xp.multiply(normal, self._spread, out=part)
            xp.subtract(dy, part, out=dx)
            xp.subtract(dx, self._mean, out=dx)
            xp.multiply(dx, self._inverse, out=dx)


@register
class MVN(Kernel[MvnOp]):
    """Normalize every plane, or every item, to mean 0 and deviation 1.

        y = (x - mean) / (sqrt(var) + eps)
        dx = (dy - mean(dy) - y mean(dy y)) / (sqrt(var) + eps)

    Without `normalize_variance` only the mean is taken away. eps stands outside the
    root, and the gradient takes it for 0, as in Caffe.

    Shapes: x (N, C, H, W) -> y (same); means over (H, W), or (C, H, W) with
    `across_channels`.
    """

    types = ("MVN",)

    @property
    def _shape(self) -> Shape:
        top = self.op.tops[0]
        axis = 1 if self.op.across_channels else 2
        return (1, count(top, 0, axis), count(top, axis))

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for y, its divisor, and room for sums."""
        shape = self._shape
        return {
            "normal": ArraySpec(shape, life="saved"),
            "inverse": ArraySpec((shape[1],), life="saved"),
            "mean": ArraySpec((shape[1],)),
            "spread": ArraySpec((shape[1],)),
            "sums": self.backend.dot_scratch(shape),
            "product": ArraySpec(shape),
        }

    def setup(self) -> None:
        """View everything as rows, one for each mean."""
        shape, work = self._shape, self.work
        self._x, self._y = views(shape, self.x, self.y)
        self._mean, self._spread, self._inverse = (
            work[name][:, None] for name in ("mean", "spread", "inverse")
        )
        if self.dx is not None:
            self._dx, self._dy = views(shape, self.dx, self.dy)

    def forward(self) -> None:
        """Compute y."""
        xp, work, backend = self.xp, self.work, self.backend
        normal, inverse = work["normal"], work["inverse"]
        size = self._shape[2]
        backend.channel_sum(self._x, work["mean"], work["sums"])
        xp.divide(work["mean"], size, out=work["mean"])
        xp.subtract(self._x, self._mean, out=normal)
        if self.op.normalize_variance:
            backend.channel_dot(normal, normal, inverse, work["sums"])
            xp.divide(inverse, size, out=inverse)
            xp.sqrt(inverse, out=inverse)
            xp.add(inverse, self.op.eps, out=inverse)
            xp.divide(1, inverse, out=inverse)
            xp.multiply(normal, self._inverse, out=normal)
        xp.copyto(self._y, normal)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute dx."""
        if self.dx is None:
            return
        xp, work, backend = self.xp, self.work, self.backend
        size = self._shape[2]
        backend.channel_sum(self._dy, work["mean"], work["sums"])
        xp.divide(work["mean"], size, out=work["mean"])
        if not self.op.normalize_variance:
            xp.subtract(self._dy, self._mean, out=self._dx)
            return
        product = work["product"]
        backend.channel_dot(self._dy, work["normal"], work["spread"], work["sums"])
        xp.divide(work["spread"], size, out=work["spread"])
        xp.multiply(work["normal"], self._spread, out=product)
        xp.subtract(self._dy, product, out=self._dx)
        xp.subtract(self._dx, self._mean, out=self._dx)
        xp.multiply(self._dx, self._inverse, out=self._dx)
