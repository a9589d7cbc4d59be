"""Machine instructions that Numba has no word for, as functions for compiled kernels.

Everything here takes addresses (integers) and is meant to be called from kernels made
with `runtime.backends.cpu.compiled.kernel`. The vector code is LLVM's own vector type,
so the same text serves every processor; only `LANES` and `ROWS` depend on it.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _lanes() -> int:
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx") else 4


LANES = _lanes()  # floats in a vector register
# Rows of the tile that a matrix product keeps in registers: ROWS x 3 vectors of sums,
# 3 of one factor and one broadcast value must fit.
ROWS = 4 if LANES == 8 else 8
VECTORS = 3  # vectors in a row of the widest tile
VECTOR_BYTES = 4 * LANES

_F32 = ir.FloatType()
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_VECTOR = ir.VectorType(_F32, LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)


def _pointer_intrinsic(element: Any, llvm_type: ir.Type) -> Any:
    @intrinsic
    def pointer(context: Any, address: Any) -> Any:
        """Take an address as an array of this type, to be indexed."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], llvm_type.as_pointer())

        return types.CPointer(element)(types.int64), generate

    return pointer


f32 = _pointer_intrinsic(types.float32, _F32)
i32 = _pointer_intrinsic(types.int32, _I32)
i64 = _pointer_intrinsic(types.int64, _I64)
u8 = _pointer_intrinsic(types.uint8, ir.IntType(8))


# ---------------------------------------------------------------- pieces of code


def const(value: int) -> ir.Constant:
    """Return an int64."""
    return ir.Constant(_I64, value)


def load(builder: Any, address: Any, kind: ir.Type = _VECTOR) -> Any:
    """Emit a load of a vector, or of another type, from an address."""
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 4
    return value


def store(builder: Any, value: Any, address: Any) -> None:
    """Emit a store to an address."""
    pointer = builder.inttoptr(address, value.type.as_pointer())
    builder.store(value, pointer).align = 4


def splat(builder: Any, value: Any) -> Any:
    """Emit a copy of a scalar into every lane."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(_I32, 0))
    zeros = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(one, undefined, zeros)


def _declared(builder: Any, name: str, result: ir.Type, args: list[ir.Type]) -> Any:
    found = builder.module.globals.get(name)
    return found or ir.Function(builder.module, ir.FunctionType(result, args), name)


def fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Emit a b + c of vectors."""
    name = f"llvm.fma.v{LANES}f32"
    function = _declared(builder, name, _VECTOR, [_VECTOR] * 3)
    return builder.call(function, [a, b, c])


def _first_lanes(builder: Any, count: Any) -> Any:
    """Return the mask of the lanes below `count`."""
    wide = ir.VectorType(_I32, LANES)
    count = builder.trunc(count, _I32)
    undefined = ir.Constant(wide, ir.Undefined)
    one = builder.insert_element(undefined, count, ir.Constant(_I32, 0))
    many = builder.shuffle_vector(one, undefined, ir.Constant(wide, [0] * LANES))
    steps = ir.Constant(wide, list(range(LANES)))
    return builder.icmp_signed("<", steps, many)


def _masked_load(builder: Any, address: Any, mask: Any) -> Any:
    pointer = builder.inttoptr(address, _VECTOR.as_pointer())
    name = f"llvm.masked.load.v{LANES}f32.p0"
    function = _declared(builder, name, _VECTOR, [pointer.type, _I32, _MASK, _VECTOR])
    zeros = ir.Constant(_VECTOR, [0.0] * LANES)
    return builder.call(function, [pointer, ir.Constant(_I32, 4), mask, zeros])


def _masked_store(builder: Any, value: Any, address: Any, mask: Any) -> None:
    pointer = builder.inttoptr(address, _VECTOR.as_pointer())
    name = f"llvm.masked.store.v{LANES}f32.p0"
    function = _declared(
        builder, name, ir.VoidType(), [_VECTOR, pointer.type, _I32, _MASK]
    )
    builder.call(function, [value, pointer, ir.Constant(_I32, 4), mask])


def _loop(builder: Any, count: Any, start: list[Any], body: Any) -> list[Any]:
    """Emit a loop that runs `count` >= 1 times over values carried around.

    `start` are the values of the first round; body(values) emits one round and returns
    the next values, of which the last are returned.
    """
    before = builder.block
    block = builder.append_basic_block("loop")
    after = builder.append_basic_block("done")
    builder.branch(block)
    builder.position_at_end(block)
    left = builder.phi(_I64)
    values = [builder.phi(value.type) for value in start]
    new = body(values)
    fewer = builder.sub(left, const(1))
    end = builder.block
    for phi, first, following in zip(
        [left, *values], [count, *start], [fewer, *new], strict=True
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(following, end)
    builder.cbranch(builder.icmp_signed(">", fewer, const(0)), block, after)
    builder.position_at_end(after)
    return list(new)


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
            a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor = args
            grid = [(i, j) for i in range(ROWS) for j in range(vectors)]
            place = {
                (i, j): builder.add(
                    builder.add(c, builder.mul(c_row, const(i))),
                    const(j * VECTOR_BYTES),
                )
                for i, j in grid
            }
            sums = _start(builder, bias, place, grid)

            def body(values: list[Any]) -> list[Any]:
                at_a, at_b, *sums = values
                row = [
                    load(builder, builder.add(at_b, const(j * VECTOR_BYTES)))
                    for j in range(vectors)
                ]
                for i in range(ROWS):
                    address = builder.add(at_a, builder.mul(a_row, const(i)))
                    factor = splat(builder, load(builder, address, _F32))
                    for j in range(vectors):
                        at = i * vectors + j
                        sums[at] = fma(builder, factor, row[j], sums[at])
                return [builder.add(at_a, a_step), builder.add(at_b, b_step), *sums]

            _, _, *sums = _loop(builder, depth, [a, b, *sums], body)
            low = splat(builder, floor)
            for at, value in zip(grid, sums, strict=True):
                # Not a maximum: a NaN must stay.
                below = builder.fcmp_ordered("<", value, low)
                store(builder, builder.select(below, low, value), place[at])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9, types.float32), generate

    return tile


def _start(builder: Any, bias: Any, place: Any, grid: list[tuple[int, int]]) -> Any:
    """Return the first values of the sums: the biases, or c where `bias` is 0."""
    loads = builder.append_basic_block("load")
    spread = builder.append_basic_block("spread")
    ready = builder.append_basic_block("ready")
    builder.cbranch(builder.icmp_signed("==", bias, const(0)), loads, spread)
    builder.position_at_end(loads)
    loaded = [load(builder, place[at]) for at in grid]
    builder.branch(ready)
    builder.position_at_end(spread)
    rows = [
        splat(builder, load(builder, builder.add(bias, const(4 * i)), _F32))
        for i in range(ROWS)
    ]
    builder.branch(ready)
    builder.position_at_end(ready)
    sums = []
    for (i, _), value in zip(grid, loaded, strict=True):
        phi = builder.phi(_VECTOR)
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
    """Copy `count` floats between places that do not overlap."""

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
        at = builder.phi(_I64)
        at.add_incoming(const(0), before)
        value = load(builder, builder.add(source, at))
        store(builder, value, builder.add(target, at))
        following = builder.add(at, const(VECTOR_BYTES))
        at.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, nbytes), loop, check)
        builder.position_at_end(check)
        builder.cbranch(builder.icmp_signed(">", tail, const(0)), last, done)
        builder.position_at_end(last)
        mask = _first_lanes(builder, tail)
        value = _masked_load(builder, builder.add(source, nbytes), mask)
        _masked_store(builder, value, builder.add(target, nbytes), mask)
        builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


def _transposed(builder: Any, block: list[Any]) -> list[Any]:
    """Emit shuffles that transpose LANES vectors.

    log2(LANES) rounds: in each, pairs of vectors interleave their halves.
    """
    half = LANES // 2
    kind = ir.VectorType(_I32, LANES)
    low = [x for i in range(half) for x in (i, i + LANES)]
    high = [x for i in range(half, LANES) for x in (i, i + LANES)]
    for _ in range(LANES.bit_length() - 1):
        mixed = []
        for i in range(half):
            for order in (low, high):
                lanes = ir.Constant(kind, order)
                mixed.append(builder.shuffle_vector(block[i], block[i + half], lanes))
        block = mixed
    return block


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
        mask = _first_lanes(builder, columns)
        end = builder.sub(rows, const(1))
        block = []
        for i in range(LANES):
            inside = builder.icmp_signed("<", const(i), rows)
            row = builder.select(inside, const(i), end)
            address = builder.add(source, builder.mul(row, source_row))
            block.append(_masked_load(builder, address, mask))
        for i, value in enumerate(_transposed(builder, block)):
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
        inside = _first_lanes(builder, columns)
        none = ir.Constant(_MASK, [0] * LANES)
        for i, value in enumerate(_transposed(builder, block)):
            wanted = builder.icmp_signed("<", const(i), rows)
            mask = builder.select(wanted, inside, none)
            address = builder.add(target, builder.mul(target_row, const(i)))
            _masked_store(builder, value, address, mask)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


@intrinsic
def take_even(context: Any, target: Any, source: Any, count: Any) -> Any:
    """Copy the even ones of 2 x LANES floats, `count` >= 1 times."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, source, count = args
        kind = ir.VectorType(_I32, LANES)
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

        _loop(builder, count, [target, source], body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


@intrinsic
def split_pairs(context: Any, target: Any, step: Any, source: Any, count: Any) -> Any:
    """Part the even from the odd elements of `count` >= 1 pairs of vectors.

    The even ones go to `target`, the odd ones `step` bytes further.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, step, source, count = args
        indices = ir.VectorType(_I32, LANES)

        def body(values: list[Any]) -> list[Any]:
            put, at = values
            first = load(builder, at)
            second = load(builder, builder.add(at, const(VECTOR_BYTES)))
            for side, place in ((0, put), (1, builder.add(put, step))):
                lanes = ir.Constant(indices, list(range(side, 2 * LANES, 2)))
                store(builder, builder.shuffle_vector(first, second, lanes), place)
            return [
                builder.add(put, const(VECTOR_BYTES)),
                builder.add(at, const(2 * VECTOR_BYTES)),
            ]

        _loop(builder, count, [target, source], body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@intrinsic
def greatest(
    context: Any, source: Any, offsets: Any, taps: Any, start: Any, best: Any, won: Any
) -> Any:
    """Find the greatest of `taps` >= 1 vectors, lane by lane, and which it was.

    Vector t lies `offsets[t]` bytes after `source`. best gets the values, won a byte a
    lane: the number of the first that is greatest, or of the last NaN; where none is
    above -inf, the byte that `start` has.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, offsets, taps, start, best, won = args
        bytes_type = ir.VectorType(ir.IntType(8), LANES)
        wide = ir.VectorType(_I32, LANES)

        def byte_pointer(address: Any) -> Any:
            return builder.inttoptr(address, bytes_type.as_pointer())

        first = builder.load(byte_pointer(start))
        first.align = 1
        lowest = ir.Constant(_VECTOR, [float("-inf")] * LANES)
        one = ir.Constant(wide, [1] * LANES)

        def body(values: list[Any]) -> list[Any]:
            at, tap, high, winner = values
            offset = builder.load(builder.inttoptr(at, _I64.as_pointer()))
            value = load(builder, builder.add(source, offset))
            better = builder.or_(
                builder.fcmp_ordered(">", value, high),
                builder.fcmp_unordered("uno", value, value),
            )
            return [
                builder.add(at, const(8)),
                builder.add(tap, one),
                builder.select(better, value, high),
                builder.select(better, tap, winner),
            ]

        values = [
            offsets,
            ir.Constant(wide, [0] * LANES),
            lowest,
            builder.zext(first, wide),
        ]
        _, _, high, winner = _loop(builder, taps, values, body)
        store(builder, high, best)
        stored = builder.store(builder.trunc(winner, bytes_type), byte_pointer(won))
        stored.align = 1
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


@intrinsic
def total(context: Any, source: Any, offsets: Any, taps: Any, target: Any) -> Any:
    """Add `taps` >= 1 vectors up; they lie `offsets[t]` bytes after `source`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, offsets, taps, target = args

        def body(values: list[Any]) -> list[Any]:
            at, so_far = values
            offset = builder.load(builder.inttoptr(at, _I64.as_pointer()))
            value = load(builder, builder.add(source, offset))
            return [builder.add(at, const(8)), builder.fadd(so_far, value)]

        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        _, result = _loop(builder, taps, [offsets, zero], body)
        store(builder, result, target)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


# ---------------------------------------------------------------- threads


@intrinsic
def atomic_add(context: Any, address: Any, value: Any) -> Any:
    """Add to an int64 that threads share; returns what it held before."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], _I64.as_pointer())
        return builder.atomic_rmw("add", pointer, args[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def atomic_load(context: Any, address: Any) -> Any:
    """Read an int64 that another thread may write."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], _I64.as_pointer())
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic
def atomic_store(context: Any, address: Any, value: Any) -> Any:
    """Write an int64 that another thread may read."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], _I64.as_pointer())
        builder.store_atomic(args[1], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def call(context: Any, function: Any, record: Any, part: Any, parts: Any) -> Any:
    """Call a compiled kernel by its address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_I64, _I64, _I64])
        pointer = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(pointer, args[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate
