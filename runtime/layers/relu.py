"""ReLU, also leaky, and ReLU6."""

from __future__ import annotations

from netspec.ops.relu import ReLU as ReLUOp
from netspec.ops.relu import ReLU6 as ReLU6Op
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
        part = xp.greater(sign_of_x, 0, out=self.work["part"])  # 1 or 0, for NaN too
        xp.multiply(part, 1 - slope, out=part)
        xp.add(part, slope, out=part)
        xp.multiply(self.dy, part, out=dx)


@register
class ReLU6(OneGradient[ReLU6Op]):
    """Keep what is between 0 and n; more is n, which is 6 in ReLU6.

        y = min(max(x, 0) + negative_slope min(x, 0), n)
        dx = dy where 0 < x < n, negative_slope dy where x <= 0, else 0

    The gradient looks at y, so the layer may run in place.

    Shapes: x (any) -> y (same).
    Source: Krizhevsky, Convolutional deep belief networks on CIFAR-10, 2010.
    """

    types = ("ReLU6", "ReLUX")

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for a mask, and for what is negative where that counts."""
        shape = self.op.tops[0]
        specs = {"mask": ArraySpec(shape, "bool")}
        if self.op.negative_slope != 0:
            specs["part"] = ArraySpec(shape)
        return specs

    def forward(self) -> None:
        """Compute y."""
        xp, slope = self.xp, self.op.negative_slope
        if slope != 0:
            part = xp.minimum(self.x, 0, out=self.work["part"])
            xp.multiply(part, slope, out=part)
        xp.maximum(self.x, 0, out=self.y)
        xp.minimum(self.y, self.op.n, out=self.y)
        if slope != 0:
            xp.add(self.y, part, out=self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp, mask, slope = self.xp, self.work["mask"], self.op.negative_slope
        if slope != 0:
            negative = xp.less_equal(self.y, 0, out=mask)
            part = xp.multiply(self.dy, negative, out=self.work["part"])
            xp.multiply(part, slope, out=part)
        positive = xp.greater(self.y, 0, out=mask)
        xp.multiply(self.dy, positive, out=dx)
        below = xp.less(self.y, self.op.n, out=mask)
        xp.multiply(dx, below, out=dx)
        if slope != 0:
            xp.add(dx, part, out=dx)
