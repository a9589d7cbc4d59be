"""Activations on compiled kernels: a formula each, forward and gradient."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import runtime.backends.cpu.machine.vector_math as vm
from netspec.ops import activation as ops
from netspec.ops.selu import SeLu as SeLuOp
from runtime.backends.cpu.layers.function import Fixed, Function
from runtime.backends.cpu.machine.compiled import CompiledKernel
from runtime.backends.cpu.machine.mapping import map_kernel
from runtime.backends.cpu.machine.vector_math import Value, where

forward = partial(map_kernel, module=__name__)
gradient = partial(map_kernel, inputs=2, output="dx", module=__name__)

# ---------------------------------------------------------------- squashing


def _sigmoid(x: Value) -> Value:
    return vm.sigmoid(x)


def _sigmoid_gradient(y: Value, dy: Value) -> Value:
    return dy * ((1.0 - y) * y)


sigmoid = forward("sigmoid", _sigmoid)
sigmoid_gradient = gradient("sigmoid_gradient", _sigmoid_gradient)


class Sigmoid(Fixed[ops.Sigmoid]):
    """y = 1 / (1 + exp(-x))."""

    kernels = (sigmoid, sigmoid_gradient)


def _tanh(x: Value) -> Value:
    return vm.tanh(x)


def _tanh_gradient(y: Value, dy: Value) -> Value:
    return dy * (1.0 - y * y)


tanh = forward("tanh", _tanh)
tanh_gradient = gradient("tanh_gradient", _tanh_gradient)


class TanH(Fixed[ops.TanH]):
    """y = tanh(x)."""

    kernels = (tanh, tanh_gradient)


# ---------------------------------------------------------------- like ReLU


def _elu(x: Value, factor: Value, alpha: Value) -> Value:
    return where(x > 0.0, x * factor, vm.expm1(x) * alpha)


def _elu_gradient(y: Value, dy: Value, factor: Value, alpha: Value) -> Value:
    return dy * where(y > 0.0, factor, y + alpha)


def _elu_gradient_of_x(x: Value, dy: Value, alpha: Value) -> Value:
    return dy * where(x > 0.0, 1.0, vm.exp(x) * alpha)


elu = forward("elu", _elu)
elu_gradient = gradient("elu_gradient", _elu_gradient)
elu_gradient_of_x = gradient("elu_gradient_of_x", _elu_gradient_of_x)


class ELU(Function[ops.ELU]):
    """y = x where x > 0, else alpha (exp(x) - 1)."""

    options = ("alpha",)

    def constants(self) -> Mapping[str, float]:
        """Return the factors of both sides."""
        return {"factor": 1.0, "alpha": self.op.alpha}

    def kernel(self) -> CompiledKernel:
        """Return the only one."""
        return elu

    def gradient_kernel(self) -> CompiledKernel:
        """Return the one that reads what tells the side."""
        return elu_gradient if self.op.alpha >= 0 else elu_gradient_of_x


class SeLu(Fixed[SeLuOp]):
    """y = lambda x where x > 0, else lambda alpha (exp(x) - 1)."""

    options = ("alpha", "factor")
    kernels = (elu, elu_gradient)

    def constants(self) -> Mapping[str, float]:
        """Return the factors of both sides."""
        factor = self.op.factor
        return {"factor": factor, "alpha": factor * self.op.alpha}


def _softplus(x: Value) -> Value:
    return vm.softplus(x)


def _softplus_gradient(x: Value, dy: Value) -> Value:
    return dy * vm.sigmoid(x)


softplus = forward("softplus", _softplus)
softplus_gradient = gradient("softplus_gradient", _softplus_gradient)


class BNLL(Fixed[ops.BNLL]):
    """y = log(1 + exp(x))."""

    kernels = (softplus, softplus_gradient)


def _swish(x: Value, beta: Value) -> Value:
    return vm.sigmoid(x * beta) * x


def _swish_gradient(x: Value, dy: Value, beta: Value) -> Value:
    s = vm.sigmoid(x * beta)
    return dy * (((1.0 - s) * x * beta + 1.0) * s)


swish = forward("swish", _swish)
swish_gradient = gradient("swish_gradient", _swish_gradient)


class Swish(Fixed[ops.Swish]):
    """y = x / (1 + exp(-beta x))."""

    options = ("beta",)
    kernels = (swish, swish_gradient)

    def constants(self) -> Mapping[str, float]:
        """Return beta."""
        return {"beta": self.op.beta}


# ---------------------------------------------------------------- pieces of lines


def _absolute(x: Value) -> Value:
    return vm.absolute(x)


def _absolute_gradient(x: Value, dy: Value) -> Value:
    return dy * vm.sign(x)


absolute = forward("absolute", _absolute)
absolute_gradient = gradient("absolute_gradient", _absolute_gradient)


class AbsVal(Fixed[ops.AbsVal]):
    """y = |x|."""

    kernels = (absolute, absolute_gradient)


def _clip(x: Value, low: Value, high: Value) -> Value:
    x = where(x < low, low, x)
    return where(x > high, high, x)


def _clip_gradient(x: Value, dy: Value, low: Value, high: Value) -> Value:
    return dy * where(x >= low, where(x <= high, x.constant(1.0), 0.0), 0.0)


clip = forward("clip", _clip)
clip_gradient = gradient("clip_gradient", _clip_gradient)


class Clip(Fixed[ops.Clip]):
    """y = min(max(x, min), max)."""

    options = ("min", "max")
    kernels = (clip, clip_gradient)

    def constants(self) -> Mapping[str, float]:
        """Return the bounds."""
        return {"low": self.op.min, "high": self.op.max}


def _exceeds(x: Value, threshold: Value) -> Value:
    return where(x > threshold, x.constant(1.0), 0.0)


exceeds = forward("exceeds", _exceeds)


class Threshold(Fixed[ops.Threshold]):
    """y = 1 where x > threshold, else 0."""

    options = ("threshold",)
    kernels = (exceeds, exceeds)  # there is no gradient

    def constants(self) -> Mapping[str, float]:
        """Return the threshold."""
        return {"threshold": self.op.threshold}
