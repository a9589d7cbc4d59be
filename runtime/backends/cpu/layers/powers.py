"""Exp, Log and Power on compiled kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

import runtime.backends.cpu.machine.vector_math as vm
from netspec.ops import activation as ops
from runtime.backends.cpu.layers.function import Fixed, Function
from runtime.backends.cpu.machine.compiled import Call, CompiledKernel
from runtime.backends.cpu.machine.mapping import map_kernel
from runtime.backends.cpu.machine.vector_math import Value, where
from runtime.layers.activation import log_of_base

forward = partial(map_kernel, module=__name__)
gradient = partial(map_kernel, inputs=2, output="dx", module=__name__)

# ---------------------------------------------------------------- exp, log


def _exp(x: Value, inner: Value, outer: Value) -> Value:
    return vm.exp(x * inner) * outer


def _exp_gradient(y: Value, dy: Value, inner: Value) -> Value:
    return dy * y * inner


exp = forward("exp", _exp)
exp_gradient = gradient("exp_gradient", _exp_gradient)


class Exp(Fixed[ops.Exp]):
    """y = base^(shift + scale x)."""

    options = ("base", "scale", "shift")
    kernels = (exp, exp_gradient)

    def constants(self) -> Mapping[str, float]:
        """Return the base as a factor of the exponent, and what the shift makes."""
        log_base = log_of_base(self.op.base)
        exponent = log_base * self.op.shift
        outer = math.exp(exponent) if exponent < LARGEST_EXPONENT else math.inf
        return {"inner": log_base * self.op.scale, "outer": outer}


LARGEST_EXPONENT = 709  # of e as a double


def _log(x: Value, scale: Value, shift: Value, factor: Value) -> Value:
    return vm.log(x * scale + shift) * factor


def _log_gradient(
    x: Value, dy: Value, scale: Value, shift: Value, slope: Value
) -> Value:
    return dy * (slope / (x * scale + shift))


log = forward("log", _log)
log_gradient = gradient("log_gradient", _log_gradient)


class Log(Fixed[ops.Log]):
    """y = log(shift + scale x) / log(base)."""

    options = ("base", "scale", "shift")
    kernels = (log, log_gradient)

    def constants(self) -> Mapping[str, float]:
        """Return the base as a factor."""
        op, factor = self.op, 1 / log_of_base(self.op.base)
        slope = factor * op.scale
        return {**_inner(op), "factor": factor, "slope": slope}


def _inner(op: ops.Log | ops.Power) -> dict[str, float]:
    """Return the affine function; adding -0 leaves all as it is, -0 too."""
    return {"scale": op.scale, "shift": op.shift or -0.0}


# ---------------------------------------------------------------- powers


def _affine(x: Value, scale: Value, shift: Value) -> Value:
    return x * scale + shift


def _affine_gradient(dy: Value, factor: Value) -> Value:
    return dy * factor


affine = forward("affine", _affine)
affine_gradient = map_kernel(
    "affine_gradient", _affine_gradient, output="dx", module=__name__
)


def _square(x: Value, scale: Value, shift: Value) -> Value:
    base = x * scale + shift
    return base * base


def _square_root(x: Value, scale: Value, shift: Value) -> Value:
    return vm.root(x * scale + shift)


def _reciprocal(x: Value, scale: Value, shift: Value) -> Value:
    return 1.0 / (x * scale + shift)


def _power(
    x: Value, scale: Value, shift: Value, exponent: Value, odd: Value, fraction: Value
) -> Value:
    return vm.signed_power(x * scale + shift, exponent, odd, fraction)


def _affine_slope(
    x: Value, dy: Value, scale: Value, shift: Value, factor: Value
) -> Value:
    return dy * ((x * scale + shift) * factor)


def _root_slope(
    x: Value, dy: Value, scale: Value, shift: Value, factor: Value
) -> Value:
    base = x * scale + shift
    # -infinity and -0 as C has their powers.
    return dy * where(base == -math.inf, 0.0, factor / vm.absolute(vm.root(base)))


def _reciprocal_slope(
    x: Value, dy: Value, scale: Value, shift: Value, factor: Value
) -> Value:
    one = 1.0 / (x * scale + shift)
    return dy * (one * one * factor)


def _power_slope(
    x: Value,
    dy: Value,
    scale: Value,
    shift: Value,
    factor: Value,
    exponent: Value,
    odd: Value,
    fraction: Value,
) -> Value:
    base = x * scale + shift
    return dy * (vm.signed_power(base, exponent, odd, fraction) * factor)


square = forward("square", _square)
square_root = forward("square_root", _square_root)
reciprocal = forward("reciprocal", _reciprocal)
power = forward("power", _power)
affine_slope = gradient("affine_slope", _affine_slope)
root_slope = gradient("root_slope", _root_slope)
reciprocal_slope = gradient("reciprocal_slope", _reciprocal_slope)
power_slope = gradient("power_slope", _power_slope)
# By exponent: y, and dx where the exponent of the slope is one less.
POWERS = {1.0: affine, 2.0: square, 0.5: square_root, -1.0: reciprocal}
SLOPES = {
    1.0: affine_gradient,
    2.0: affine_slope,
    0.5: root_slope,
    -1.0: reciprocal_slope,
}


class Power(Function[ops.Power]):
    """y = (shift + scale x)^power."""

    options = ("power", "scale", "shift")

    @classmethod
    def suits(cls, op: ops.Power) -> bool:
        """Whether y is no constant."""
        return op.scale != 0 and op.power != 0

    def kernel(self) -> CompiledKernel:
        """Return the one of the exponent."""
        return POWERS.get(self.op.power, power)

    def gradient_kernel(self) -> CompiledKernel:
        """Return the one of the exponent."""
        return SLOPES.get(self.op.power, power_slope)

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        of_y = _kind(self.op.power)
        return [self._call(self.kernel(), x=self.x, y=self.y, **of_y)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        of_slope = _kind(self.op.power - 1)
        arrays = {"x": self.x, "dy": self.dy, "dx": self.dx}
        return [self._call(self.gradient_kernel(), **arrays, **of_slope)]

    def constants(self) -> Mapping[str, float]:
        """Return the affine function, and the factor of its slope."""
        return {**_inner(self.op), "factor": self.op.power * self.op.scale}


def _kind(exponent: float) -> dict[str, float]:
    """Return an exponent, and what it makes of negative numbers."""
    rounded = float(np.float32(exponent))
    return {
        "exponent": rounded,
        "odd": float(rounded % 2 == 1),
        "fraction": float(rounded % 1 != 0),
    }
