"""Depthwise scattering with stride 2, for the usual windows.

This is what the gradient of a Convolution with stride 2 does, and a Deconvolution. Of
every position of x come 2 x 2 of y, each of other taps; vectors of neighbours are made
apart and interleaved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from runtime.arrays import Array
from runtime.backends.cpu.correlation.correlation import Correlation, Weights
from runtime.backends.cpu.correlation.depthwise_windows import (
    FIELDS,
    added,
    all_planes,
    raised,
    weights_at,
)
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.llvm import (
    I32,
    LANES,
    VECTOR_BYTES,
    const,
    intrinsic,
    masked_store,
    splat,
    store,
)
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.cpu.machine.windows import (
    WIDE,
    Block,
    Image,
    Windows,
    divided_up,
    interleaved,
    smaller,
    spread,
)

ROWS = 2  # of x that are treated at once
TWO = const(2)
RESIDUES = ((0, 0), (0, 1), (1, 0), (1, 1))  # rows and columns of y modulo 2


def taps_of(size: int, pad: int, residue: int) -> dict[int, int]:
    """Return which taps see the positions 2 a + residue, each with what it sees.

    Tap k sees a + (residue + pad - k) / 2 of x, where that is whole; here the first of
    what a tap sees is 0.
    """
    seen: list[dict[int, int]] = [{}, {}]
    for side in (0, 1):
        for k in range(size):
            if (side + pad - k) % 2 == 0:
                seen[side][k] = (side + pad - k) // 2
    first = min(offset for one in seen for offset in one.values())
    return {k: offset - first for k, offset in seen[residue].items()}


def _plane_intrinsic(size: int, pad: int) -> Any:
    axis = [taps_of(size, pad, residue) for residue in (0, 1)]
    reach = 1 + max(offset for one in axis for offset in one.values())
    windows = Windows(reach, reach, 1, ROWS)

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
            y, out_height, out_width, at, weight_step, *rest = args[6:]
            bias, factor, low = (splat(builder, value) for value in rest)
            weights = weights_at(builder, at, weight_step, size * size)
            pairs = [divided_up(builder, one, 2) for one in (out_height, out_width)]

            def body(block: Block) -> None:
                seen = [block.taken(row) for row in range(windows.seen)]
                rows = []
                for i in range(ROWS):
                    for r in (0, 1):
                        sides = []
                        for q in (0, 1):
                            total = None
                            for k, u in axis[r].items():
                                row = [weights[k * size + one] for one in axis[q]]
                                values = [seen[i + u][v] for v in axis[q].values()]
                                total = added(builder, total, row, values)
                            value = raised(builder, total, factor, bias, low)
                            sides.append(value)
                        rows.append(interleaved(builder, *sides))
                _put(builder, block, y, (out_height, out_width), rows)

            windows.each_block(builder, Image(*args[:6]), (pairs[0], pairs[1]), body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 11, *[types.float32] * 3), generate

    return plane


def _put(
    builder: Any, block: Block, plane: Any, sizes: tuple[Any, Any], rows: list[Any]
) -> None:
    """Store rows of two vectors each into a plane of y.

    Rows that are not there go to the last one that is, ahead of its own.
    """
    height, width = sizes
    row, column = builder.mul(block.row, TWO), builder.mul(block.column, TWO)
    end = builder.sub(height, const(1))
    pairs = []
    for i, values in list(enumerate(rows))[::-1]:
        there = smaller(builder, builder.add(row, const(i)), end)
        at = builder.add(builder.mul(there, width), column)
        address = builder.add(plane, builder.mul(at, const(4)))
        pairs.append((address, values[0], 0))
        pairs.append((builder.add(address, const(VECTOR_BYTES)), values[1], 1))
    left = builder.sub(width, column)
    whole = builder.icmp_signed(">=", left, const(2 * LANES))
    with builder.if_else(whole) as (then, otherwise):
        with then:
            for address, value, _ in pairs:
                store(builder, value, address)
        with otherwise:
            limit = spread(builder, builder.trunc(left, I32))
            masks = []
            for half in (0, LANES):
                lanes = ir.Constant(WIDE, list(range(half, half + LANES)))
                masks.append(builder.icmp_signed("<", lanes, limit))
            for address, value, half in pairs:
                masked_store(builder, value, address, masks[half])


# planeK_P(...): as those of `depthwise_windows`, for K x K taps and a padding that is
# even (0) or odd (1).
plane3_1 = _plane_intrinsic(3, 1)
plane4_1 = _plane_intrinsic(4, 1)
plane5_0 = _plane_intrinsic(5, 0)


@kernel(FIELDS, "floor")
def depthwise_scatter_3(record: Any, part: int, parts: int) -> None:
    """Scatter with 3 x 3 taps, 2 apart, and an odd padding."""
    all_planes(plane3_1, carray(record, 1)[0], part, parts)


@kernel(FIELDS, "floor")
def depthwise_scatter_4(record: Any, part: int, parts: int) -> None:
    """Scatter with 4 x 4 taps, 2 apart, and an odd padding."""
    all_planes(plane4_1, carray(record, 1)[0], part, parts)


@kernel(FIELDS, "floor")
def depthwise_scatter_5(record: Any, part: int, parts: int) -> None:
    """Scatter with 5 x 5 taps, 2 apart, and an even padding."""
    all_planes(plane5_0, carray(record, 1)[0], part, parts)


# By the number of taps, with the padding modulo 2.
KERNELS = {
    9: (depthwise_scatter_3, 1),
    16: (depthwise_scatter_4, 1),
    25: (depthwise_scatter_5, 0),
}


def has_scatter_kernel(shapes: Sequence[Correlation]) -> bool:
    """Whether there is a kernel here for depthwise correlations from x to y."""
    if tuple(shape.first for shape in shapes) != RESIDUES or LANES < 8:
        return False
    window = shapes[0].group_stride
    _, pad = KERNELS.get(window, (None, 0))
    size = round(window**0.5)
    top, left = _first(shapes)
    for shape in shapes:
        if window not in KERNELS or shape.steps_out != (2, 2) or shape.steps != (1, 1):
            return False
        rows, columns = (taps_of(size, pad, side) for side in shape.first)
        taps = shape.taps
        wanted = {
            k * size + one: (top + u, left + v)
            for k, u in rows.items()
            for one, v in columns.items()
        }
        places = zip(taps.rows.tolist(), taps.columns.tolist(), strict=True)
        if dict(zip(taps.index.tolist(), places, strict=True)) != wanted:
            return False
    return True


def _first(shapes: Sequence[Correlation]) -> tuple[int, int]:
    """Return the first row and the first column that any tap sees."""
    return (
        min(int(shape.taps.rows.min()) for shape in shapes),
        min(int(shape.taps.columns.min()) for shape in shapes),
    )


def scatter(
    shapes: Sequence[Correlation], weights: Weights, x: Array, y: Array, floor: float
) -> Call:
    """Return the call of y = max(floor, bias + correlations)."""
    shape = shapes[0]
    top, left = _first(shapes)
    run, _ = KERNELS[shape.group_stride]
    return run(
        x=x,
        y=y,
        w=weights.data,
        bias=weights.bias,
        scale=weights.scale,
        beyond=np.zeros(shape.sizes[1], np.float32),
        images=shape.images,
        channels=shape.groups,
        height=shape.sizes[0],
        width=shape.sizes[1],
        out_height=shape.sizes_out[0],
        out_width=shape.sizes_out[1],
        top=top,
        left=left,
        window=shape.group_stride,
        first_weight=0,
        weight_step=4,
        floor=floor,
        units=shape.images * shape.groups,
        serial=few(y.size),
    )
