"""Reductions: Pooling over whole planes, else Reduction over the last axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from netspec.onnx.reading.build import Build
from netspec.onnx.reading.node import Node
from netspec.onnx.reading.rules.pooling import whole_planes
from netspec.onnx.reading.rules.table import rule
from netspec.onnx.reading.values import Blob
from netspec.schema import LayerParameter, ReductionParameter

_OPERATIONS = {
    "ReduceMean": "MEAN",
    "ReduceSum": "SUM",
    "ReduceSumSquare": "SUMSQ",
    "ReduceL1": "ASUM",
    "ReduceL2": "SUMSQ",
}
_AXES_AS_INPUT = 18  # the version from which axes are an input; of ReduceSum earlier


@rule(*_OPERATIONS, "ReduceMax", "ReduceMin")
def reduce(node: Node, net: Build) -> Blob:
    """Take a sum, mean, norm or extreme over axes."""
    x = net.blob(node, 0)
    axes = _axes(node, len(x.shape))
    if not axes:
        if node.op in ("ReduceL1", "ReduceL2", "ReduceSumSquare"):
            node.refuse("it reduces no axis")
        return x
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    kept_shape = [1 if axis in axes else s for axis, s in enumerate(x.shape)]
    shape = [x.shape[axis] for axis in kept]
    planes = axes == list(range(2, len(x.shape)))
    if node.op in ("ReduceMax", "ReduceMin"):
        y = _extreme(node, net, x, kept, axes)
    elif node.op == "ReduceMean" and planes:
        y = whole_planes(net, x, "AVE")
    else:
        y = _reduced(net, _OPERATIONS[node.op], net.permute(x, kept + axes), len(kept))
    if node.op == "ReduceL2":
        y = net.power(y, power=0.5, role="root")
    return net.reshape(y, kept_shape if node.flag("keepdims") else shape, "shape")


def _axes(node: Node, rank: int) -> list[int]:
    """Return the axes to reduce, rising."""
    as_input = 13 if node.op == "ReduceSum" else _AXES_AS_INPUT
    given = node.option("axes")
    if node.version >= as_input:
        given = node.whole(1, "axes")
    if not given:
        return [] if node.flag("noop_with_empty_axes") else list(range(rank))
    return sorted(node.axes(rank, given))


def _reduced(net: Build, operation: str, x: Blob, axis: int) -> Blob:
    """Reduce all axes from one on."""
    kind = ReductionParameter.ReductionOp.Value(operation)
    param = ReductionParameter(operation=kind, axis=axis)
    return net.layer(LayerParameter(type="Reduction", reduction_param=param), [x])


def _extreme(
    node: Node, net: Build, x: Blob, kept: Sequence[int], axes: Sequence[int]
) -> Blob:
    """Return the maximum over axes by pooling planes; the minimum is its mirror."""
    if node.op == "ReduceMin":
        x = net.power(x, scale=-1, role="negative")
    if not (list(kept) == [0, 1] and len(x.shape) > 2):
        x = net.permute(x, [*kept, *axes])
        shape = x.shape
        outer = shape[: len(kept)] or (1,)
        inner = math.prod(shape[len(kept) :])
        x = net.reshape(x, (outer[0], math.prod(outer[1:]), inner, 1))
    y = whole_planes(net, x, "MAX")
    return net.power(y, scale=-1, role="minimum") if node.op == "ReduceMin" else y
