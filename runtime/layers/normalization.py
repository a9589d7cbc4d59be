"""MVN: subtract a mean, divide by a deviation."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops import Shape
from netspec.ops.base import count
from netspec.ops.normalization import MVN as MvnOp  # noqa: N811
from runtime.arrays import ArraySpec, views
from runtime.layers.base import Kernel, register


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
