"""Concat, Slice and Tile."""

from __future__ import annotations

import itertools

from netspec.onnx.writing.layer import FAR, Layer, writes
from netspec.onnx.writing.values import Value


@writes("Concat")
def concat(layer: Layer) -> Value:
    """Write Concat; of one bottom it is nothing."""
    if len(layer.bottoms) == 1:
        return layer.x
    return layer.add("Concat", *layer.bottoms, axis=layer.op.axis)


@writes("Slice")
def slice_(layer: Layer) -> list[Value]:
    """Write Split, or a Slice each where the size of the last part is not known."""
    op = layer.op
    if len(op.tops) == 1:
        return [layer.x]
    if layer.is_known(lambda op: op.bottoms[0][op.axis]):
        sizes = layer.integers(*(top[op.axis] for top in op.tops))
        return layer.several(len(op.tops), "Split", layer.x, sizes, axis=op.axis)
    bounds = (0, *op.slice_point, FAR)
    return [
        layer.cut(layer.x, [start], [end], [op.axis])
        for start, end in itertools.pairwise(bounds)
    ]


@writes("Tile")
def tile(layer: Layer) -> Value:
    """Write Tile."""
    op = layer.op
    repeats = [1] * len(op.bottoms[0])
    repeats[op.axis] = op.tiles
    return layer.add("Tile", layer.x, layer.integers(*repeats))
