"""Machine instructions that Python has no word for, as functions for compiled kernels.

Everything here takes addresses (integers) and is meant to be called from kernels made
with `runtime.backends.cpu.machine.compiled.kernel`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from runtime.backends.cpu.machine.llvm import (
    F32,
    I32,
    I64,
    LANES,
    MASK,
    ROWS,
    VECTOR,
    VECTOR_BYTES,
    const,
    first_lanes,
    fma,
    intrinsic,
    load,
    loop,
    masked_load,
    masked_store,
    splat,
    store,
    transposed,
)
from runtime.backends.cpu.machine.parts import types


def _pointer_intrinsic(element: str, llvm_type: ir.Type) -> Any:
    @intrinsic
    def pointer(context: Any, address: Any) -> Any:
        """Take an address as an array of this type, to be indexed."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], llvm_type.as_pointer())

        return types.CPointer(getattr(types, element))(types.int64), generate

    return pointer


f32 = _pointer_intrinsic("float32", F32)
f64 = _pointer_intrinsic("float64", ir.DoubleType())
i64 = _pointer_intrinsic("int64", I64)
i32 = _pointer_intrinsic("int32", I32)
u8 = _pointer_intrinsic("uint8", ir.IntType(8))


# ---------------------------------------------------------------- matrix products


def _tile_intrinsic(vectors: int) -> Any:
    @intrinsic
    def tile(
        context: Any,
        a: Any,
        a_step: Any,
        a_row: Any,
        b: Any,
        b_step: Any,
        depth: Any,
        c: Any,
        c_row: Any,
        bias: Any,
        floor: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            emit_tile(builder, vectors, args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9, types.float32), generate

    return tile


def emit_tile(
    builder: Any,
    vectors: int,
    args: Sequence[Any],
    beside: Callable[[Any, Any], None] = lambda at_a, at_b: None,
) -> None:
    """Emit a tile of a product; `args` are those of `tile1`.

    beside(at_a, at_b) emits what is done beside every term, of which a[0] and b lie at
    these addresses.
    """
    a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor = args
    grid = [(i, j) for i in range(ROWS) for j in range(vectors)]
    addresses = {
        (i, j): builder.add(
            builder.add(c, builder.mul(c_row, const(i))),
            const(j * VECTOR_BYTES),
        )
        for i, j in grid
    }
    sums = _start(builder, bias, addresses, grid)

    def body(values: list[Any]) -> list[Any]:
        at_a, at_b, *sums = values
        beside(at_a, at_b)
        row = [
            load(builder, builder.add(at_b, const(j * VECTOR_BYTES)))
            for j in range(vectors)
        ]
        for i in range(ROWS):
            address = builder.add(at_a, builder.mul(a_row, const(i)))
            factor = splat(builder, load(builder, address, F32))
            for j in range(vectors):
                at = i * vectors + j
                sums[at] = fma(builder, factor, row[j], sums[at])
        return [builder.add(at_a, a_step), builder.add(at_b, b_step), *sums]

    _, _, *sums = loop(builder, depth, [a, b, *sums], body)
    low = splat(builder, floor)
    for at, value in zip(grid, sums, strict=True):
        # Not a maximum: a NaN must stay.
        below = builder.fcmp_ordered("<", value, low)
        store(builder, builder.select(below, low, value), addresses[at])


def _start(builder: Any, bias: Any, addresses: Any, grid: list[tuple[int, int]]) -> Any:
    """Return the first values of the sums: the biases, or c where `bias` is 0."""
    loads = builder.append_basic_block("load")
    spread = builder.append_basic_block("spread")
    ready = builder.append_basic_block("ready")
    builder.cbranch(builder.icmp_signed("==", bias, const(0)), loads, spread)
    builder.position_at_end(loads)
    loaded = [load(builder, addresses[at]) for at in grid]
    builder.branch(ready)
    builder.position_at_end(spread)
    rows = [
        splat(builder, load(builder, builder.add(bias, const(4 * i)), F32))
        for i in range(ROWS)
    ]
    builder.branch(ready)
    builder.position_at_end(ready)
    sums = []
    for (i, _), value in zip(grid, loaded, strict=True):
        phi = builder.phi(VECTOR)
        phi.add_incoming(value, loads)
        phi.add_incoming(rows[i], spread)
        sums.append(phi)
    return sums


# tileN(a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor):
#   c[i][j] = max(floor, start + sum over k < depth of a[i][k] * b[k][j])
# for ROWS rows i and N vectors of columns j. a[i][k] is at a + i a_row + k a_step,
# b[k] at b + k b_step, c[i] at c + i c_row, all in bytes. start is bias[i], or what c
# holds where bias is 0. depth is at least 1.
tile1 = _tile_intrinsic(1)
tile2 = _tile_intrinsic(2)
tile3 = _tile_intrinsic(3)

# ---------------------------------------------------------------- moving data


@intrinsic
def copy(context: Any, target: Any, source: Any, count: Any) -> Any:
    """Copy `count` floats between addresses that do not overlap."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, source, count = args
        full = builder.and_(count, const(-LANES))
        tail = builder.sub(count, full)
        nbytes = builder.mul(full, const(4))
        before = builder.block
        loop = builder.append_basic_block("copy")
        check = builder.append_basic_block("check")
        last = builder.append_basic_block("last")
        done = builder.append_basic_block("copied")
        some = builder.icmp_signed(">", nbytes, const(0))
        builder.cbranch(some, loop, check)
        builder.position_at_end(loop)
        at = builder.phi(I64)
        at.add_incoming(const(0), before)
        value = load(builder, builder.add(source, at))
        store(builder, value, builder.add(target, at))
        following = builder.add(at, const(VECTOR_BYTES))
        at.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, nbytes), loop, check)
        builder.position_at_end(check)
        builder.cbranch(builder.icmp_signed(">", tail, const(0)), last, done)
        builder.position_at_end(last)
        mask = first_lanes(builder, tail)
        value = masked_load(builder, builder.add(source, nbytes), mask)
        masked_store(builder, value, builder.add(target, nbytes), mask)
        builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


@intrinsic
def transpose(
    context: Any,
    target: Any,
    target_row: Any,
    source: Any,
    source_row: Any,
    rows: Any,
    columns: Any,
) -> Any:
    """Transpose a block: target[j][i] = source[i][j], LANES x LANES floats.

    Only `rows` rows and `columns` columns of the source are read, the rest of the
    target is filled with repeated rows and with zeros. The row steps are in bytes.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, target_row, source, source_row, rows, columns = args
        mask = first_lanes(builder, columns)
        end = builder.sub(rows, const(1))
        block = []
        for i in range(LANES):
            inside = builder.icmp_signed("<", const(i), rows)
            row = builder.select(inside, const(i), end)
            address = builder.add(source, builder.mul(row, source_row))
            block.append(masked_load(builder, address, mask))
        for i, value in enumerate(transposed(builder, block)):
            address = builder.add(target, builder.mul(target_row, const(i)))
            store(builder, value, address)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


@intrinsic
def transpose_out(
    context: Any,
    target: Any,
    target_row: Any,
    source: Any,
    source_row: Any,
    rows: Any,
    columns: Any,
) -> Any:
    """Transpose a block: target[i][j] = source[j][i], LANES x LANES floats.

    All of the source is read, `rows` rows and `columns` columns of the target are
    written. The row steps are in bytes.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, target_row, source, source_row, rows, columns = args
        block = [
            load(builder, builder.add(source, builder.mul(source_row, const(i))))
            for i in range(LANES)
        ]
        inside = first_lanes(builder, columns)
        none = ir.Constant(MASK, [0] * LANES)
        for i, value in enumerate(transposed(builder, block)):
            wanted = builder.icmp_signed("<", const(i), rows)
            mask = builder.select(wanted, inside, none)
            address = builder.add(target, builder.mul(target_row, const(i)))
            masked_store(builder, value, address, mask)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


@intrinsic
def take_even(context: Any, target: Any, source: Any, count: Any) -> Any:
    """Copy the even ones of 2 x LANES floats, `count` >= 1 times."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, source, count = args
        kind = ir.VectorType(I32, LANES)
        lanes = ir.Constant(kind, list(range(0, 2 * LANES, 2)))

        def body(values: list[Any]) -> list[Any]:
            put, at = values
            first = load(builder, at)
            second = load(builder, builder.add(at, const(VECTOR_BYTES)))
            store(builder, builder.shuffle_vector(first, second, lanes), put)
            return [
                builder.add(put, const(VECTOR_BYTES)),
                builder.add(at, const(2 * VECTOR_BYTES)),
            ]

        loop(builder, count, [target, source], body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate
