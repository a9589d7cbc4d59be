"""InnerProduct and Embed."""

from __future__ import annotations

from netspec.onnx.writing.layer import INT64, Layer, writes
from netspec.onnx.writing.values import Value
from netspec.ops.base import count


@writes("InnerProduct")
def inner_product(layer: Layer) -> Value:
    """Write a Gemm of the input as a matrix; `transpose` is its other form of w."""
    op = layer.op
    x = layer.x
    if len(op.bottoms[0]) != 2 or op.axis != 1:
        x = layer.add("Flatten", x, axis=op.axis)
    slots = range(len(op.params))
    parameters = [layer.parameter(slot) for slot in slots]
    y = layer.add("Gemm", x, *parameters, transB=0 if op.transpose else 1)
    return layer.reshape(
        y,
        lambda op: op.tops[0],
        lambda op: (count(op.bottoms[0], 0, op.axis), op.num_output),
    )


@writes("Embed")
def embed(layer: Layer) -> Value:
    """Write a Gather of rows, and the bias."""
    index = layer.add("Cast", layer.x, to=INT64)
    y = layer.add("Gather", layer.parameter(0), index, axis=0)
    return layer.add("Add", y, layer.parameter(1)) if layer.op.bias_term else y
