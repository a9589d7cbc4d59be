"""ShuffleChannel, Reorg and Axpy."""

from __future__ import annotations

from typing import Any

from netspec.onnx.writing.layer import Layer, writes
from netspec.onnx.writing.values import Value
from netspec.ops.base import Shape, count


@writes("ShuffleChannel")
def shuffle_channel(layer: Layer) -> Value:
    """Write Reshape, Transpose, Reshape."""

    def grouped(op: Any) -> Shape:
        n, c, *inner = op.bottoms[0]
        return (n, op.group, c // op.group, count(inner))

    def mixed(op: Any) -> Shape:
        n, group, size, inner = grouped(op)
        return (n, size, group, inner)

    x = layer.reshape(layer.x, grouped)
    x = layer.add("Transpose", x, perm=[0, 2, 1, 3])
    return layer.reshape(x, lambda op: op.tops[0], mixed)


@writes("Reorg")
def reorg(layer: Layer) -> Value:
    """Write Reshape, Transpose, Reshape."""

    def planes(op: Any) -> Shape:
        n, c, height, width = op.bottoms[0]
        s = op.stride
        return (n, c // (s * s), height, s, width, s)

    def squares(op: Any) -> Shape:
        n, few, height, s, width, _ = planes(op)
        return (n, s, s, few, height, width)

    if layer.op.reverse:
        x = layer.reshape(layer.x, squares)
        x = layer.add("Transpose", x, perm=[0, 3, 4, 1, 5, 2])
        return layer.reshape(x, lambda op: op.tops[0], planes)
    x = layer.reshape(layer.x, planes)
    x = layer.add("Transpose", x, perm=[0, 3, 5, 1, 2, 4])
    return layer.reshape(x, lambda op: op.tops[0], squares)


@writes("Axpy")
def axpy(layer: Layer) -> Value:
    """Write a Mul and an Add."""
    factor, x, added = layer.bottoms
    behind = len(layer.op.bottoms[1]) - 2

    def wide(op: Any) -> Shape:
        return (*op.bottoms[0][:2], *(1,) * behind)

    factor = layer.reshape(factor, wide)
    return layer.add("Add", layer.add("Mul", x, factor), added)
