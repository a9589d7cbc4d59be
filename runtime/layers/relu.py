"""ReLU, also leaky."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops.relu import ReLU as ReLUOp
from runtime.layers.base import ArraySpec, Kernel, register


@register
class ReLU(Kernel[ReLUOp]):
    """Keep what is positive, scale the rest.

        y = max(x, 0) + negative_slope * min(x, 0)
        dx = dy where y > 0, else negative_slope * dy

    The gradient looks at y, which is the same for negative_slope >= 0, so the layer may
    run in place. At exactly 0 the negative side counts, as in Caffe.

    Shapes: x (any) -> y (same).
    """

    types = ("ReLU",)

    def arrays(self) -> dict[str, ArraySpec]:
        """A mask of what is positive, for the gradient."""
        return {"negative": ArraySpec(self.op.tops[0], "bool")}

    def forward(self) -> None:
        """Compute y."""
        xp, slope = self.xp, self.op.negative_slope
        if slope == 0:
            xp.maximum(self.x, 0, out=self.y)
            return
        negative = xp.less_equal(self.x, 0, out=self.work["negative"])
        if self.y is not self.x:
            self.y[...] = self.x
        xp.multiply(self.y, slope, out=self.y, where=negative)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute dx."""
        xp = self.xp
        if self.dx is None:
            return
        positive = xp.greater(self.y, 0, out=self.work["negative"])
        if self.op.negative_slope == 0:
            xp.multiply(self.dy, positive, out=self.dx)
            return
        xp.logical_not(positive, out=positive)
        if self.dx is not self.dy:
            self.dx[...] = self.dy
        xp.multiply(self.dx, self.op.negative_slope, out=self.dx, where=positive)
