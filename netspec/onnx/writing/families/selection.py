"""Crop, BatchReindex and Filter."""

from __future__ import annotations

from netspec.onnx.writing.layer import BOOL, INT64, Layer, writes
from netspec.onnx.writing.values import Value


@writes("Crop")
def crop(layer: Layer) -> Value:
    """Write a Slice of the axes that become smaller."""
    op = layer.op
    axes = [a for a in range(op.axis, len(op.bottoms[0])) if _is_cut(layer, a)]
    if not axes:
        return layer.x
    starts = [op.offset[axis] for axis in axes]
    ends = [op.offset[axis] + op.tops[0][axis] for axis in axes]
    return layer.cut(layer.x, starts, ends, axes)


def _is_cut(layer: Layer, axis: int) -> bool:
    """Tell whether an axis becomes smaller; refuse one that depends on the batch."""
    both = [op for op in (layer.op, layer.other) if op is not None]
    if all(op.tops[0][axis] == op.bottoms[0][axis] for op in both):
        return False
    layer.same(f"the size of axis {axis}", lambda op: op.tops[0][axis])
    return True


@writes("BatchReindex")
def batch_reindex(layer: Layer) -> Value:
    """Write a Gather of items."""
    index = layer.add("Cast", layer.bottoms[1], to=INT64)
    return layer.add("Gather", layer.x, index, axis=0)


@writes("Filter")
def filter_(layer: Layer) -> list[Value]:
    """Write a Compress of every bottom but the last, which selects."""
    *items, selector = layer.bottoms
    if len(layer.op.bottoms[-1]) > 1:
        selector = layer.add("Reshape", selector, layer.integers(-1))
    chosen = layer.add("Cast", selector, to=BOOL)
    return [layer.add("Compress", each, chosen, axis=0) for each in items]
