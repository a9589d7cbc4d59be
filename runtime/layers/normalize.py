"""Normalize of the SSD fork: vectors of channels to one length."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from netspec.ops import normalize as ops
from netspec.ops.base import count
from runtime.arrays import Array, ArraySpec, views
from runtime.layers.base import Kernel, register


@register
class Normalize(Kernel[ops.Normalize]):
    """Every vector of channels, or every item, divided by its length and scaled.

        r = 1 / sqrt(sum of x^2 + eps);  y = scale x r
        dscale = sum of dy x r
        dx = r (scale dy - x r (sum of scale dy x r))

    The sums for r and dx run over the channels of a place, with `across_spatial` over
    a whole item. SSD leaves the scale out of the last sum, which is right only while
    all channels have the same one; this is the derivative. The scale is 1
    where there is no parameter.

    Shapes: x (N, C, ...), scale (C) or () -> y (same).
    Source: Liu et al., "ParseNet", 2015, arXiv:1506.04579; normalize_layer.cpp of SSD.
    """

    types = ("Normalize",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for squares, and for a value a vector."""
        items, channels, places = self._sizes()
        lengths = (items, 1, 1 if self.op.across_spatial else places)
        specs = {
            "product": ArraySpec((items, channels, places)),
            "shrink": ArraySpec(lengths, life="saved"),
        }
        if self.node.backward:
            specs["along"] = ArraySpec(lengths)
            sizes = (items, channels, places)
            specs["sums"] = self.backend.channel_scratch(sizes)
            specs["each"], specs["total"] = ArraySpec((channels,)), ArraySpec(())
        return specs

    def _sizes(self) -> tuple[int, int, int]:
        shape = self.op.bottoms[0]
        return shape[0], shape[1], count(shape, 2)

    def setup(self) -> None:
        """View blobs as (N, C, I), and the scale as what is multiplied with them."""
        sizes = self._sizes()
        self._x, self._y = views(sizes, self.x, self.y)
        self._dx, self._dy = views(sizes, self.dx, self.dtops[0])
        self._axes = (1, 2) if self.op.across_spatial else (1,)
        (scale,) = self.params or (1,)
        self._scale = scale if self.op.channel_shared else scale.reshape(1, -1, 1)

    def forward(self) -> None:
        """Compute y."""
        xp, product, shrink = self.xp, self.work["product"], self.work["shrink"]
        xp.square(self._x, out=product)
        xp.sum(product, axis=self._axes, keepdims=True, out=shrink)
        xp.add(shrink, self.op.eps, out=shrink)
        xp.sqrt(shrink, out=shrink)
        xp.divide(1, shrink, out=shrink)
        xp.multiply(self._x, shrink, out=product)
        xp.multiply(product, self._scale, out=self._y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute dscale and dx."""
        xp, product, shrink = self.xp, self.work["product"], self.work["shrink"]
        xp.multiply(self._x, self._dy, out=product)
        xp.multiply(product, shrink, out=product)
        if self.params and self.dparams[0] is not None:
            self._learn(self.dparams[0], accumulate=accumulate[0])
        if self._dx is None:
            return
        along = self.work["along"]
        xp.multiply(product, self._scale, out=product)
        xp.sum(product, axis=self._axes, keepdims=True, out=along)
        xp.multiply(along, shrink, out=along)
        xp.multiply(self._x, along, out=product)
        xp.multiply(self._dy, self._scale, out=self._dx)
        xp.subtract(self._dx, product, out=self._dx)
        xp.multiply(self._dx, shrink, out=self._dx)

    def _learn(self, dscale: Array, *, accumulate: bool) -> None:
        """Compute dscale, the sum of dy x r."""
        product, sums = self.work["product"], self.work["sums"]
        channel_sum = partial(self.backend.channel_sum, product)
        if not self.op.channel_shared:
            channel_sum(dscale, sums, accumulate=accumulate)
            return
        each, total = self.work["each"], self.work["total"]
        channel_sum(each, sums)
        self.xp.sum(each, out=total)
        if accumulate:
            self.xp.add(dscale, total, out=dscale)
        else:
            self.xp.copyto(dscale, total)
