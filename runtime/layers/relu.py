"""ReLU, also leaky."""

from __future__ import annotations

from netspec.ops.relu import ReLU as ReLUOp
from runtime.arrays import Array, ArraySpec
from runtime.layers._gradient import OneGradient
from runtime.layers.base import register


@register
class ReLU(OneGradient[ReLUOp]):
    """Keep what is positive, scale the rest.

        y = max(x, 0) + negative_slope * min(x, 0)
        dx = dy where x > 0, else negative_slope * dy

    The gradient looks at y, which has the sign of x for negative_slope >= 0, so the
    layer may run in place. At exactly 0 the negative side counts, as in Caffe.

    Shapes: x (any) -> y (same).
    """

    types = ("ReLU",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the negative part, or for the mask where that part is dropped."""
        if self.op.negative_slope == 0:
            return {"positive": ArraySpec(self.op.tops[0], "bool")}
        return {"part": ArraySpec(self.op.tops[0])}

    def forward(self) -> None:
        """Compute y."""
        xp, slope = self.xp, self.op.negative_slope
        if slope != 0:
            part = xp.minimum(self.x, 0, out=self.work["part"])
            xp.multiply(part, slope, out=part)
        xp.maximum(self.x, 0, out=self.y)
        if slope != 0:
            xp.add(self.y, part, out=self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp, slope = self.xp, self.op.negative_slope
        sign_of_x = self.y if self.op.keeps_sign else self.x
        if slope == 0:
            positive = xp.greater(sign_of_x, 0, out=self.work["positive"])
            xp.multiply(self.dy, positive, out=dx)
            return
        part = xp.sign(sign_of_x, out=self.work["part"])
        xp.maximum(part, 0, out=part)  # 1 where x > 0, else 0
        xp.multiply(part, 1 - slope, out=part)
        xp.add(part, slope, out=part)
        xp.multiply(self.dy, part, out=dx)
