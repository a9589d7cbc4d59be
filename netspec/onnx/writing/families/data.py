"""Layers without bottoms, but inputs: Parameter and DummyData."""

from __future__ import annotations

import numpy as np

from netspec.onnx.writing.layer import Layer, writes
from netspec.onnx.writing.values import Value


@writes("Parameter")
def parameter(layer: Layer) -> Value:
    """Write its array, a constant."""
    return layer.parameter(0)


@writes("DummyData")
def dummy_data(layer: Layer) -> list[Value]:
    """Write constants; blobs that are filled anew in every pass are refused."""
    op = layer.op
    random = [each.type for each in op.data_filler if each.type != "constant"]
    if random:
        raise layer.refused(
            f"it fills its blobs anew with {random[0]!r} numbers in every pass; make "
            f"it an Input layer"
        )
    return [
        layer.constant(np.full(shape, each.value, np.float32), hint="value")
        for shape, each in zip(op.tops, op.data_filler, strict=True)
    ]
