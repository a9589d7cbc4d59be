"""Depthwise correlation straight from the image, for the usual windows.

Windows of 3 x 3 and 5 x 5 taps side by side, 1 or 2 apart: those of a Convolution, and
of the gradient of one with windows 1 apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.arrays import Array
from runtime.backends.cpu.correlation.correlation import Correlation, Weights
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel
from runtime.backends.cpu.machine.llvm import (
    F32,
    LANES,
    fma,
    intrinsic,
    load,
    splat,
)
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.simd import f32
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.cpu.machine.windows import Block, Image, Windows, put

ZERO: Any = np.float32(0)
ONE: Any = np.float32(1)

# The fields of the kernels, in elements but for weight_step.
#
#   x: (images, channels, height, width)
#   y: (images, channels, out_height, out_width)
#   w: (channels, window); that of tap t lies weight_step bytes after that of t - 1
#   first_weight: element of a window that the first tap takes
#   bias, scale: (channels,), or 0 for none; scale multiplies the weights
#   beyond: (width,) zeros, a row beyond the image
#   top, left: row and column of x that the first tap of the first window sees
#   floor: -inf for none
FIELDS = (
    "x y w bias scale beyond images channels height width out_height out_width top "
    "left window first_weight weight_step"
)


def _plane_intrinsic(size: int, step: int) -> Any:
    windows = Windows(size, size, step, rows=4 if step == 1 else 2)

    @intrinsic
    def plane(
        context: Any,
        x: Any,
        height: Any,
        width: Any,
        top: Any,
        left: Any,
        beyond: Any,
        y: Any,
        out_height: Any,
        out_width: Any,
        weights: Any,
        weight_step: Any,
        bias: Any,
        factor: Any,
        floor: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            image = Image(*args[:6])
            y, out_height, out_width, at, weight_step, *rest = args[6:]
            bias, factor, low = (splat(builder, value) for value in rest)
            weights = weights_at(builder, at, weight_step, size * size)

            def body(block: Block) -> None:
                sums: list[Any] = [None] * windows.rows
                for seen in range(windows.seen):
                    values = block.taken(seen)
                    for i in range(windows.rows):
                        u = seen - step * i
                        if 0 <= u < size:
                            row = weights[u * size : (u + 1) * size]
                            sums[i] = added(builder, sums[i], row, values)
                results = []
                for one in sums:
                    results.append(raised(builder, one, factor, bias, low))
                put(builder, block, y, out_width, results)

            windows.each_block(builder, image, (out_height, out_width), body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 11, *[types.float32] * 3), generate

    return plane


def weights_at(builder: Any, at: Any, step: Any, number: int) -> list[Any]:
    """Emit loads of weights, `step` bytes apart, into all lanes of a vector each."""
    weights = []
    for _ in range(number):
        weights.append(splat(builder, load(builder, at, F32)))
        at = builder.add(at, step)
    return weights


def raised(builder: Any, total: Any, factor: Any, bias: Any, low: Any) -> Any:
    """Emit max(low, factor total + bias)."""
    value = fma(builder, factor, total, bias)
    # Not a maximum: a NaN must stay.
    return builder.select(builder.fcmp_ordered("<", value, low), low, value)


def added(builder: Any, so_far: Any, weights: list[Any], values: list[Any]) -> Any:
    """Add the products of a row of taps to a sum, or start it with them."""
    for weight, value in zip(weights, values, strict=True):
        if so_far is None:
            so_far = builder.fmul(weight, value)
        else:
            so_far = fma(builder, weight, value, so_far)
    return so_far


# planeK_S(x, height, width, top, left, beyond, y, out_height, out_width, weights,
#     weight_step, bias, factor, floor):
#   y = max(floor, bias + factor * sum over K x K taps of weight * x) for a plane, with
#   windows S apart. The other arguments are as in FIELDS; planes and weights are given
#   by the address of the first element.
plane3_1 = _plane_intrinsic(3, 1)
plane3_2 = _plane_intrinsic(3, 2)
plane5_1 = _plane_intrinsic(5, 1)
plane5_2 = _plane_intrinsic(5, 2)


@helper
def all_planes(correlate_plane: Any, a: Any, part: int, parts: int) -> None:
    """Compute y = max(floor, bias + the correlation of every plane)."""
    floor = np.float32(a.floor)
    plane, out_plane = a.height * a.width, a.out_height * a.out_width
    planes = a.images * a.channels
    for p in range(planes * part // parts, planes * (part + 1) // parts):
        channel = p % a.channels
        w = a.w + 4 * (channel * a.window + a.first_weight)
        factor = f32(a.scale)[channel] if a.scale != 0 else ONE
        bias = f32(a.bias)[channel] if a.bias != 0 else ZERO
        image = (a.x + 4 * p * plane, a.height, a.width, a.top, a.left, a.beyond)
        y = (a.y + 4 * p * out_plane, a.out_height, a.out_width)
        correlate_plane(*image, *y, w, a.weight_step, bias, factor, floor)


# A kernel for each kind of windows, so that only those that a net needs are compiled.


@kernel(FIELDS, "floor")
def depthwise_3_1(record: Any, part: int, parts: int) -> None:
    """Correlate with windows of 3 x 3, 1 apart."""
    all_planes(plane3_1, carray(record, 1)[0], part, parts)


@kernel(FIELDS, "floor")
def depthwise_3_2(record: Any, part: int, parts: int) -> None:
    """Correlate with windows of 3 x 3, 2 apart."""
    all_planes(plane3_2, carray(record, 1)[0], part, parts)


@kernel(FIELDS, "floor")
def depthwise_5_1(record: Any, part: int, parts: int) -> None:
    """Correlate with windows of 5 x 5, 1 apart."""
    all_planes(plane5_1, carray(record, 1)[0], part, parts)


@kernel(FIELDS, "floor")
def depthwise_5_2(record: Any, part: int, parts: int) -> None:
    """Correlate with windows of 5 x 5, 2 apart."""
    all_planes(plane5_2, carray(record, 1)[0], part, parts)


# By the size and the step of windows.
KERNELS = {
    (3, 1): depthwise_3_1,
    (3, 2): depthwise_3_2,
    (5, 1): depthwise_5_1,
    (5, 2): depthwise_5_2,
}


def has_kernel(shapes: Sequence[Correlation]) -> bool:
    """Whether there is a kernel here for depthwise correlations from x to y.

    Vectors of 4 have no loads by masks that are worth it.
    """
    if len(shapes) != 1 or LANES < 8:
        return False
    (shape,) = shapes
    size = size_of(shape)
    return (
        (size, shape.steps[0]) in KERNELS
        and shape.steps[0] == shape.steps[1]
        and shape.steps_out == (1, 1)
        and shape.first == (0, 0)
        and shape.positions == shape.sizes_out
        and _are_side_by_side(shape, size)
    )


def size_of(shape: Correlation) -> int:
    """Return the height and the width of a window, if it is a square."""
    return round(len(shape.taps.index) ** 0.5)


def _are_side_by_side(shape: Correlation, size: int) -> bool:
    """Whether the taps are a square, and their weights in order, or in the reverse."""
    taps = shape.taps
    u, v = np.divmod(np.arange(size * size), size)
    numbers = np.arange(size * size)
    return (
        np.array_equal(taps.rows, taps.rows[0] + u)
        and np.array_equal(taps.columns, taps.columns[0] + v)
        and any(np.array_equal(taps.index, order) for order in (numbers, numbers[::-1]))
    )


def geometry(shape: Correlation, x: Array) -> dict[str, Any]:
    """Return the fields of kernels that say how windows lie on the planes of x."""
    return {
        "x": x,
        "images": shape.images,
        "channels": shape.groups,
        "height": shape.sizes[0],
        "width": shape.sizes[1],
        "out_height": shape.sizes_out[0],
        "out_width": shape.sizes_out[1],
        "top": int(shape.taps.rows[0]),
        "left": int(shape.taps.columns[0]),
        "window": shape.group_stride,
        "beyond": np.zeros(shape.sizes[1], np.float32),
        "serial": few(x.size),
    }


def correlate(
    shape: Correlation, weights: Weights, x: Array, y: Array, floor: float
) -> Call:
    """Return the call of y = max(floor, bias + correlation)."""
    first, second = (int(tap) for tap in shape.taps.index[:2])
    run = KERNELS[size_of(shape), shape.steps[0]]
    return run(
        y=y,
        w=weights.data,
        bias=weights.bias,
        scale=weights.scale,
        units=shape.images * shape.groups,
        first_weight=first,
        weight_step=4 * (second - first),
        floor=floor,
        **geometry(shape, x),
    )
