"""Reshape, Flatten, Split and Silence: no arithmetic beside copies and sums."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops import reshape as ops
from runtime.arrays import Array
from runtime.layers._gradient import OneGradient
from runtime.layers.base import Kernel, register


class _Alias(Kernel[ops.Reshape]):
    """The same memory under another name or shape: there is nothing to compute."""

    def forward(self) -> None:
        """Do nothing: y is x."""

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Do nothing: dx is dy."""


@register
class Reshape(_Alias):
    """The same values under another shape.

    Shapes: x (any) -> y (the same number of values).
    """

    types = ("Reshape",)


@register
class Flatten(_Alias):
    """The axes from `axis` to `end_axis`, inclusive, become one.

    Shapes: x (..., A, ..., B, ...) -> y (..., A * ... * B, ...).
    """

    types = ("Flatten",)


@register
class Split(OneGradient[ops.Split]):
    """The input under several names.

        y_i = x, in the same memory;  dx = sum of dy_i

    A top that nothing below a loss uses has no gradient and adds none.

    Shapes: x (any) -> y_i (same).
    """

    types = ("Split",)

    def setup(self) -> None:
        """Find the tops that have a gradient."""
        self._gradients = [dy for dy in self.dtops if dy is not None]

    def forward(self) -> None:
        """Do nothing: every y is x."""

    def gradient(self, dx: Array) -> None:
        """Add the gradients up."""
        xp, gradients = self.xp, self._gradients
        if not gradients:
            xp.copyto(dx, 0)
        elif len(gradients) == 1:
            xp.copyto(dx, gradients[0])
        else:
            xp.add(gradients[0], gradients[1], out=dx)
            for dy in gradients[2:]:
                xp.add(dx, dy, out=dx)


@register
class Silence(Kernel[ops.Silence]):
    """Uses blobs so that they are not outputs of the net; their gradient is 0.

    Shapes: x_i (any) -> nothing.
    """

    types = ("Silence",)

    def forward(self) -> None:
        """Do nothing."""

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Set every dx to 0."""
        for dx in self.dbottoms:
            if dx is not None:
                dx.fill(0)
