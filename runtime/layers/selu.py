"""SeLu and SeLuDropout, of self-normalizing nets."""

from __future__ import annotations

from netspec.ops import selu as ops
from netspec.ops.base import count
from runtime.arrays import Array, ArraySpec
from runtime.counter_random import stream_keys
from runtime.layers._gradient import OneGradient
from runtime.layers.base import register


@register
class SeLu(OneGradient[ops.SeLu]):
    """Exponential below zero, scaled so that mean 0 and variance 1 stay.

        y = lambda x where x > 0, else lambda alpha (exp(x) - 1)
        dx = lambda dy where x > 0, else lambda alpha exp(x) dy

    At exactly 0 the exponential side counts. The output tells the side, and
    lambda alpha exp(x) = y + lambda alpha, so that the layer may run in place.

    Shapes: x (any) -> y (same).
    Source: Klambauer and others, Self-Normalizing Neural Networks, 2017,
    arXiv:1706.02515.
    """

    types = ("SeLu",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the exponential side and for the mask of a side."""
        shape = self.op.tops[0]
        return {"part": ArraySpec(shape), "side": ArraySpec(shape, "bool")}

    def forward(self) -> None:
        """Compute y."""
        xp, factor = self.xp, self.op.factor
        part = xp.minimum(self.x, 0, out=self.work["part"])
        xp.expm1(part, out=part)
        xp.multiply(part, factor * self.op.alpha, out=part)
        xp.maximum(self.x, 0, out=self.y)
        xp.multiply(self.y, factor, out=self.y)
        xp.add(self.y, part, out=self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp, part, side = self.xp, self.work["part"], self.work["side"]
        factor = self.op.factor
        xp.minimum(self.y, 0, out=part)
        xp.add(part, factor * self.op.alpha, out=part)
        xp.greater(self.y, 0, out=side)
        xp.copyto(part, factor, where=side)
        xp.multiply(self.dy, part, out=dx)


@register
class SeLuDropout(OneGradient[ops.SeLuDropout]):
    """Drop values to alpha while training, so that mean 0 and variance 1 stay.

        TRAIN: y = factor (x mask + alpha (1 - mask)) + shift;  dx = factor mask dy
        TEST:  y = x;  dx = dy

    `netspec.ops.selu.SeLuDropout` has factor and shift. The mask is that of a Dropout
    layer of this name: a function of the seed, the name and the number of the pass.

    Shapes: x (any) -> y (same).
    Source: Klambauer and others, Self-Normalizing Neural Networks, 2017,
    arXiv:1706.02515.
    """

    types = ("SeLuDropout",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the mask and the bits it is made of."""
        if not self._drops():
            return {}
        size = count(self.op.tops[0])
        return {
            "dropped": ArraySpec(self.op.tops[0], "bool", life="saved"),
            "bits": ArraySpec((size,), "uint32"),
            "spare": self.backend.random_scratch(size),
        }

    def setup(self) -> None:
        """Turn the ratio into a bound for 32 random bits."""
        keep = 1 - self.op.dropout_ratio
        self._bound = min(round(keep * 2**32), 2**32 - 1)
        if self._drops():
            self._bits = self.work["bits"].reshape(self.op.tops[0])

    def forward(self) -> None:
        """Draw the mask and compute y."""
        xp, op = self.xp, self.op
        if self._drops():
            context = self.context
            keys = stream_keys(context.seed, op.name, context.clock.value)
            self.backend.random_bits(self.work["bits"], keys, self.work["spare"])
            xp.greater_equal(self._bits, self._bound, out=self.work["dropped"])
            xp.multiply(self.x, op.factor, out=self.y)
            xp.add(self.y, op.shift, out=self.y)
            xp.copyto(self.y, op.dropped, where=self.work["dropped"])
        elif self.y is not self.x:
            xp.copyto(self.y, self.x)

    def gradient(self, dx: Array) -> None:
        """Compute dx with the mask of the forward pass."""
        if self._drops():
            self.xp.multiply(self.dy, self.op.factor, out=dx)
            self.xp.copyto(dx, 0, where=self.work["dropped"])
        elif dx is not self.dy:
            self.xp.copyto(dx, self.dy)

    def _drops(self) -> bool:
        return self.train and self.op.dropout_ratio > 0
