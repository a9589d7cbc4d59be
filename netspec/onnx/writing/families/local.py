"""Local."""

from __future__ import annotations

import numpy as np

from netspec.onnx.writing.layer import Layer, writes
from netspec.onnx.writing.values import Value
from netspec.ops.base import count


@writes("Local")
def local(layer: Layer) -> Value:
    """Write a convolution that picks the windows, and a product for every place."""
    op = layer.op
    c, size = op.bottoms[0][1], count(op.kernel)
    outputs, _, taps, places = op.params[0].shape
    pixels = np.eye(size, dtype=np.float32).reshape(size, 1, *op.kernel)
    picks = layer.constant(np.tile(pixels, (c, 1, 1, 1)), hint="picks")
    window = {"kernel_shape": list(op.kernel), "strides": list(op.stride)}
    columns = layer.add(
        "Conv", layer.x, picks, **window, pads=[*op.pad, *op.pad], group=c
    )
    columns = layer.reshape(
        columns,
        lambda op: (op.bottoms[0][0], taps, places),
        lambda op: (op.bottoms[0][0], taps, *op.tops[0][2:]),
    )
    columns = layer.add("Transpose", columns, perm=[2, 0, 1])  # (P, N, K)
    weights = layer.parameter(0, (outputs, taps, places))
    weights = layer.add("Transpose", weights, perm=[2, 1, 0])  # (P, K, O)
    y = layer.add("MatMul", columns, weights)
    y = layer.add("Transpose", y, perm=[1, 2, 0])
    if op.bias_term:
        y = layer.add("Add", y, layer.parameter(1, (outputs, places)))
    return layer.reshape(
        y,
        lambda op: op.tops[0],
        lambda op: (op.bottoms[0][0], outputs, places),
    )
