"""Nodes that arrange values anew: Reshape, Flatten, Permute, Tile."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from netspec.onnx.reading.build import Build
from netspec.onnx.reading.library import library
from netspec.onnx.reading.node import LARGEST_SHAPE, Node
from netspec.onnx.reading.rules.table import rule
from netspec.onnx.reading.values import CUT, REAL, WHOLE, Blob, Padded, Value, is_real
from netspec.schema import LayerParameter, TileParameter

_WHOLE_TYPES = ("INT32", "INT64")


@rule("Identity", whole=True)
def identity(node: Node, net: Build) -> Value:
    """Take the input itself."""
    return node.inputs[0] or net.blob(node, 0)


@rule("Cast", "CastLike", whole=True)
def cast(node: Node, net: Build) -> Value:
    """Take the input itself, where no value changes but for its precision."""
    x = node.inputs[0] or net.blob(node, 0)
    if node.op == "CastLike":
        other = node.inputs[1]
        real = other is not None and (
            other.is_real if not isinstance(other, Blob | Padded) else True
        )
        if isinstance(other, Blob | Padded):
            real = other.kind == REAL
        to = "FLOAT" if real else "INT64"
    else:
        number = node.option("to")
        to = library().TensorProto.DataType.Name(number)
        real = is_real(library().helper.tensor_dtype_to_np_dtype(number))
        if to in ("FLOAT16", "BFLOAT16"):
            net.doubt(f"values are cast to {to}; here they stay float32")
        elif real and to not in ("FLOAT", "DOUBLE"):
            node.refuse(f"to is {to}, which rounds to 8 bits or fewer")
    if isinstance(x, Padded):
        x = net.padding(x)
    if not isinstance(x, Blob):
        node.refuse("its input is a constant")
    if x.kind == CUT or (not real and to not in _WHOLE_TYPES):
        node.refuse(f"from {x.kind} to {to}; blobs hold real numbers")
    kind = REAL if real else WHOLE if x.kind == WHOLE else CUT
    if kind == x.kind:
        return x
    return Blob(x.shape, kind, x.maker, x.place, x.tensor, x.readers, x.twin or x)


@rule("Reshape")
def reshape(node: Node, net: Build) -> Blob:
    """Reshape, or Flatten where all but the first axis become one."""
    x = net.blob(node, 0)
    given = node.option("shape") if len(node.inputs) < 2 else node.whole(1, "the shape")
    if given is None:
        node.refuse("the shape is not given")
    if node.flag("allowzero") and 0 in given:
        node.refuse(f"allowzero is 1 for shape {given}, so a size is 0")
    return net.reshape(x, _resolved(node, x.shape, list(given)), "")


def _resolved(node: Node, shape: Sequence[int], given: list[int]) -> list[int]:
    """Return a shape with what is copied and what is left open put in."""
    sizes = []
    for place, size in enumerate(given):
        if size == 0 and place >= len(shape):
            node.refuse(f"shape {given} copies axis {place} of {tuple(shape)}")
        sizes.append(shape[place] if size == 0 else size)
    total, open_ = math.prod(shape), sizes.count(-1)
    known = math.prod(size for size in sizes if size != -1)
    if open_ > 1 or any(size < -1 for size in sizes):
        node.refuse(f"shape is {given}; expected sizes and at most one -1")
    if open_ and known and total % known == 0:
        sizes[sizes.index(-1)] = total // known
    if -1 in sizes or math.prod(sizes) != total:
        node.refuse(
            f"shape is {given} for an input of shape {tuple(shape)}, which has "
            f"{total} values; was the net exported for another size or batch?"
        )
    return sizes


@rule("Flatten")
def flatten(node: Node, net: Build) -> Blob:
    """Two axes: those before `axis`, and the others."""
    x = net.blob(node, 0)
    axis = node.option("axis")
    if not -len(x.shape) <= axis <= len(x.shape):
        node.refuse(f"axis is {axis}, the input has shape {x.shape}")
    axis = axis + len(x.shape) if axis < 0 else axis
    return net.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])), "")


@rule("Squeeze", "Unsqueeze")
def squeeze(node: Node, net: Build) -> Blob:
    """Axes of size 1 taken out, or put in."""
    x = net.blob(node, 0)
    given = node.option("axes")
    if node.version >= 13:
        given = node.whole(1, "axes")
    shape = list(x.shape)
    if node.op == "Squeeze":
        if given is None:
            given = [axis for axis, size in enumerate(shape) if size == 1]
        axes = node.axes(len(shape), given)
        if any(shape[axis] != 1 for axis in axes):
            node.refuse(f"axes is {given} for shape {x.shape}; expected sizes of 1")
        shape = [size for axis, size in enumerate(shape) if axis not in axes]
    else:
        if given is None:
            node.refuse("axes is not given")
        for axis in sorted(node.axes(len(shape) + len(given), given)):
            shape.insert(axis, 1)
    return net.reshape(x, shape, "")


@rule("Transpose")
def transpose(node: Node, net: Build) -> Blob:
    """Permute, or Reshape where only axes of size 1 move."""
    x = net.blob(node, 0)
    rank = len(x.shape)
    order = node.option("perm") or list(range(rank))[::-1]
    if sorted(order) != list(range(rank)):
        node.refuse(f"perm is {order} for shape {x.shape}")
    return net.permute(x, order, "")


@rule("DepthToSpace", "SpaceToDepth")
def depth_to_space(node: Node, net: Build) -> Blob:
    """Channels to squares of pixels, or back: Reshape, Permute, Reshape."""
    x = net.blob(node, 0)
    block = node.option("blocksize")
    if len(x.shape) != 4 or block is None or block < 1:
        node.refuse(f"blocksize is {block} for shape {x.shape}")
    n, c, h, w = x.shape
    if node.op == "SpaceToDepth":
        if h % block or w % block:
            node.refuse(f"blocksize {block} does not divide {h} and {w}")
        y = net.reshape(x, (n, c, h // block, block, w // block, block), "split")
        y = net.permute(y, (0, 3, 5, 1, 2, 4), "")
        return net.reshape(y, (n, c * block**2, h // block, w // block), "join")
    if c % block**2:
        node.refuse(f"blocksize {block} does not fit {c} channels")
    less = c // block**2
    if node.option("mode", "DCR") == "DCR":
        shape, order = (n, block, block, less, h, w), (0, 3, 4, 1, 5, 2)
    else:
        shape, order = (n, less, block, block, h, w), (0, 1, 4, 2, 5, 3)
    y = net.permute(net.reshape(x, shape, "split"), order, "")
    return net.reshape(y, (n, less, h * block, w * block), "join")


@rule("Expand")
def expand(node: Node, net: Build) -> Blob:
    """Repeat the input to a shape that it is broadcast to: Tile."""
    x = net.blob(node, 0)
    given = node.whole(1, "the shape") or []
    try:
        whole = np.broadcast_shapes(x.shape, tuple(given))
    except ValueError:
        node.refuse(f"shape {x.shape} is not broadcast to {given}")
    return net.expand(x, whole, "")


@rule("Tile")
def tile(node: Node, net: Build) -> Blob:
    """Repeat the input along axes."""
    x = net.blob(node, 0)
    if node.version < 6:
        node.refuse("its form before version 6 is not read")
    repeats = node.whole(1, "repeats") or []
    if len(repeats) != len(x.shape) or min(repeats, default=1) < 1:
        node.refuse(f"repeats is {repeats} for shape {x.shape}")
    for axis, times in enumerate(repeats):
        if times != 1:
            param = TileParameter(axis=axis, tiles=times)
            x = net.layer(LayerParameter(type="Tile", tile_param=param), [x])
    return x


@rule("Pad")
def pad(node: Node, net: Build) -> Value:
    """Values around the input, which a convolution or a pooling takes as its own."""
    value = node.inputs[0]
    if not isinstance(value, Blob | Padded):
        node.refuse("input 0 is not given")
    node.only("mode", "constant", default="constant")
    rank = len(value.shape)
    pads, filler = _pads(node, rank)
    begin, end = pads[:rank], pads[rank:]
    if min(pads, default=0) < 0:
        x = value if isinstance(value, Blob) else net.padding(value)
        for axis in range(rank):
            less, more = max(-begin[axis], 0), max(-end[axis], 0)
            left = x.shape[axis] - less - more
            if left < 1:
                node.refuse(f"pads is {pads} for shape {value.shape}")
            x = net.cut(x, axis, less, left)
        value = x
        begin, end = [max(p, 0) for p in begin], [max(p, 0) for p in end]
    if not any(begin) and not any(end):
        return value
    if isinstance(value, Padded):
        if value.value == filler:
            begin = [a + b for a, b in zip(begin, value.begin, strict=True)]
            end = [a + b for a, b in zip(end, value.end, strict=True)]
            return Padded(value.blob, tuple(begin), tuple(end), filler, node.index)
        value = net.padding(value)
    return Padded(value, tuple(begin), tuple(end), filler, node.index)


def _pads(node: Node, rank: int) -> tuple[list[int], float]:
    """Return how much is padded, before all axes and then behind, and with what."""
    if node.version < 11:
        pads = node.option("pads" if node.version >= 2 else "paddings")
        filler = node.option("value", 0.0)
    else:
        pads = node.whole(1, "pads")
        filler = node.number(2, "the value") or 0.0
    axes = node.whole(3, "axes") if node.version >= 18 else None
    if axes is not None and pads is not None:
        places = node.axes(rank, axes)
        if len(pads) == 2 * len(places):
            whole = [0] * 2 * rank
            for index, axis in enumerate(places):
                whole[axis] = pads[index]
                whole[rank + axis] = pads[len(places) + index]
            pads = whole
    if pads is None or len(pads) != 2 * rank or rank > LARGEST_SHAPE:
        node.refuse(f"pads is {pads}; expected {2 * rank} values")
    filler = min(max(filler, -np.finfo(np.float32).max), np.finfo(np.float32).max)
    return list(pads), float(filler)
