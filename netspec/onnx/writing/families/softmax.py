"""Softmax."""

from __future__ import annotations

from netspec.onnx.writing.layer import Layer, writes
from netspec.onnx.writing.values import Value


@writes("Softmax")
def softmax(layer: Layer) -> Value:
    """Write Softmax along one axis."""
    return layer.add("Softmax", layer.x, axis=layer.op.axis)
