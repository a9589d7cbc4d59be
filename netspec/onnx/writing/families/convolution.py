"""Convolution, Deconvolution and Im2col."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.onnx.writing.layer import Layer, writes
from netspec.onnx.writing.values import Value
from netspec.ops.base import Shape, count
from netspec.ops.convolution import DEPTHWISE

KINDS = {"Convolution": "Conv", "Deconvolution": "ConvTranspose"}


@writes(*KINDS, *DEPTHWISE)
def convolution(layer: Layer) -> list[Value]:
    """Write a node for every bottom, all with the same weights."""
    weights, *bias = (layer.parameter(slot) for slot in range(len(layer.op.params)))
    if not layer.op.kernel:  # no spatial axis: ONNX wants one
        shape = (*layer.op.params[0].shape, 1)
        weights = layer.parameter(0, shape)
    options = {**_window(layer.op), "group": layer.op.group}
    tops = []
    for bottom in layer.bottoms:
        x = _images(layer, bottom)
        if _is_read_beside(layer):
            x = layer.add("Pad", x, layer.integers(*_margins(layer.op)))
            options["pads"] = [0, 0, 0, 0]
        y = layer.add(KINDS[layer.node.type], x, weights, *bias, **options)
        tops.append(_back(layer, y))
    return tops


def _is_read_beside(layer: Layer) -> bool:
    """Tell whether OpenCV 4.14 computes from memory beside the image.

    It does so for depthwise kernels of 3 by 3 with a padding of its own of 1.
    """
    op = layer.op
    if (
        KINDS[layer.node.type] != "Conv"
        or not 1 < op.group == op.channels == op.num_output
    ):
        return False
    if tuple(op.kernel) != (3, 3) or max(op.pad) != 1:
        return False
    return min(op.bottoms[0][op.axis + 1 :]) == 1 or max(op.dilation) > 1


def _margins(op: Any) -> list[int]:
    return [0, 0, *op.pad, 0, 0, *op.pad]


@writes("Im2col")
def im2col(layer: Layer) -> Value:
    """Write a convolution of every channel with kernels that pick one pixel each."""
    op = layer.op
    size = count(op.kernel)
    picks = np.eye(size, dtype=np.float32).reshape(size, 1, *(op.kernel or (1,)))
    weights = layer.constant(np.tile(picks, (op.channels, *(1,) * (picks.ndim - 1))))
    x = _images(layer, layer.x)
    return _back(layer, layer.add("Conv", x, weights, **_window(op), group=op.channels))


def _window(op: Any) -> dict[str, Any]:
    return {
        "kernel_shape": list(op.kernel) or [1],
        "strides": list(op.stride) or [1],
        "pads": [*op.pad, *op.pad] or [0, 0],
        "dilations": list(op.dilation) or [1],
    }


def _as_images(shape: Shape, axis: int) -> Shape:
    """Return (N, C, spatial...): one batch axis, and at least one spatial one."""
    return (count(shape, 0, axis), shape[axis], *(shape[axis + 1 :] or (1,)))


def _images(layer: Layer, x: Value) -> Value:
    return layer.reshape(x, lambda op: _as_images(op.bottoms[0], op.axis))


def _back(layer: Layer, y: Value) -> Value:
    return layer.reshape(
        y, lambda op: op.tops[0], lambda op: _as_images(op.tops[0], op.axis)
    )
