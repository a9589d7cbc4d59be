"""Pooling and SPP.

Windows are written with explicit padding and rounding down, so that nothing depends on
how a reader rounds or counts: the padding at the end is what the last window covers
beyond the image. Caffe's average counts the padding that was asked for, but nothing
beyond it; where a window reaches further, a factor for each place makes up for that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from netspec.onnx.writing.layer import FLOAT, Layer, writes
from netspec.onnx.writing.values import Value
from netspec.ops.base import count

LOWEST = float(np.finfo(np.float32).min)  # what Caffe's maximum of no value is


class Axis(NamedTuple):
    """The windows along one axis."""

    size: int
    kernel: int
    stride: int
    pad: int
    windows: int

    @property
    def empty(self) -> int:
        """How many windows begin beyond the image and its padding."""
        starts = range(0, self.windows * self.stride, self.stride)
        return sum(start >= self.size + self.pad for start in starts)

    @property
    def end(self) -> int:
        """The padding behind the image that the last window with a value covers."""
        last = (self.windows - self.empty - 1) * self.stride
        return max(0, last + self.kernel - self.size - self.pad)

    @property
    def shares(self) -> list[float]:
        """By what the average of each whole window is to be multiplied."""
        limit = self.size + 2 * self.pad
        starts = range(0, (self.windows - self.empty) * self.stride, self.stride)
        return [self.kernel / min(self.kernel, limit - start) for start in starts]


@writes("Pooling")
def pooling(layer: Layer) -> Value | list[Value]:
    """Write a pooling, and the mask of the maxima if there is a second top."""
    _check_pool(layer)
    op = layer.op
    axes = _axes(op.bottoms[0][2:], op.kernel, op.stride, op.pad, op.tops[0][2:])
    if len(op.tops) > 1:
        return _with_mask(layer, axes)
    return _pool(layer, layer.x, op.pool, axes)


@writes("SPP")
def spp(layer: Layer) -> Value:
    """Write a pooling for every level of the pyramid, flattened and joined."""
    _check_pool(layer)
    op = layer.op
    levels = []
    for level in op.levels:
        axes = _axes(
            op.bottoms[0][2:], level.kernel, level.kernel, level.pad, level.pooled
        )
        levels.append(_pool(layer, layer.x, op.pool, axes))
    if len(levels) == 1:
        return levels[0]
    flat = [layer.add("Flatten", level, axis=1) for level in levels]
    return layer.add("Concat", *flat, axis=1)


def _check_pool(layer: Layer) -> None:
    if layer.op.pool == "STOCHASTIC":
        raise layer.refused(
            "STOCHASTIC pooling weighs values by themselves; set pool to MAX or AVE"
        )


def _axes(*each: Any) -> tuple[Axis, ...]:
    return tuple(Axis(*values) for values in zip(*each, strict=True))


def _pool(layer: Layer, x: Value, pool: str, axes: tuple[Axis, ...]) -> Value:
    """Write a pooling of whole windows, and what is beyond them."""
    if all(a.windows == 1 and a.kernel == a.size and not a.pad for a in axes):
        kind = "GlobalMaxPool" if pool == "MAX" else "GlobalAveragePool"
        return layer.add(kind, x)
    if pool == "MAX":
        y = layer.add("MaxPool", x, **_window(axes))
        return _padded(layer, y, axes, LOWEST)
    if any(axis.empty for axis in axes):
        raise layer.refused(
            f"its last window begins beyond the image "
            f"{tuple(layer.op.bottoms[0][2:])}, where Caffe divides 0 by 0; set "
            f"round_mode: FLOOR, or a smaller stride"
        )
    y = average(layer, x, axes)
    rows, columns = (np.array(axis.shares) for axis in axes)
    shares = np.outer(rows, columns)
    if (shares != 1).any():
        y = layer.add("Mul", y, layer.constant(shares[None, None], hint="shares"))
    return y


def average(layer: Layer, x: Value, axes: tuple[Axis, ...]) -> Value:
    """Write the average of whole windows, padding included.

    Padding is a node of its own: OpenCV 4.14 neither counts that of an AveragePool nor
    takes two ends that differ.
    """
    pads = [0, 0, *(axis.pad for axis in axes), 0, 0, *(axis.end for axis in axes)]
    if any(pads):
        x = layer.add("Pad", x, layer.integers(*pads))
    window = {**_window(axes), "pads": [0, 0, 0, 0]}
    return layer.add("AveragePool", x, **window)


def _with_mask(layer: Layer, axes: tuple[Axis, ...]) -> list[Value]:
    """Write a maximum and its places; ONNX counts them through the whole tensor."""
    y, places = layer.several(2, "MaxPool", layer.x, **_window(axes))
    plane = layer.integers(count(layer.op.bottoms[0], 2))
    mask = layer.add("Cast", layer.add("Mod", places, plane), to=FLOAT)
    return [_padded(layer, y, axes, LOWEST), _padded(layer, mask, axes, -1)]


def _window(axes: tuple[Axis, ...]) -> dict[str, Any]:
    return {
        "kernel_shape": [axis.kernel for axis in axes],
        "strides": [axis.stride for axis in axes],
        "pads": [*(axis.pad for axis in axes), *(axis.end for axis in axes)],
    }


def _padded(layer: Layer, y: Value, axes: tuple[Axis, ...], value: float) -> Value:
    """Append the results of windows without any value."""
    if not any(axis.empty for axis in axes):
        return y
    ends = (0, 0, *(axis.empty for axis in axes))
    pads = layer.integers(0, 0, 0, 0, *ends)
    return layer.add("Pad", y, pads, layer.number(value))
