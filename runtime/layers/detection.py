"""Layers of detection nets, as far as they have arithmetic here: Permute."""

from __future__ import annotations

from netspec.ops import detection as ops
from runtime.arrays import Array
from runtime.layers._gradient import OneGradient
from runtime.layers.base import register


@register
class Permute(OneGradient[ops.Permute]):
    """Bring the axes into another order.

        y = x with axis i being its axis order[i];  dx = dy in the order of x

    Shapes: x (d_0, d_1, ...) -> y (d_order[0], d_order[1], ...).
    """

    types = ("Permute",)

    def setup(self) -> None:
        """Look at the bottom in the order of the top."""
        order = self.op.order
        self._x = self.x.transpose(order)
        if self.dx is not None:
            self._dx = self.dx.transpose(order)

    def forward(self) -> None:
        """Copy the values in their new order."""
        self.xp.copyto(self.y, self._x)

    def gradient(self, dx: Array) -> None:
        """Copy dy into the places that the values came from."""
        self.xp.copyto(self._dx, self.dy)
