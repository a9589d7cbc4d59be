"""Eltwise."""

from __future__ import annotations

from functools import reduce

from netspec.onnx.writing.layer import Layer, writes
from netspec.onnx.writing.values import Value


@writes("Eltwise")
def eltwise(layer: Layer) -> Value:
    """Write Add, Mul or Max; a coefficient is a Mul of its bottom."""
    op = layer.op
    if op.operation == "MAX":
        return layer.add("Max", *layer.bottoms)
    kind, terms = "Mul", list(layer.bottoms)
    if op.operation == "SUM":
        pairs = zip(layer.bottoms, op.coeff, strict=True)
        kind, terms = "Add", [layer.affine(x, coeff, 0) for x, coeff in pairs]
    return reduce(lambda a, b: layer.add(kind, a, b), terms)
