"""Reduction and ArgMax."""

from __future__ import annotations

from typing import Any

from netspec.onnx.writing.layer import FAR, FLOAT, Layer, writes
from netspec.onnx.writing.values import Value
from netspec.ops.base import Shape, count

REDUCE = {
    "SUM": "ReduceSum",
    "MEAN": "ReduceMean",
    "ASUM": "ReduceL1",
    "SUMSQ": "ReduceSumSquare",
}


@writes("Reduction")
def reduction(layer: Layer) -> Value:
    """Write a reduction of the last axes, and its coefficient."""
    op = layer.op
    kind = REDUCE[op.operation]
    if op.axis != 1 or op.coeff == 1:
        y = layer.reduce_last(kind, layer.x, op.axis, keep=False)
        return layer.affine(y, op.coeff, 0)
    # OpenCV 4.14 repeats the first of the products of one axis and a number.
    y = layer.affine(layer.reduce_last(kind, layer.x, 1, keep=True), op.coeff, 0)

    def kept(op: Any) -> Shape:
        shape: Shape = op.bottoms[0]
        return (shape[0], *(1,) * (len(shape) - 1))

    return layer.reshape(y, lambda op: op.tops[0], kept)


@writes("ArgMax")
def argmax(layer: Layer) -> Value:
    """Write ArgMax or TopK; of equal values the last place comes first."""
    op = layer.op
    if op.axis is not None:
        values, places = _largest(layer, layer.x, op.axis, op.bottoms[0][op.axis])
        return values if op.out_max_val else places
    rows = layer.reshape(layer.x, lambda op: _rows(op.bottoms[0]))
    values, places = _largest(layer, rows, 1, _rows(op.bottoms[0])[1])

    def joined(op: object) -> Shape:
        n = op.bottoms[0][0]  # type: ignore[attr-defined]
        return (n, layer.op.top_k * (2 if layer.op.out_max_val else 1))

    if op.out_max_val:
        places = layer.add("Concat", places, values, axis=1)
    return layer.reshape(places, lambda op: op.tops[0], joined)


def _rows(shape: Shape) -> Shape:
    return (shape[0], count(shape, 1))


def _largest(layer: Layer, x: Value, axis: int, size: int) -> tuple[Value, Value]:
    """Return the largest values along an axis, and their places as numbers.

    TopK prefers the first of equal values, so it gets them backwards.
    """
    layer.same(
        "the number of values to choose from",
        lambda op: (
            count(op.bottoms[0], 1) if op.axis is None else op.bottoms[0][op.axis]
        ),
    )
    top_k, wants_values = layer.op.top_k, layer.op.out_max_val
    if top_k == 1:
        values = layer.reduce("ReduceMax", x, [axis], keep=True) if wants_values else x
        places = layer.add("ArgMax", x, axis=axis, keepdims=1, select_last_index=1)
        return values, layer.add("Cast", places, to=FLOAT)
    backwards = layer.cut(x, [-1], [-FAR], [axis], [-1])
    values, places = layer.several(
        2, "TopK", backwards, layer.integers(top_k), axis=axis
    )
    places = layer.add("Cast", places, to=FLOAT)
    return values, layer.add("Sub", layer.number(size - 1), places)
