"""Tiles of products of vectors of positions, for `weights_dots_code`.

RIGHTS x LEFTS sums of vectors stay in registers while both factors are read.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from runtime.backends.cpu.machine.llvm import (
    I32,
    I64,
    LANES,
    MASK,
    VECTOR_BYTES,
    const,
    first_lanes,
    fma,
    intrinsic,
    load,
    loop,
    masked_load,
    masked_store,
    store,
)
from runtime.backends.cpu.machine.parts import types

RIGHTS = 4 if LANES == 16 else 2  # rows of dy whose sums are in registers
LEFTS = 5  # and rows of x: sums, both factors and a spare one fit


PLACE_BYTES = 40  # of a vector in a table, see `weights_dots_code`
# Whether a vector may lie in two rows of x; see `kept_rows_code`.
PIECES = 2 if LANES == 16 else 1


def _emit_dots(builder: Any, args: Any, from_left: Any, places: Any = None) -> None:
    """Emit the sums of `dots`, or those of `dots_in_place` if there are places."""
    right, right_step, rights, count, sums, sums_step = args
    end = builder.sub(rights, const(1))
    from_right = []
    for i in range(RIGHTS):
        inside = builder.icmp_signed("<", const(i), rights)
        row = builder.select(inside, const(i), end)
        from_right.append(builder.add(right, builder.mul(row, right_step)))
    targets = [
        builder.add(
            builder.add(sums, builder.mul(sums_step, const(i))),
            const(VECTOR_BYTES * j),
        )
        for i in range(RIGHTS)
        for j in range(LEFTS)
    ]

    def from_table(place: Any, field: int) -> Any:
        return load(builder, builder.add(place, const(8 * field)), I64)

    def add(at: Any, lefts: list[Any], so_far: list[Any]) -> list[Any]:
        new = []
        for i, row in enumerate(from_right):
            factor = load(builder, builder.add(row, at))
            for j, other in enumerate(lefts):
                new.append(fma(builder, factor, other, so_far[i * LEFTS + j]))
        return new

    def packed(values: list[Any]) -> list[Any]:
        at, *so_far = values
        lefts = [load(builder, builder.add(row, at)) for row in from_left]
        new = add(at, lefts, so_far)
        return [builder.add(at, const(VECTOR_BYTES)), *new]

    def of_one_row(values: list[Any]) -> list[Any]:
        place, *so_far = values
        first = from_table(place, 1)
        lefts = [load(builder, builder.add(row, first)) for row in from_left]
        new = add(from_table(place, 0), lefts, so_far)
        return [builder.add(place, const(PLACE_BYTES)), *new]

    def of_two_rows(values: list[Any]) -> list[Any]:
        place, *so_far = values
        first, last = from_table(place, 1), from_table(place, 2)
        masks = [first_lanes(builder, from_table(place, n)) for n in (3, 4)]
        lefts = []
        for row in from_left:
            # Lanes without a position are zeros, whatever lies there.
            behind = masked_load(builder, builder.add(row, last), masks[1])
            front = masked_load(builder, builder.add(row, first), masks[0])
            lefts.append(builder.select(masks[0], front, behind))
        new = add(from_table(place, 0), lefts, so_far)
        return [builder.add(place, const(PLACE_BYTES)), *new]

    found = [load(builder, target) for target in targets]
    if places is None:
        _, *found = loop(builder, count, [const(0), *found], packed)
    else:
        place, singles = places
        place, *found = _loop_if_any(builder, singles, [place, *found], of_one_row)
        if PIECES > 1:
            rest = builder.sub(count, singles)
            _, *found = _loop_if_any(builder, rest, [place, *found], of_two_rows)
    for target, value in zip(targets, found, strict=True):
        store(builder, value, target)


def _loop_if_any(builder: Any, count: Any, start: list[Any], body: Any) -> list[Any]:
    """Emit what `loop` does, for a count that may be 0."""
    before = builder.block
    inside = builder.append_basic_block("some")
    after = builder.append_basic_block("after")
    some = builder.icmp_signed(">", count, const(0))
    builder.cbranch(some, inside, after)
    builder.position_at_end(inside)
    found = loop(builder, count, start, body)
    end = builder.block
    builder.branch(after)
    builder.position_at_end(after)
    values = [builder.phi(value.type) for value in start]
    for phi, first, last in zip(values, start, found, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(last, end)
    return values


@intrinsic
def dots(
    context: Any,
    right: Any,
    right_step: Any,
    rights: Any,
    count: Any,
    sums: Any,
    sums_step: Any,
    left: Any,
    left_step: Any,
) -> Any:
    """Add right[i] left[j] to sums[i][j], lane by lane, for RIGHTS x LEFTS rows.

    Args:
        right: address of rows of `count` vectors, at least 1, of which `rights` exist.
        right_step, left_step: bytes from a row to the next.
        sums: address of vectors (RIGHTS, LEFTS), sums_step bytes from one i to the
            next.
        left: address of LEFTS rows like those of `right`.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        *args, left, left_step = args
        rows = [
            builder.add(left, builder.mul(left_step, const(j))) for j in range(LEFTS)
        ]
        _emit_dots(builder, args, rows)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8), generate


@intrinsic
def dots_in_place(
    context: Any,
    right: Any,
    right_step: Any,
    rights: Any,
    count: Any,
    sums: Any,
    sums_step: Any,
    left: Any,
    rows: Any,
    lefts: Any,
    places: Any,
    singles: Any,
) -> Any:
    """Do what `dots` does with rows of x as they lie.

    Args:
        left: the address from which `rows` and `places` count.
        rows: int64 (lefts,), bytes to every row.
        lefts: how many rows there are of LEFTS.
        places: what `_set_places` of `weights_dots_code` makes.
        singles: what it returns.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        *args, left, rows, lefts, places, singles = args
        end = builder.sub(lefts, const(1))
        addresses = []
        for j in range(LEFTS):
            inside = builder.icmp_signed("<", const(j), lefts)
            row = builder.select(inside, const(j), end)
            at = builder.add(rows, builder.mul(row, const(8)))
            addresses.append(builder.add(left, load(builder, at, I64)))
        _emit_dots(builder, args, addresses, (places, singles))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 11), generate


@intrinsic
def add_lanes(context: Any, source: Any, target: Any, count: Any, more: Any) -> Any:
    """Write the sums of the lanes of `count` <= LANES vectors; more: 1 to add them.

    LANES vectors are read. Halves are added, until one lane of each is left.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, target, count, more = args
        values = [
            load(builder, builder.add(source, const(VECTOR_BYTES * i)))
            for i in range(LANES)
        ]
        half, kind = LANES // 2, ir.VectorType(I32, LANES)
        while half:
            low = [i for i in range(2 * LANES) if i // half % 2 == 0]
            sides = [
                ir.Constant(kind, lanes) for lanes in (low, [i + half for i in low])
            ]
            values = [
                builder.fadd(*[builder.shuffle_vector(*two, side) for side in sides])
                for two in zip(values[::2], values[1::2], strict=True)
            ]
            half //= 2
        mask = first_lanes(builder, count)
        zeros = ir.Constant(MASK, [0] * LANES)
        adds = builder.icmp_signed("!=", more, const(0))
        before = masked_load(builder, target, builder.select(adds, mask, zeros))
        sums = builder.select(adds, builder.fadd(values[0], before), values[0])
        masked_store(builder, sums, target, mask)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate
