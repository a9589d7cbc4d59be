"""Reshape, Flatten and SSD's Permute."""

from __future__ import annotations

from netspec.onnx.writing.layer import Layer, writes
from netspec.onnx.writing.values import Value


@writes("Reshape", "Flatten")
def reshape(layer: Layer) -> Value:
    """Write the resolved shape; nothing where it is the same."""
    return layer.reshape(layer.x, lambda op: op.tops[0])


@writes("Permute")
def permute(layer: Layer) -> Value:
    """Write Transpose."""
    order = list(layer.op.order)
    if order == sorted(order):
        return layer.x
    return layer.add("Transpose", layer.x, perm=order)
