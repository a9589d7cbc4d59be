"""Scale and Bias: multiply by, or add, a smaller array that is broadcast."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops import Shape
from netspec.ops.base import count
from netspec.ops.scale import Bias as BiasOp
from netspec.ops.scale import Scale as ScaleOp
from runtime.arrays import Array, ArraySpec, views
from runtime.layers.base import Kernel, register


class _Broadcast(Kernel):
    """Views of x (outer, covered, inner) and of a smaller array (1, covered, 1)."""

    def _covered(self) -> Shape:
        """Return the shape of the smaller array."""
        raise NotImplementedError

    @property
    def _shape(self) -> Shape:
        x, axis, small = self.op.bottoms[0], self.op.axis, self._covered()
        return (count(x, 0, axis), count(small), count(x, axis + len(small)))

    @property
    def _two(self) -> bool:
        """Whether the smaller array is the second bottom."""
        return len(self.op.bottoms) > 1

    def _small(self) -> tuple[Array, Array | None]:
        """Return the smaller array, broadcast, and its flat gradient or None."""
        data = self.bottoms[1] if self._two else self.params[0]
        gradient = self.dbottoms[1] if self._two else self.dparams[0]
        return (
            data.reshape(1, -1, 1),
            None if gradient is None else gradient.reshape(-1),
        )


@register
class Scale(_Broadcast):
    """Multiply by a smaller array, broadcast over the other axes.

        y = x s (+ b);  dx = dy s;  ds = sum of dy x;  db = sum of dy

    s is parameter 0 or the second bottom; the sums are over the axes that s lacks. In
    place, x is copied for ds.

    Shapes: x (O..., S..., I...), s and b (S...) -> y (same as x).
    """

    types = ("Scale", "EltwiseAffine")
    op: ScaleOp

    def _covered(self) -> Shape:
        return self.op.scale_shape

    @property
    def _learns(self) -> bool:
        node = self.node
        return bool(node.propagate[1] if self._two else node.learn[0])

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for sums, and for a copy of x where y is written over it."""
        specs = {"sums": self.backend.dot_scratch(self._shape)}
        if self._learns and 0 not in self.op.backward_bottoms:
            specs["x"] = ArraySpec(self._shape, life="saved")
        return specs

    def setup(self) -> None:
        """View everything as (outer, covered, inner)."""
        self._x, self._y = views(self._shape, self.x, self.y)
        self._dx, self._dy = views(self._shape, self.dx, self.dtops[0])
        self._scale, self._dscale = self._small()
        self._bias = self._dbias = None
        if self.op.bias_term:
            self._bias = self.params[-1].reshape(1, -1, 1)
            if self.dparams[-1] is not None:
                self._dbias = self.dparams[-1].reshape(-1)

    def forward(self) -> None:
        """Compute y."""
        if "x" in self.work:
            self.xp.copyto(self.work["x"], self._x)
        self.xp.multiply(self._x, self._scale, out=self._y)
        if self._bias is not None:
            self.xp.add(self._y, self._bias, out=self._y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients; dx last, as it may be written over dy."""
        sums = self.work["sums"]
        if self._dbias is not None:
            self.backend.channel_sum(
                self._dy, self._dbias, sums, accumulate=accumulate[-1]
            )
        if self._dscale is not None:
            x = self.work.get("x", self._x)
            add = not self._two and accumulate[0]
            self.backend.channel_dot(self._dy, x, self._dscale, sums, accumulate=add)
        if self._dx is not None:
            self.xp.multiply(self._dy, self._scale, out=self._dx)


@register
class Bias(_Broadcast):
    """Add a smaller array, broadcast over the other axes.

        y = x + b;  dx = dy;  db = sum of dy over the axes that b lacks

    b is parameter 0 or the second bottom.

    Shapes: x (O..., S..., I...), b (S...) -> y (same as x).
    """

    types = ("Bias",)
    op: BiasOp

    def _covered(self) -> Shape:
        return self.op.bias_shape

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for sums."""
        return {"sums": self.backend.channel_scratch(self._shape)}

    def setup(self) -> None:
        """View everything as (outer, covered, inner)."""
        self._x, self._y, self._dy = views(self._shape, self.x, self.y, self.dtops[0])
        self._bias, self._dbias = self._small()

    def forward(self) -> None:
        """Compute y."""
        self.xp.add(self._x, self._bias, out=self._y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients."""
        if self._dbias is not None:
            add = not self._two and accumulate[0]
            self.backend.channel_sum(
                self._dy, self._dbias, self.work["sums"], accumulate=add
            )
        if self.dx is not None and self.dx is not self.dy:
            self.xp.copyto(self.dx, self.dy)
