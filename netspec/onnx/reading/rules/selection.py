"""Nodes that join, cut and choose: Concat, Slice, and Embed for tables."""

from __future__ import annotations

import numpy as np

from netspec.onnx.reading.build import MAX_PIECES, Build, as_weight
from netspec.onnx.reading.node import Node
from netspec.onnx.reading.rules.table import rule
from netspec.onnx.reading.values import CUT, REAL, WHOLE, Blob, Constant
from netspec.schema import (
    ArgMaxParameter,
    EmbedParameter,
    LayerParameter,
    PoolingParameter,
)


@rule("Concat")
def concat(node: Node, net: Build) -> Blob:
    """Concat along an axis."""
    for place, value in enumerate(node.inputs):
        if isinstance(value, Constant):
            node.refuse(
                f"input {place} is a constant of shape {value.shape}; only what the "
                f"net computes is joined"
            )
    blobs = [net.blob(node, place) for place in range(len(node.inputs))]
    axis = node.axis(len(blobs[0].shape), default=1)
    return net.concat(blobs, axis, "")


@rule("Split")
def split(node: Node, net: Build) -> list[Blob]:
    """Slice into pieces of given or equal sizes."""
    x = net.blob(node, 0)
    axis = node.axis(len(x.shape))
    count, size = len(node.proto.output), x.shape[axis]
    sizes = node.option("split")
    if node.version >= 13 or (sizes is None and node.has(1)):
        sizes = node.whole(1, "split")
    if sizes is None:
        if node.version < 18 and size % count:
            node.refuse(f"axis {axis} of size {size} is not cut into {count} parts")
        if node.option("num_outputs", count) != count:
            node.refuse(f"num_outputs is not {count}, the number of outputs")
        part = -(-size // count)
        sizes = [min(part, size - start) for start in range(0, size, part)]
    if len(sizes) != count or sum(sizes) != size or min(sizes) < 1:
        node.refuse(f"split is {sizes} for {count} outputs of an axis of size {size}")
    return net.pieces(x, axis, sizes, "")


@rule("Slice")
def slice_(node: Node, net: Build) -> Blob:
    """Slice from start to end, and what a step takes of it."""
    x = net.blob(node, 0)
    if node.version < 10:
        starts, ends = node.option("starts"), node.option("ends")
        axes, steps = node.option("axes"), None
    else:
        starts, ends = node.whole(1, "starts"), node.whole(2, "ends")
        axes, steps = node.whole(3, "axes"), node.whole(4, "steps")
    starts, ends = starts or [], ends or []
    axes = node.axes(len(x.shape), axes or range(len(starts)))
    steps = steps or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        node.refuse(f"starts {starts}, ends {ends} and axes {axes} differ in number")
    strides: dict[int, int] = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            node.refuse(f"steps is {steps}; only steps forward are read")
        first, stop, _ = slice(start, end).indices(x.shape[axis])
        count = -(-(stop - first) // step)
        if count < 1:
            node.refuse(f"nothing is left of axis {axis} of {x.shape}")
        x = net.cut(x, axis, first, (count - 1) * step + 1)
        if step > 1 and count > 1:
            strides[axis] = step
    return _strided(node, net, x, strides)


def _strided(node: Node, net: Build, x: Blob, strides: dict[int, int]) -> Blob:
    """Return every so-manieth place of axes: pooling of single pixels."""
    if not strides:
        return x
    if len(x.shape) != 4 or not set(strides) <= {2, 3}:
        node.refuse(
            f"steps {sorted(strides.values())} along axes {sorted(strides)} of shape "
            f"{x.shape}; only steps over the pixels of (N, C, H, W) are read"
        )
    param = PoolingParameter(pool=PoolingParameter.MAX, kernel_size=1)
    param.stride_h, param.stride_w = strides.get(2, 1), strides.get(3, 1)
    return net.layer(LayerParameter(type="Pooling", pooling_param=param), [x])


@rule("Gather", whole=True)
def gather(node: Node, net: Build) -> Blob:
    """Embed for a table and computed indices; Slice for constant ones."""
    table = node.inputs[0]
    if isinstance(table, Constant):
        return _embedded(node, net, table)
    x = net.blob(node, 0)
    if x.kind != REAL:
        node.refuse(f"it takes {x.kind} from what the net is given")
    places = node.constant(1, "indices").values
    axis = node.axis(len(x.shape))
    size = x.shape[axis]
    flat = [int(place) for place in places.reshape(-1)]
    if not flat or any(not -size <= place < size for place in flat):
        node.refuse(f"indices are {flat[:8]} for an axis of size {size}")
    runs: list[list[int]] = []
    for place in (place % size for place in flat):
        if runs and runs[-1][1] == place:
            runs[-1][1] += 1
        else:
            runs.append([place, place + 1])
    if len(runs) > MAX_PIECES:
        node.refuse(f"indices are in {len(runs)} pieces, more than {MAX_PIECES}")
    pieces = [net.cut(x, axis, start, stop - start) for start, stop in runs]
    y = net.concat(pieces, axis)
    return net.reshape(y, (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))


def _embedded(node: Node, net: Build, table: Constant) -> Blob:
    indices = net.blob(node, 1, "indices")
    if len(table.shape) != 2 or node.axis(2) != 0 or not table.is_real:
        node.refuse(
            f"it takes from a constant of shape {table.shape}; expected a table of "
            f"rows, and axis 0"
        )
    if indices.kind not in (WHOLE, CUT):
        node.refuse(f"its indices are {indices.kind}; expected integers")
    net.doubt(
        f"indices of {node.proto.name or node.op!r} count from 0; -1 for the last row "
        f"means nothing to Embed"
    )
    rows, outputs = table.shape
    param = EmbedParameter(num_output=outputs, input_dim=rows, bias_term=False)
    message = LayerParameter(type="Embed", embed_param=param)
    return net.layer(message, [indices], [as_weight(table)])


@rule("ArgMax")
def arg_max(node: Node, net: Build) -> Blob:
    """ArgMax, which of equal values takes the last one."""
    if not node.flag("select_last_index"):
        node.refuse(
            "select_last_index is 0, the first of equal values; ArgMax takes the last. "
            "Leave it out of the export, or set select_last_index"
        )
    x = net.blob(node, 0)
    axis = node.axis(len(x.shape))
    param = ArgMaxParameter(axis=axis)
    y = net.layer(LayerParameter(type="ArgMax", argmax_param=param), [x])
    y.kind = WHOLE
    if node.flag("keepdims"):
        return y
    shape = np.delete(np.array(x.shape), axis)
    y = net.reshape(y, [int(size) for size in shape])
    y.kind = WHOLE
    return y
