"""Dropout."""

from __future__ import annotations

from netspec.ops.base import count
from netspec.ops.dropout import Dropout as DropoutOp
from netspec.ops.dropout import ForkDropout
from runtime.arrays import Array, ArraySpec
from runtime.counter_random import stream_keys
from runtime.layers._gradient import OneGradient
from runtime.layers.base import register


@register
class Dropout(OneGradient[DropoutOp]):
    """Drop values at random while training.

        TRAIN: y = x mask / (1 - ratio), a value of mask being 1 with chance 1 - ratio
               dx = dy mask / (1 - ratio)
        TEST:  y = x;  dx = dy

    The layer's own phase decides. With `scale_train: false` (forks) the factor is 1 in
    TRAIN and 1 - ratio in TEST; with `sample_weights_test` TEST is as TRAIN. The mask
    is a function of the seed, the layer's name and the number of the forward pass, so
    that a resumed run repeats it; Caffe's comes from a global generator. A ratio of 0
    drops nothing.

    Shapes: x (any) -> y (same). Source: Srivastava and others, 2014, JMLR 15.
    """

    types = ("Dropout",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the mask and the bits it is made of."""
        if not self._drops():
            return {}
        size = count(self.op.tops[0])
        return {
            "mask": ArraySpec(self.op.tops[0], "bool", life="saved"),
            "bits": ArraySpec((size,), "uint32"),
            "spare": self.backend.random_scratch(size),
        }

    def setup(self) -> None:
        """Turn the ratio into a bound for 32 random bits."""
        keep = 1 - self.op.dropout_ratio
        self._bound = min(round(keep * 2**32), 2**32 - 1)
        self._scale = 1 / keep if self._drops() else 1.0
        if isinstance(self.op, ForkDropout) and not self.op.scale_train:
            self._scale = 1.0 if self._drops() else keep
        if self._drops():
            self._bits = self.work["bits"].reshape(self.op.tops[0])

    def forward(self) -> None:
        """Draw the mask and compute y."""
        xp = self.xp
        if self._drops():
            context = self.context
            keys = stream_keys(context.seed, self.op.name, context.clock.value)
            self.backend.random_bits(self.work["bits"], keys, self.work["spare"])
            mask = xp.less(self._bits, self._bound, out=self.work["mask"])
            xp.multiply(self.x, self._scale, out=self.y)
            xp.multiply(self.y, mask, out=self.y)
        elif self._scale != 1:
            xp.multiply(self.x, self._scale, out=self.y)
        elif self.y is not self.x:
            xp.copyto(self.y, self.x)

    def gradient(self, dx: Array) -> None:
        """Compute dx with the mask of the forward pass."""
        if self._drops():
            self.xp.multiply(self.dy, self._scale, out=dx)
            self.xp.multiply(dx, self.work["mask"], out=dx)
        elif self._scale != 1:
            self.xp.multiply(self.dy, self._scale, out=dx)
        elif dx is not self.dy:
            self.xp.copyto(dx, self.dy)

    def _drops(self) -> bool:
        always = isinstance(self.op, ForkDropout) and self.op.always
        return (self.train or always) and self.op.dropout_ratio > 0
