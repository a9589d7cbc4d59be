"""Elementwise layers of one bottom."""

from __future__ import annotations

import math

from netspec.onnx.writing.layer import FLOAT, Layer, writes
from netspec.onnx.writing.values import Value
from netspec.ops.dropout import ForkDropout

SIMPLE = {
    "AbsVal": "Abs",
    "BNLL": "Softplus",
    "Sigmoid": "Sigmoid",
    "TanH": "Tanh",
}


@writes(*SIMPLE)
def simple(layer: Layer) -> Value:
    """Write a layer that ONNX has under another name."""
    return layer.add(SIMPLE[layer.node.type], layer.x)


@writes("Dropout")
def dropout(layer: Layer) -> Value:
    """Pass the bottom on, or what a fork multiplies by where nothing is dropped."""
    op = layer.op
    if not isinstance(op, ForkDropout):
        return layer.x
    if op.always and op.dropout_ratio > 0:
        raise layer.refused(
            "sample_weights_test draws when a net is used, which ONNX's nodes do not; "
            "remove it"
        )
    scale = 1 if op.scale_train else 1 - op.dropout_ratio
    return layer.affine(layer.x, scale, 0)


@writes("SeLuDropout", "Split", "Silence")
def nothing(layer: Layer) -> list[Value]:
    """Pass the bottom on: these layers do nothing when a net is used."""
    return [layer.x] * len(layer.op.tops)


@writes("ReLU")
def relu(layer: Layer) -> Value:
    """Write y = max(x, 0) + negative_slope min(x, 0)."""
    slope = layer.op.negative_slope
    if slope == 0:
        return layer.add("Relu", layer.x)
    return layer.add("LeakyRelu", layer.x, alpha=slope)


@writes("ReLU6", "ReLUX")
def relu6(layer: Layer) -> Value:
    """Write a Clip, and what is negative where that counts."""
    op = layer.op
    clipped = layer.add("Clip", layer.x, layer.number(0), layer.number(op.n))
    if op.negative_slope == 0:
        return clipped
    negative = layer.add("Min", layer.x, layer.number(0))
    return layer.add("Add", clipped, layer.affine(negative, op.negative_slope, 0))


@writes("SeLu")
def selu(layer: Layer) -> Value:
    """Write lambda x where x > 0, else lambda alpha (exp(x) - 1)."""
    op = layer.op
    return layer.add("Selu", layer.x, alpha=op.alpha, gamma=op.factor)


@writes("PReLU")
def prelu(layer: Layer) -> Value:
    """Write the slopes with an axis for each behind the channels, or as one number."""
    op = layer.op
    inner = (1,) * (len(op.bottoms[0]) - 2)
    shape = (1,) if op.channel_shared else (*op.params[0].shape, *inner)
    return layer.add("PRelu", layer.x, layer.parameter(0, shape))


@writes("ELU")
def elu(layer: Layer) -> Value:
    """Write y = x where x > 0, else alpha (exp(x) - 1)."""
    return layer.add("Elu", layer.x, alpha=layer.op.alpha)


@writes("Power")
def power(layer: Layer) -> Value:
    """Write y = (shift + scale x)^power; without power or scale the same for all x."""
    op = layer.op
    if op.power == 0 or op.scale == 0:
        one = layer.add("Pow", layer.x, layer.number(0))
        return layer.affine(one, _power_of_number(op.shift, op.power), 0)
    base = layer.affine(layer.x, op.scale, op.shift)
    if op.power == 1:
        return base
    return layer.add("Pow", base, layer.number(op.power))


def _power_of_number(base: float, power: float) -> float:
    """Return base^power as float arithmetic has it: infinite or NaN, never an error."""
    if power == 0:
        return 1.0
    if base == 0:
        return math.inf if power < 0 else 0.0
    if base < 0 and not float(power).is_integer():
        return math.nan
    try:
        return math.pow(base, power)
    except OverflowError:
        return math.copysign(math.inf, base) if power % 2 else math.inf


@writes("Exp")
def exp(layer: Layer) -> Value:
    """Write an Exp of scale ln base x, times base^shift."""
    op = layer.op
    log_base = 1.0 if op.base == -1 else math.log(op.base)
    y = layer.add("Exp", layer.affine(layer.x, op.scale * log_base, 0))
    outer = _power_of_number(math.e if op.base == -1 else op.base, op.shift)
    return layer.affine(y, outer, 0)


@writes("Log")
def log(layer: Layer) -> Value:
    """Write y = ln(shift + scale x) / ln base."""
    op = layer.op
    y = layer.add("Log", layer.affine(layer.x, op.scale, op.shift))
    return y if op.base == -1 else layer.affine(y, 1 / math.log(op.base), 0)


@writes("Clip")
def clip(layer: Layer) -> Value:
    """Write y = min(max(x, min), max)."""
    low, high = layer.number(layer.op.min), layer.number(layer.op.max)
    return layer.add("Clip", layer.x, low, high)


@writes("Swish")
def swish(layer: Layer) -> Value:
    """Write y = x sigmoid(beta x)."""
    gate = layer.add("Sigmoid", layer.affine(layer.x, layer.op.beta, 0))
    return layer.add("Mul", layer.x, gate)


@writes("Threshold")
def threshold(layer: Layer) -> Value:
    """Write y = 1 where x > threshold, else 0."""
    above = layer.add("Greater", layer.x, layer.number(layer.op.threshold))
    return layer.add("Cast", above, to=FLOAT)
