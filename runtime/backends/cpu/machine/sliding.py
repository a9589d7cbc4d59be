"""Instructions for sliding windows: sums and maxima of vectors at table offsets."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from runtime.backends.cpu.machine.llvm import (
    F32,
    I32,
    I64,
    LANES,
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
)
from runtime.backends.cpu.machine.parts import types

RUN = 4  # vectors that `weighted` and `dot` treat at once
NO_WINNER = 255  # in place of the number of a tap: windows have fewer


@intrinsic
def split_row(context: Any, target: Any, step: Any, source: Any, count: Any) -> Any:
    """Part the even from the odd ones of `count` floats.

    The even ones go to `target`, the odd ones `step` bytes further.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, step, source, count = args
        indices = ir.VectorType(I32, LANES)
        even_lanes, odd_lanes = (
            ir.Constant(indices, list(range(side, 2 * LANES, 2))) for side in (0, 1)
        )
        start = builder.block
        whole = builder.append_basic_block("whole")
        test = builder.append_basic_block("rest")
        last = builder.append_basic_block("last")
        done = builder.append_basic_block("parted")
        pair = const(2 * LANES)

        def halves(first: Any, second: Any) -> tuple[Any, Any]:
            return (
                builder.shuffle_vector(first, second, even_lanes),
                builder.shuffle_vector(first, second, odd_lanes),
            )

        def advanced(at: Any) -> list[Any]:
            changes = (VECTOR_BYTES, 2 * VECTOR_BYTES, -2 * LANES)
            return [
                builder.add(x, const(change))
                for x, change in zip(at, changes, strict=True)
            ]

        builder.cbranch(builder.icmp_signed(">=", count, pair), whole, test)
        builder.position_at_end(whole)
        put, at, left = (builder.phi(I64) for _ in range(3))
        even, odd = halves(
            load(builder, at), load(builder, builder.add(at, const(VECTOR_BYTES)))
        )
        store(builder, even, put)
        store(builder, odd, builder.add(put, step))
        following = advanced((put, at, left))
        builder.cbranch(builder.icmp_signed(">=", following[2], pair), whole, test)
        for phi, first, after in zip(
            (put, at, left), (target, source, count), following, strict=True
        ):
            phi.add_incoming(first, start)
            phi.add_incoming(after, whole)
        builder.position_at_end(test)
        put, at, left = rest = [builder.phi(I64) for _ in range(3)]
        for phi, first, after in zip(
            rest, (target, source, count), following, strict=True
        ):
            phi.add_incoming(first, start)
            phi.add_incoming(after, whole)
        builder.cbranch(builder.icmp_signed(">", left, const(0)), last, done)
        builder.position_at_end(last)
        beyond = builder.sub(left, const(LANES))
        even, odd = halves(
            masked_load(builder, at, first_lanes(builder, left)),
            masked_load(
                builder,
                builder.add(at, const(VECTOR_BYTES)),
                first_lanes(builder, beyond),
            ),
        )
        odds = builder.ashr(left, const(1))
        evens = builder.sub(left, odds)
        masked_store(builder, even, put, first_lanes(builder, evens))
        masked_store(builder, odd, builder.add(put, step), first_lanes(builder, odds))
        builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@intrinsic
def greatest(
    context: Any, source: Any, offsets: Any, taps: Any, start: Any, best: Any, won: Any
) -> Any:
    """Find the greatest of `taps` >= 1 vectors, lane by lane, and which it was.

    Vector t lies `offsets[t]` bytes after `source`. best gets the values, won a byte a
    lane: the number of the first that is greatest, `NO_WINNER` where there is a NaN;
    where none is above -inf, the byte that `start` has.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, offsets, taps, start, best, won = args
        bytes_type = ir.VectorType(ir.IntType(8), LANES)
        wide = ir.VectorType(I32, LANES)

        def byte_pointer(address: Any) -> Any:
            return builder.inttoptr(address, bytes_type.as_pointer())

        first = builder.load(byte_pointer(start))
        first.align = 1
        lowest = ir.Constant(VECTOR, [float("-inf")] * LANES)
        one = ir.Constant(wide, [1] * LANES)

        def body(values: list[Any]) -> list[Any]:
            at, tap, high, winner = values
            offset = builder.load(builder.inttoptr(at, I64.as_pointer()))
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
        _, _, high, winner = loop(builder, taps, values, body)
        store(builder, high, best)
        odd = builder.fcmp_unordered("uno", high, high)
        nobody = ir.Constant(bytes_type, [NO_WINNER] * LANES)
        winner = builder.select(odd, nobody, builder.trunc(winner, bytes_type))
        stored = builder.store(winner, byte_pointer(won))
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
            offset = builder.load(builder.inttoptr(at, I64.as_pointer()))
            value = load(builder, builder.add(source, offset))
            return [builder.add(at, const(8)), builder.fadd(so_far, value)]

        zero = ir.Constant(VECTOR, [0.0] * LANES)
        _, result = loop(builder, taps, [offsets, zero], body)
        store(builder, result, target)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@intrinsic
def weighted(
    context: Any,
    source: Any,
    offsets: Any,
    weights: Any,
    taps: Any,
    start: Any,
    floor: Any,
    target: Any,
) -> Any:
    """Compute max(floor, start + sum of weights[t] x[t]) over `taps` runs x[t].

    Args:
        source: address from which the runs are found. A run is RUN vectors.
        offsets: address of int64 (taps,): bytes from `source` to run t.
        weights: address of float32 (taps,).
        taps: how many runs are summed, at least 1.
        start: what every sum starts with.
        floor: the least value of the result; -inf for none.
        target: address of the result, a run.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, offsets, weights, taps, start, floor, target = args

        def body(values: list[Any]) -> list[Any]:
            at, at_weight, *sums = values
            offset = builder.load(builder.inttoptr(at, I64.as_pointer()))
            first = builder.add(source, offset)
            weight = splat(builder, load(builder, at_weight, F32))
            for i in range(RUN):
                value = load(builder, builder.add(first, const(i * VECTOR_BYTES)))
                sums[i] = fma(builder, weight, value, sums[i])
            following = builder.add(at, const(8)), builder.add(at_weight, const(4))
            return [*following, *sums]

        starts = [splat(builder, start)] * RUN
        _, _, *sums = loop(builder, taps, [offsets, weights, *starts], body)
        low = splat(builder, floor)
        for i, value in enumerate(sums):
            # Not a maximum: a NaN must stay.
            below = builder.fcmp_ordered("<", value, low)
            kept = builder.select(below, low, value)
            store(builder, kept, builder.add(target, const(i * VECTOR_BYTES)))
        return context.get_dummy_value()

    kinds = [types.int64] * 4 + [types.float32] * 2 + [types.int64]
    return types.void(*kinds), generate


@intrinsic
def dot(context: Any, a: Any, b: Any, runs: Any) -> Any:
    """Return the sum of the products of `runs` >= 1 runs of RUN vectors."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, runs = args

        def body(values: list[Any]) -> list[Any]:
            at_a, at_b, *sums = values
            for i in range(RUN):
                step = const(i * VECTOR_BYTES)
                left = load(builder, builder.add(at_a, step))
                right = load(builder, builder.add(at_b, step))
                sums[i] = fma(builder, left, right, sums[i])
            run = const(RUN * VECTOR_BYTES)
            return [builder.add(at_a, run), builder.add(at_b, run), *sums]

        zero = ir.Constant(VECTOR, [0.0] * LANES)
        _, _, *sums = loop(builder, runs, [a, b, *[zero] * RUN], body)
        pairs = [builder.fadd(x, y) for x, y in zip(sums[::2], sums[1::2], strict=True)]
        whole = builder.fadd(*pairs)
        half = LANES // 2
        while half:
            lanes = [(i + half) % LANES for i in range(LANES)]
            order = ir.Constant(ir.VectorType(I32, LANES), lanes)
            rotated = builder.shuffle_vector(whole, whole, order)
            whole = builder.fadd(whole, rotated)
            half //= 2
        return builder.extract_element(whole, ir.Constant(I32, 0))

    return types.float32(*[types.int64] * 3), generate
