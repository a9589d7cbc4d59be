"""Pooling nodes: Pooling, Slice for windows that only Caffe has, Scale for counts.

Caffe rounds sizes up, pads both sides alike and divides an average by what of the
window lies in the padded image. Its maximum never sees the padding.
"""

from __future__ import annotations

import math

import numpy as np

from netspec.onnx.reading.build import Build, check_made, fixed
from netspec.onnx.reading.node import Node
from netspec.onnx.reading.rules.table import rule
from netspec.onnx.reading.rules.windows import (
    Fit,
    Sizes,
    Windows,
    is_around_images,
    joined,
    read_windows,
    wanted,
)
from netspec.onnx.reading.values import Blob, Padded
from netspec.schema import LayerParameter, PoolingParameter

LOWEST = -1e30  # padding that no maximum takes


@rule("MaxPool")
def max_pool(node: Node, net: Build) -> Blob:
    """Take the maximum of what of every window lies in the image."""
    node.only("storage_order", 0)
    if sum(bool(name) for name in node.proto.output) > 1:
        node.refuse(
            "its second output, the places of the maxima, is used; Caffe's mask counts "
            "within a plane, ONNX through the whole tensor"
        )
    x, windows = _pooled(node, net, "MAX")
    _refuse_empty(node, windows)
    found = _fits(node, windows)
    return _shaped(net, x, windows, found, "MAX", None, _rank(node))


@rule("AveragePool")
def average_pool(node: Node, net: Build) -> Blob:
    """Take the mean of what of every window lies in the image, or in padding too."""
    x, windows = _pooled(node, net, "AVE")
    _refuse_empty(node, windows)
    found = _fits(node, windows)
    inside = _counted(node, windows)
    counts = [
        _of_caffe(windows, found, axis) / inside[axis]
        for axis in range(len(windows.size))
    ]
    factors = None if all(np.all(each == 1) for each in counts) else counts
    return _shaped(net, x, windows, found, "AVE", factors, _rank(node))


@rule("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: Node, net: Build) -> Blob:
    """Take the mean or the maximum of every plane."""
    x = net.blob(node, 0)
    if len(x.shape) < 3:
        node.refuse(f"x has shape {x.shape}; expected (N, C, ...)")
    pool = "AVE" if node.op == "GlobalAveragePool" else "MAX"
    return whole_planes(net, x, pool)


def whole_planes(net: Build, x: Blob, pool: str, role: str = "") -> Blob:
    """Pool all that follows the channels of (N, C, ...) into one value each."""
    shape = x.shape
    if len(shape) != 4:
        x = net.reshape(x, (*shape[:2], math.prod(shape[2:]), 1))
    kind = PoolingParameter.PoolMethod.Value(pool)
    param = PoolingParameter(pool=kind, global_pooling=True)
    y = net.layer(LayerParameter(type="Pooling", pooling_param=param), [x], role=role)
    return net.reshape(y, (*shape[:2], *(1,) * (len(shape) - 2)), "shape")


def _pooled(node: Node, net: Build, pool: str) -> tuple[Blob, Windows]:
    """Return what is pooled, (N, C, H, W), and the windows over H and W."""
    value = node.inputs[0] if node.has(0) else None
    shape = value.shape if value is not None else ()
    if len(shape) not in (3, 4):
        node.refuse(f"x has shape {shape}; expected one or two spatial axes")
    kernel = tuple(node.option("kernel_shape") or ())
    if len(kernel) != len(shape) - 2 or min(kernel) < 1:
        node.refuse(f"kernel_shape is {list(kernel)} for x of shape {shape}")
    windows = read_windows(node, shape[2:], kernel)
    if any(each != 1 for each in windows.dilation):
        node.refuse(f"dilations is {list(windows.dilation)}; Pooling has none")
    if isinstance(value, Padded) and _joins(value, pool):
        windows, x = joined(windows, value), value.blob
    else:
        x = net.blob(node, 0, "x")
    if len(x.shape) == 4:
        return x, windows
    one = {"kernel": 1, "stride": 1, "dilation": 1, "begin": 0, "end": 0}
    flat = {name: (*getattr(windows, name), usual) for name, usual in one.items()}
    wide = Windows(size=(*windows.size, 1), counts=(*windows.counts, 1), **flat)
    return net.reshape(x, (*x.shape, 1)), wide


def _rank(node: Node) -> int:
    value = node.inputs[0]
    return len(value.shape) if value is not None else 0


def _joins(padded: Padded, pool: str) -> bool:
    """Tell whether pooling may see padding around its input as its own."""
    if not is_around_images(padded):
        return False
    if pool == "AVE":
        return padded.value == 0
    maker = padded.blob.maker
    positive = maker is not None and maker.type == "ReLU" and maker.op.keeps_sign
    return padded.value <= LOWEST or (positive and padded.value == 0)


def _refuse_empty(node: Node, windows: Windows) -> None:
    for size, kernel, step, before, count in zip(
        windows.size,
        windows.kernel,
        windows.stride,
        windows.begin,
        windows.counts,
        strict=True,
    ):
        if before >= kernel or (count - 1) * step - before >= size:
            node.refuse(
                f"a window of kernel_shape {list(windows.kernel)} sees nothing but "
                f"padding"
            )


def _fits(node: Node, windows: Windows) -> list[Fit]:
    """Return padding under which Caffe has all wanted windows, rounding up."""
    found = []
    for axis, (size, kernel, step, before, count) in enumerate(
        zip(
            windows.size,
            windows.kernel,
            windows.stride,
            windows.begin,
            windows.counts,
            strict=True,
        )
    ):
        first, pad = 0, before
        while -(-(size + 2 * pad - kernel) // step) + 1 < first + count:
            first, pad = first + 1, pad + step
        if pad >= kernel:
            node.refuse(
                f"pads {before} before and {windows.end[axis]} behind spatial axis "
                f"{axis} need {pad} on both sides, but Pooling takes less than its "
                f"kernel, {kernel}"
            )
        found.append(Fit(pad, first))
    return found


def _counted(node: Node, windows: Windows) -> list[np.ndarray]:
    """Return by how much ONNX divides, as a factor for every axis."""
    value = node.inputs[0]
    before: Sizes = ()  # what counts as image
    after: Sizes = ()
    if isinstance(value, Padded) and _joins(value, "AVE"):
        before, after = value.begin[2:], value.end[2:]
    counted = []
    included = node.flag("count_include_pad")
    for axis, size in enumerate(windows.size):
        begin, end = windows.begin[axis], windows.end[axis]
        low, high = (begin, size + end)
        if not included:
            explicit = axis < len(before)
            low = before[axis] if explicit else 0
            high = size + (after[axis] if explicit else 0)
        starts = np.arange(windows.counts[axis]) * windows.stride[axis] - begin
        stops = np.minimum(starts + windows.kernel[axis], high)
        counted.append((stops - np.maximum(starts, -low)).astype(np.float64))
    return counted


def _of_caffe(windows: Windows, found: list[Fit], axis: int) -> np.ndarray:
    """Return by how much Caffe divides along an axis, for the wanted windows."""
    fit, step = found[axis], windows.stride[axis]
    places = np.arange(fit.first, fit.first + windows.counts[axis])
    starts = places * step - fit.pad
    stops = np.minimum(starts + windows.kernel[axis], windows.size[axis] + fit.pad)
    return (stops - starts).astype(np.float64)


def _shaped(
    net: Build,
    x: Blob,
    windows: Windows,
    found: list[Fit],
    pool: str,
    factors: list[np.ndarray] | None,
    rank: int,
) -> Blob:
    """Add the layers, and bring the result to the shape of the node's."""
    param = PoolingParameter(pool=PoolingParameter.PoolMethod.Value(pool))
    _set(param, "kernel", windows.kernel, None)
    _set(param, "stride", windows.stride, 1)
    _set(param, "pad", tuple(fit.pad for fit in found), 0)
    y = net.layer(LayerParameter(type="Pooling", pooling_param=param), [x])
    y = wanted(net, y, found, windows.counts)
    if factors is not None:
        check_made(math.prod(windows.counts))
        y = net.scaled(y, 2, fixed(np.outer(*factors)), role="counts")
    return net.reshape(y, y.shape[:rank], "shape")


def _set(
    param: PoolingParameter, name: str, values: tuple[int, ...], usual: int | None
) -> None:
    """Set kernel, stride or pad: as one number where both axes have the same."""
    if len(set(values)) > 1:
        setattr(param, f"{name}_h", values[0])
        setattr(param, f"{name}_w", values[1])
    elif values[0] != usual:
        setattr(param, "kernel_size" if name == "kernel" else name, values[0])
