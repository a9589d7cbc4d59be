"""ShuffleChannel, Reorg and Axpy: channels in another order, and weighed by item."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops import channels as ops
from netspec.ops.base import count
from runtime.arrays import Array, ArraySpec
from runtime.layers._gradient import OneGradient
from runtime.layers.base import Kernel, register


@register
class ShuffleChannel(OneGradient[ops.ShuffleChannel]):
    """Mix the groups of channels, so that the next convolution by groups sees all.

        y[(C / group) a + ...]: channels as (group, C / group) become (C / group, group)

    Shapes: x (N, C, ...) -> y (same).
    Source: Zhang and others, ShuffleNet, 2017, arXiv:1707.01083.
    """

    types = ("ShuffleChannel",)

    def setup(self) -> None:
        """View x with its groups as an axis, and y with them behind."""
        n, c, *inner = self.op.bottoms[0]
        group, size = self.op.group, count(inner)
        grouped, mixed = (n, group, c // group, size), (n, c // group, group, size)
        self._x = self.x.reshape(grouped).swapaxes(1, 2)
        self._y = self.y.reshape(mixed)
        if self.dx is not None:
            self._dx = self.dx.reshape(grouped).swapaxes(1, 2)
            self._dy = self.dy.reshape(mixed)

    def forward(self) -> None:
        """Copy x."""
        self.xp.copyto(self._y, self._x)

    def gradient(self, dx: Array) -> None:
        """Copy dy back."""
        self.xp.copyto(self._dx, self._dy)


@register
class Reorg(OneGradient[ops.Reorg]):
    """Move the pixels of squares to channels, or back.

    With s the stride, x of C channels and H by W pixels:

        forward: x as (C / s^2, H, s, W, s) -> y as (s, s, C / s^2, H, W)
        reverse: x as (s, s, C / s^2, H, W) -> y as (C / s^2, H, s, W, s)

    Shapes: x (N, C, H, W) -> y (N, C s^2, H / s, W / s), or (N, C / s^2, H s, W s).
    Source: Redmon, Farhadi, YOLO9000, 2016, arXiv:1612.08242, and its code, Darknet.
    """

    types = ("Reorg",)

    def setup(self) -> None:
        """View both with the pixels of squares as axes of their own."""
        self._x, self._y = self._views(self.x, self.y)
        if self.dx is not None:
            self._dx, self._dy = self._views(self.dx, self.dy)

    def _views(self, x: Array, y: Array) -> tuple[Array, Array]:
        n, c, height, width = self.op.bottoms[0]
        s = self.op.stride
        planes = (n, c // (s * s), height, s, width, s)
        squares = (n, s, s, c // (s * s), height, width)
        pixels, stacks = (y, x) if self.op.reverse else (x, y)
        moved = pixels.reshape(planes).transpose(0, 3, 5, 1, 2, 4)
        stacked = stacks.reshape(squares)
        return (stacked, moved) if self.op.reverse else (moved, stacked)

    def forward(self) -> None:
        """Copy x."""
        self.xp.copyto(self._y, self._x)

    def gradient(self, dx: Array) -> None:
        """Copy dy back."""
        self.xp.copyto(self._dx, self._dy)


@register
class Axpy(Kernel[ops.Axpy]):
    """Weigh every channel of every item, and add another blob.

        y = a x + b;  dx = a dy;  db = dy;  da = sum of dy x over the pixels

    Shapes: a (N, C) or (N, C, 1, 1), x and b (N, C, ...) -> y (same as x).
    Source: Hu and others, Squeeze-and-Excitation Networks, 2017, arXiv:1709.01507.
    """

    types = ("Axpy",)

    @property
    def _shape(self) -> tuple[int, int, int]:
        x = self.op.bottoms[1]
        return (1, count(x, 0, 2), count(x, 2))

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for room for sums."""
        return {"sums": self.backend.dot_scratch(self._shape)}

    def setup(self) -> None:
        """View items and channels as one axis."""
        shape = self._shape
        self._a = self.bottoms[0].reshape(1, shape[1], 1)
        self._x = self.bottoms[1].reshape(shape)
        self._b = self.bottoms[2].reshape(shape)
        self._y = self.y.reshape(shape)
        da, dx, self._db = self.dbottoms
        self._da = None if da is None else da.reshape(-1)
        self._dx = None if dx is None else dx.reshape(shape)
        self._dy = None if self.dtops[0] is None else self.dy.reshape(shape)

    def forward(self) -> None:
        """Compute y."""
        self.xp.multiply(self._x, self._a, out=self._y)
        self.xp.add(self._y, self._b, out=self._y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients."""
        if self._da is not None:
            sums = self.work["sums"]
            self.backend.channel_dot(self._dy, self._x, self._da, sums)
        if self._dx is not None:
            self.xp.multiply(self._dy, self._a, out=self._dx)
        if self._db is not None:
            self.xp.copyto(self._db, self.dy)
