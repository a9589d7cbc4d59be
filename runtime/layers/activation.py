"""Activations other than ReLU: one value in, one value out.

Where a gradient can be had from y alone it is, so that the layer may run in place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from netspec.ops import activation as ops
from netspec.ops.base import count
from runtime.arrays import Array, ArraySpec
from runtime.layers._gradient import OneGradient, SlopeFirst
from runtime.layers.base import Kernel, register


@register
class Sigmoid(SlopeFirst[ops.Sigmoid]):
    """Squash to (0, 1).

        y = 1 / (1 + exp(-x)), computed as tanh(x / 2) / 2 + 1 / 2: it cannot overflow
        dx = dy y (1 - y)

    Shapes: x (any) -> y (same).
    """

    types = ("Sigmoid",)

    def forward(self) -> None:
        """Compute y."""
        self.backend.sigmoid(self.x, self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp = self.xp
        slope = xp.subtract(1, self.y, out=self.work["slope"])
        xp.multiply(slope, self.y, out=slope)
        xp.multiply(self.dy, slope, out=dx)


@register
class TanH(SlopeFirst[ops.TanH]):
    """Squash to (-1, 1).

        y = tanh(x);  dx = dy (1 - y^2)

    Shapes: x (any) -> y (same).
    """

    types = ("TanH",)

    def forward(self) -> None:
        """Compute y."""
        self.xp.tanh(self.x, out=self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp = self.xp
        slope = xp.square(self.y, out=self.work["slope"])
        xp.subtract(1, slope, out=slope)
        xp.multiply(self.dy, slope, out=dx)


@register
class Power(SlopeFirst[ops.Power]):
    """A power of an affine function.

        y = (shift + scale x)^power
        dx = dy power scale (shift + scale x)^(power - 1)

    A power of 0 gives 1 everywhere, also for the base 0; with a scale or power of 0 the
    gradient is 0. Caffe divides y by the base and gets NaN where the base is 0; this
    form has the right value there.

    Shapes: x (any) -> y (same).
    """

    types = ("Power",)

    def forward(self) -> None:
        """Compute y."""
        op = self.op
        if op.power == 0:
            self.y.fill(1)
        elif op.scale == 0:
            self.y.fill(_power_of_number(op.shift, op.power))
        else:
            self._affine(self.x, self.y)
            self._raise(self.y, op.power)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        op, xp = self.op, self.xp
        factor = op.power * op.scale
        if factor == 0:
            xp.copyto(dx, 0)
        elif op.power == 1:
            xp.multiply(self.dy, factor, out=dx)
        else:
            slope = self.work["slope"]
            self._affine(self.x, slope)
            self._raise(slope, op.power - 1)
            xp.multiply(slope, factor, out=slope)
            xp.multiply(self.dy, slope, out=dx)

    def _affine(self, x: Array, out: Array) -> None:
        self.xp.multiply(x, self.op.scale, out=out)
        if self.op.shift != 0:
            self.xp.add(out, self.op.shift, out=out)

    def _raise(self, base: Array, power: float) -> None:
        if power == 2:
            self.xp.square(base, out=base)
        elif power == 0.5:
            self.xp.sqrt(base, out=base)
        elif power == -1:
            self.xp.divide(1, base, out=base)
        elif power != 1:
            self.xp.power(base, power, out=base)


def _power_of_number(base: float, power: float) -> float:
    """Return base^power with the values of C where Python raises an error."""
    infinite = math.copysign(math.inf, base) if power % 2 == 1 else math.inf
    try:
        return math.pow(base, power)
    except OverflowError:
        return infinite
    except ValueError:  # 0 to a negative power, or a root of a negative number
        return infinite if base == 0 else math.nan


@register
class ELU(OneGradient[ops.ELU]):
    """Exponential below zero.

        y = x where x > 0, else alpha (exp(x) - 1)
        dx = dy where x > 0, else dy alpha exp(x)

    At exactly 0 the exponential side counts. For alpha >= 0 the output tells the side
    and alpha exp(x) = y + alpha, so that the layer may run in place.

    Shapes: x (any) -> y (same). Source: Clevert and others, 2015, arXiv:1511.07289.
    """

    types = ("ELU",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the exponential side and for the mask of a side."""
        shape = self.op.tops[0]
        return {"part": ArraySpec(shape), "side": ArraySpec(shape, "bool")}

    def forward(self) -> None:
        """Compute y."""
        xp = self.xp
        part = xp.minimum(self.x, 0, out=self.work["part"])
        xp.expm1(part, out=part)
        xp.multiply(part, self.op.alpha, out=part)
        xp.maximum(self.x, 0, out=self.y)
        xp.add(self.y, part, out=self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp, part, side = self.xp, self.work["part"], self.work["side"]
        if self.op.alpha >= 0:
            xp.minimum(self.y, 0, out=part)
            xp.add(part, self.op.alpha, out=part)
            xp.less_equal(self.y, 0, out=side)
        else:
            xp.minimum(self.x, 0, out=part)
            xp.exp(part, out=part)
            xp.multiply(part, self.op.alpha, out=part)
            xp.less_equal(self.x, 0, out=side)
        xp.multiply(part, side, out=part)
        xp.logical_not(side, out=side)
        xp.add(part, side, out=part)
        xp.multiply(self.dy, part, out=dx)


@register
class PReLU(Kernel[ops.PReLU]):
    """ReLU whose negative slope is learned, a slope a channel or one for all.

        y = max(x, 0) + a min(x, 0)
        dx = dy where x > 0, else a dy;  da = sum of dy x where x <= 0

    Shapes: x (N, C, ...) -> y (same), a (C,) or () with `channel_shared`.
    Source: He and others, 2015, arXiv:1502.01852.
    """

    types = ("PReLU",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the negative part, and a copy of x where y overwrites it."""
        shape = self.op.tops[0]
        specs = {
            "part": ArraySpec(shape),
            "side": ArraySpec(shape, "bool"),
            "slope_gradient": ArraySpec(self.op.params[0].shape),
        }
        if self.node.backward and self.op.layer.bottom[0] == self.op.layer.top[0]:
            specs["x"] = ArraySpec(shape, life="saved")
        return specs

    def setup(self) -> None:
        """View everything as (N, C, S) and the slope as (1, C, 1)."""
        n, c = self.op.tops[0][:2]
        self._shape = (n, c, count(self.op.tops[0], 2))
        slope = self.params[0]
        self._slope = slope.reshape((1, 1, 1) if slope.ndim == 0 else (1, c, 1))
        self._sum_over = None if slope.ndim == 0 else (0, 2)
        self._part = self.work["part"].reshape(self._shape)
        self._side = self.work["side"].reshape(self._shape)

    def forward(self) -> None:
        """Compute y."""
        xp, part = self.xp, self.work["part"]
        if "x" in self.work:
            xp.copyto(self.work["x"], self.x)
        xp.minimum(self.x, 0, out=part)
        xp.multiply(self._part, self._slope, out=self._part)
        xp.maximum(self.x, 0, out=self.y)
        xp.add(self.y, part, out=self.y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute da, then dx, which may overwrite dy."""
        xp, part, side = self.xp, self.work["part"], self.work["side"]
        x = self.work.get("x", self.x)
        dslope = self.dparams[0]
        if dslope is not None:
            xp.minimum(x, 0, out=part)
            xp.multiply(part, self.dy, out=part)
            if accumulate[0]:
                total = self.work["slope_gradient"]
                xp.sum(self._part, axis=self._sum_over, out=total)
                xp.add(dslope, total, out=dslope)
            else:
                xp.sum(self._part, axis=self._sum_over, out=dslope)
        if self.dx is not None:
            xp.less_equal(x, 0, out=side)
            xp.multiply(self._slope, self._side, out=self._part)
            xp.logical_not(side, out=side)
            xp.add(part, side, out=part)
            xp.multiply(self.dy, part, out=self.dx)


@register
class AbsVal(SlopeFirst[ops.AbsVal]):
    """The absolute value.

        y = |x|;  dx = dy sign(x), with sign(0) = 0

    Shapes: x (any) -> y (same).
    """

    types = ("AbsVal",)

    def forward(self) -> None:
        """Compute y."""
        self.xp.absolute(self.x, out=self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        slope = self.xp.sign(self.x, out=self.work["slope"])
        self.xp.multiply(self.dy, slope, out=dx)


@register
class BNLL(OneGradient[ops.BNLL]):
    """A smooth ReLU, also called softplus.

        y = log(1 + exp(x));  dx = dy / (1 + exp(-x))

    Shapes: x (any) -> y (same).
    """

    types = ("BNLL",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the curved part, or for the slope: dx may be written over dy."""
        return {"curve": ArraySpec(self.op.tops[0])}

    def forward(self) -> None:
        """Compute y as max(x, 0) + log(1 + exp(-|x|)), which cannot overflow."""
        self.backend.softplus(self.x, self.y, self.work["curve"])

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        slope = self.work["curve"]
        self.backend.sigmoid(self.x, slope)
        self.xp.multiply(self.dy, slope, out=dx)


@register
class Exp(OneGradient[ops.Exp]):
    """A number raised to an affine function; base -1 stands for e.

        y = base^(shift + scale x);  dx = dy y scale log(base)

    Shapes: x (any) -> y (same).
    """

    types = ("Exp",)

    def setup(self) -> None:
        """Turn the base into a factor of the exponent."""
        log_base = log_of_base(self.op.base)
        self._inner = log_base * self.op.scale
        exponent = log_base * self.op.shift
        self._outer = math.exp(exponent) if exponent < 709 else math.inf

    def forward(self) -> None:
        """Compute y."""
        xp = self.xp
        xp.multiply(self.x, self._inner, out=self.y)
        xp.exp(self.y, out=self.y)
        if self._outer != 1:
            xp.multiply(self.y, self._outer, out=self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        self.xp.multiply(self.dy, self.y, out=dx)
        self.xp.multiply(dx, self._inner, out=dx)


@register
class Log(SlopeFirst[ops.Log]):
    """The logarithm of an affine function; base -1 stands for e.

        y = log(shift + scale x) / log(base)
        dx = dy scale / ((shift + scale x) log(base))

    Shapes: x (any) -> y (same).
    """

    types = ("Log",)

    def setup(self) -> None:
        """Turn the base into a factor."""
        self._factor = 1 / log_of_base(self.op.base)

    def forward(self) -> None:
        """Compute y."""
        xp = self.xp
        self._affine(self.y)
        xp.log(self.y, out=self.y)
        if self._factor != 1:
            xp.multiply(self.y, self._factor, out=self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp, slope = self.xp, self.work["slope"]
        self._affine(slope)
        xp.divide(self._factor * self.op.scale, slope, out=slope)
        xp.multiply(self.dy, slope, out=dx)

    def _affine(self, out: Array) -> None:
        self.xp.multiply(self.x, self.op.scale, out=out)
        if self.op.shift != 0:
            self.xp.add(out, self.op.shift, out=out)


def log_of_base(base: float) -> float:
    """Return the natural logarithm of a base, -1 being e."""
    return 1.0 if base == -1 else math.log(base)


@register
class Clip(OneGradient[ops.Clip]):
    """Keep values within bounds.

        y = min(max(x, min), max);  dx = dy where min <= x <= max, else 0

    Shapes: x (any) -> y (same).
    """

    types = ("Clip",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the two masks."""
        shape = self.op.tops[0]
        return {"above": ArraySpec(shape, "bool"), "below": ArraySpec(shape, "bool")}

    def forward(self) -> None:
        """Compute y."""
        self.xp.clip(self.x, self.op.min, self.op.max, out=self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp, inside, below = self.xp, self.work["above"], self.work["below"]
        xp.greater_equal(self.x, self.op.min, out=inside)
        xp.less_equal(self.x, self.op.max, out=below)
        xp.logical_and(inside, below, out=inside)
        xp.multiply(self.dy, inside, out=dx)


@register
class Swish(OneGradient[ops.Swish]):
    """x times its own sigmoid.

        s = 1 / (1 + exp(-beta x));  y = x s;  dx = dy (beta y + s (1 - beta y))

    Shapes: x (any) -> y (same).
    Source: Ramachandran and others, 2017, arXiv:1710.05941.
    """

    types = ("Swish",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the sigmoid and the slope."""
        shape = self.op.tops[0]
        return {"sigmoid": ArraySpec(shape), "slope": ArraySpec(shape)}

    def forward(self) -> None:
        """Compute y."""
        xp = self.xp
        xp.multiply(self._sigmoid(), self.x, out=self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx from x; the slope is written s + beta x s (1 - s)."""
        xp, slope = self.xp, self.work["slope"]
        sigmoid = self._sigmoid()
        xp.subtract(1, sigmoid, out=slope)
        xp.multiply(slope, self.x, out=slope)
        xp.multiply(slope, self.op.beta, out=slope)
        xp.add(slope, 1, out=slope)
        xp.multiply(slope, sigmoid, out=slope)
        xp.multiply(self.dy, slope, out=dx)

    def _sigmoid(self) -> Array:
        scaled = self.xp.multiply(self.x, self.op.beta, out=self.work["slope"])
        self.backend.sigmoid(scaled, self.work["sigmoid"])
        return self.work["sigmoid"]


@register
class Threshold(Kernel[ops.Threshold]):
    """Say which values exceed a bound; there is no gradient.

        y = 1 where x > threshold, else 0

    Shapes: x (any) -> y (same).
    """

    types = ("Threshold",)

    def forward(self) -> None:
        """Compute y."""
        self.xp.greater(self.x, self.op.threshold, out=self.y)
