"""Interp and Upsample."""

from __future__ import annotations

import numpy as np

from netspec.onnx.writing.layer import INT64, Layer, writes
from netspec.onnx.writing.values import Value
from netspec.ops.base import count


@writes("Interp")
def interp(layer: Layer) -> Value:
    """Write a Resize with aligned corners, behind a Slice of what is cut off."""
    op, x = layer.op, layer.x
    size = layer.same("the size of the output", lambda op: op.tops[0][2:])
    if op.begin or op.end:
        ends = [op.begin + part for part in op.part]
        x = layer.cut(x, [op.begin] * 2, ends, (2, 3))
    if tuple(size) == op.part:
        return x
    # A half more than the size, as readers round the product down.
    scales = [(wanted + 0.5) / part for wanted, part in zip(size, op.part, strict=True)]
    return layer.add(
        "Resize",
        x,
        None,
        layer.constant([1, 1, *scales], hint="scales"),
        mode="linear",
        coordinate_transformation_mode="align_corners",
    )


@writes("Upsample")
def upsample(layer: Layer) -> Value:
    """Write a Resize that repeats, or a ScatterElements into zeros."""
    op = layer.op
    if not op.masked:
        scales = layer.constant([1, 1, *op.scale], hint="scales")
        return layer.add(
            "Resize",
            layer.x,
            None,
            scales,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    shape = layer.same("the shape of the output", lambda op: op.tops[0])
    planes = (count(shape, 0, 2), count(shape, 2))
    rows = layer.integers(planes[0], count(op.bottoms[0], 2))
    x = layer.add("Reshape", layer.x, rows)
    places = layer.add("Reshape", layer.bottoms[1], rows)
    places = layer.add("Cast", places, to=INT64)
    zeros = layer.constant(np.zeros((1, 1)), hint="zero")
    zeros = layer.add("Expand", zeros, layer.integers(*planes))
    y = layer.add("ScatterElements", zeros, places, x, axis=1)
    return layer.add("Reshape", y, layer.integers(*shape))
