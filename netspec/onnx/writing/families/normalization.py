"""MVN, LRN and SSD's Normalize."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netspec.onnx.writing.families.pooling import Axis, average
from netspec.onnx.writing.layer import Layer, writes
from netspec.onnx.writing.values import Value


@writes("MVN")
def mvn(layer: Layer) -> Value:
    """Write y = (x - mean) / (sqrt(var) + eps), over pixels, or channels and pixels."""
    op = layer.op
    x = layer.reshape(layer.x, lambda op: op.tops[0])

    def mean(values: Value) -> Value:
        first = 1 if op.across_channels else 2
        return layer.reduce_last(
            "ReduceMean", values, first, keep=True, source=lambda op: op.tops[0]
        )

    if not op.normalize_variance:
        return layer.add("Sub", x, mean(x))
    return standardized(layer, x, mean, op.eps, inside=False)


def standardized(
    layer: Layer,
    x: Value,
    mean: Callable[[Value], Value],
    eps: float,
    *,
    inside: bool,
) -> Value:
    """Return x with mean 0 and deviation 1; eps is inside the root, or behind it."""
    centred = layer.add("Sub", x, mean(x))
    square = layer.add("Mul", centred, centred)
    variance = mean(square)
    if inside:
        deviation = layer.add("Sqrt", layer.affine(variance, 1, eps))
    else:
        deviation = layer.affine(layer.add("Sqrt", variance), 1, eps)
    return layer.add("Div", centred, deviation)


@writes("LRN")
def lrn(layer: Layer) -> Value:
    """Write LRN across channels, or an average of squares within them."""
    op = layer.op
    across = op.norm_region == "ACROSS_CHANNELS"
    # ONNX Runtime takes no other numbers in an LRN.
    if across and op.alpha > 0 and op.beta > 0:
        return layer.add(
            "LRN", layer.x, size=op.local_size, alpha=op.alpha, beta=op.beta, bias=op.k
        )
    square = layer.add("Mul", layer.x, layer.x)
    size, half = op.local_size, op.local_size // 2
    if across:
        channels = np.arange(op.bottoms[0][1])
        near = abs(channels[:, None] - channels) <= half
        energy = layer.add("Conv", square, layer.constant(near[:, :, None, None]))
        root = layer.affine(energy, op.alpha / size, op.k)
        power = layer.add("Pow", root, layer.number(op.beta))
        return layer.add("Div", layer.x, power)
    rows, columns = (Axis(side, size, 1, half, side) for side in op.bottoms[0][2:])
    mean = average(layer, square, (rows, columns))
    root = layer.add("Pow", layer.affine(mean, op.alpha, 1), layer.number(op.beta))
    return layer.add("Div", layer.x, root)


@writes("Normalize")
def normalize(layer: Layer) -> Value:
    """Write scale x / sqrt(sum of x^2 + eps), over channels, at will over pixels."""
    op = layer.op
    square = layer.add("Mul", layer.x, layer.x)
    if op.across_spatial:
        energy = layer.reduce_last("ReduceSum", square, 1, keep=True)
    else:
        energy = layer.reduce("ReduceSum", square, [1], keep=True)
    norm = layer.add("Sqrt", layer.affine(energy, 1, op.eps))
    if not op.params:
        return layer.add("Div", layer.x, norm)
    shape = (1,) if op.channel_shared else (*op.params[0].shape, 1, 1)
    return layer.add("Mul", layer.add("Div", layer.x, norm), layer.parameter(0, shape))
