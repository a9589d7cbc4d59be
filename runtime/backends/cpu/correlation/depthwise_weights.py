"""Gradients of the weights of depthwise correlations, straight from the images."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from runtime.arrays import Array
from runtime.backends.cpu.correlation.correlation import Correlation
from runtime.backends.cpu.correlation.depthwise_windows import (
    geometry,
    has_kernel,
    size_of,
)
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel
from runtime.backends.cpu.machine.llvm import (
    LANES,
    VECTOR,
    const,
    fma,
    intrinsic,
    load,
    store,
)
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.simd import f32, f64
from runtime.backends.cpu.machine.windows import Block, Image, Windows, masked

ROWS = 4  # of dy that share the rows of x that they see
DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
ZERO: Any = np.float32(0)

# The fields of the kernels, in elements.
#
#   x: (images, channels, height, width)
#   dy: (images, channels, out_height, out_width)
#   dw: (channels, window), or 0 where it is not wanted
#   dbias: (channels,), or 0 where it is not wanted
#   beyond: (width,) zeros, a row beyond the image
#   top, left: row and column of x that the first tap of the first window sees
#   accumulate, accumulate_bias: 1 where dw, dbias are added to, not stored
FIELDS = (
    "x dy dw dbias beyond images channels height width out_height out_width top left "
    "window accumulate accumulate_bias"
)


def _room(builder: Any, kind: ir.Type) -> Any:
    """Emit room for a value, once for all runs of the loops around."""
    with builder.goto_entry_block():
        return builder.alloca(kind)


@intrinsic
def room(context: Any) -> Any:
    """Return the address of room for what `sumsK_S` adds to, of the running kernel."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.ArrayType(DOUBLES, 26)
        return builder.ptrtoint(_room(builder, kind), ir.IntType(64))

    return types.int64(), generate


def _sums_intrinsic(size: int, step: int) -> Any:
    taps = size * size

    @intrinsic
    def sums(
        context: Any,
        x: Any,
        height: Any,
        width: Any,
        top: Any,
        left: Any,
        beyond: Any,
        dy: Any,
        out_height: Any,
        out_width: Any,
        totals: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            plane, height, width, top, left, beyond = args[:6]
            dy, out_height, out_width, totals = args[6:]
            zero = ir.Constant(VECTOR, [0.0] * LANES)
            found = [_room(builder, VECTOR) for _ in range(taps + 1)]
            for one in found:
                builder.store(zero, one)

            def emit(rows: int, row: Any, number: Any) -> None:
                """Treat `number` rows of dy from `row` on, so many at once."""
                windows = Windows(size, size, step, rows, once=True)
                first = builder.add(top, builder.mul(row, const(step)))
                image = Image(plane, height, width, first, left, beyond)
                start = builder.mul(row, out_width)
                here = builder.add(dy, builder.mul(start, const(4)))

                def body(block: Block) -> None:
                    _add_products(builder, windows, block, here, out_width, found)

                with builder.if_then(builder.icmp_signed(">", number, const(0))):
                    windows.each_block(builder, image, (number, out_width), body)

            rest = builder.srem(out_height, const(ROWS))
            whole = builder.sub(out_height, rest)
            emit(ROWS, const(0), whole)
            emit(1, whole, rest)
            for t, one in enumerate(found):
                at = builder.add(totals, const(8 * LANES * t))
                value = builder.fpext(builder.load(one), DOUBLES)
                store(builder, builder.fadd(load(builder, at, DOUBLES), value), at)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 10), generate

    return sums


def _add_products(
    builder: Any, windows: Windows, block: Block, dy: Any, width: Any, found: list[Any]
) -> None:
    """Add the products of a block of dy with all taps, and at last dy itself."""
    gradients = []
    for i in range(windows.rows):
        row = builder.add(block.row, const(i))
        at = builder.add(builder.mul(row, width), block.column)
        address = builder.add(dy, builder.mul(at, const(4)))
        gradients.append(masked(builder, address, block.mask))
    sums = [builder.load(one) for one in found]
    for seen in range(windows.seen):
        values = block.taken(seen)
        for i, gradient in enumerate(gradients):
            u = seen - windows.step * i
            if 0 <= u < windows.height:
                for v, value in enumerate(values):
                    t = u * windows.width + v
                    sums[t] = fma(builder, gradient, value, sums[t])
    for gradient in gradients:
        sums[-1] = builder.fadd(sums[-1], gradient)
    for value, one in zip(sums, found, strict=True):
        builder.store(value, one)


# sumsK_S(x, height, width, top, left, beyond, dy, out_height, out_width, totals):
#   add, for every one of K x K taps, the products of dy with what the tap sees of x to
#   LANES doubles of totals, and dy itself to those after them, for a plane; windows are
#   S apart. The other arguments are as in FIELDS.
sums3_1 = _sums_intrinsic(3, 1)
sums3_2 = _sums_intrinsic(3, 2)
sums5_1 = _sums_intrinsic(5, 1)
sums5_2 = _sums_intrinsic(5, 2)


@helper
def _all_channels(plane_sums: Any, taps: int, a: Any, part: int, parts: int) -> None:
    """Compute the gradients of the weights and the biases."""
    plane, out_plane = a.height * a.width, a.out_height * a.out_width
    totals = room()
    lanes = f64(totals)
    for c in range(a.channels * part // parts, a.channels * (part + 1) // parts):
        for i in range((taps + 1) * LANES):
            lanes[i] = 0.0
        for n in range(a.images):
            p = n * a.channels + c
            image = (a.x + 4 * p * plane, a.height, a.width, a.top, a.left, a.beyond)
            dy = (a.dy + 4 * p * out_plane, a.out_height, a.out_width)
            plane_sums(*image, *dy, totals)
        for t in range(taps + 1):
            total = 0.0
            for i in range(LANES):
                total += lanes[t * LANES + i]
            if t < taps and a.dw != 0:
                dw = f32(a.dw + 4 * c * a.window)
                before = dw[t] if a.accumulate != 0 else ZERO
                dw[t] = before + np.float32(total)
            elif t == taps and a.dbias != 0:
                dbias = f32(a.dbias)
                before = dbias[c] if a.accumulate_bias != 0 else ZERO
                dbias[c] = before + np.float32(total)


@kernel(FIELDS)
def depthwise_weights_3_1(record: Any, part: int, parts: int) -> None:
    """Compute the gradients of windows of 3 x 3, 1 apart."""
    _all_channels(sums3_1, 9, carray(record, 1)[0], part, parts)


@kernel(FIELDS)
def depthwise_weights_3_2(record: Any, part: int, parts: int) -> None:
    """Compute the gradients of windows of 3 x 3, 2 apart."""
    _all_channels(sums3_2, 9, carray(record, 1)[0], part, parts)


@kernel(FIELDS)
def depthwise_weights_5_1(record: Any, part: int, parts: int) -> None:
    """Compute the gradients of windows of 5 x 5, 1 apart."""
    _all_channels(sums5_1, 25, carray(record, 1)[0], part, parts)


@kernel(FIELDS)
def depthwise_weights_5_2(record: Any, part: int, parts: int) -> None:
    """Compute the gradients of windows of 5 x 5, 2 apart."""
    _all_channels(sums5_2, 25, carray(record, 1)[0], part, parts)


# By the size and the step of windows.
KERNELS = {
    (3, 1): depthwise_weights_3_1,
    (3, 2): depthwise_weights_3_2,
    (5, 1): depthwise_weights_5_1,
    (5, 2): depthwise_weights_5_2,
}


def has_gradient_kernel(shape: Correlation) -> bool:
    """Whether there is a kernel here for the gradient of a depthwise correlation."""
    return has_kernel([shape]) and int(shape.taps.index[0]) == 0


def weight_gradients(
    shape: Correlation,
    x: Array,
    dy: Array,
    dw: Any,
    dbias: Any,
    accumulate: tuple[bool, bool],
) -> Call:
    """Return the call of the gradients of weights and bias; 0 for one unwanted."""
    run = KERNELS[size_of(shape), shape.steps[0]]
    return run(
        units=shape.groups,
        dy=dy,
        dw=dw,
        dbias=dbias,
        accumulate=accumulate[0],
        accumulate_bias=accumulate[1],
        **geometry(shape, x),
    )
