"""Windows over an image, straight from its memory: what kernels emit for all of them.

Positions are treated in blocks: a few rows, which share the rows of the image that they
see, of one vector each. Beyond the image lies a value instead of memory: rows are taken
from a row of that value, columns by masks in the blocks that reach beyond the sides.
The last block of a row goes back to be a whole one, where the row is long enough, and
computes some positions twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from runtime.backends.cpu.machine.llvm import (
    I32,
    LANES,
    MASK,
    VECTOR,
    const,
    declared,
    first_lanes,
    load,
    loop,
)

BYTES = ir.VectorType(ir.IntType(8), LANES)
WIDE = ir.VectorType(I32, LANES)
STEPS = (1, 2)  # from one position to the next one of a row, for `Windows`
Row = list[Any]  # what the taps of a row of the windows see, a vector each


@dataclass(frozen=True)
class Image:
    """Where a plane lies, and where its windows begin; all are int64 values.

    plane: address. top, left: row and column that the first tap of the first window
    sees. beyond: address of a row of what lies beyond the image.
    """

    plane: Any
    height: Any
    width: Any
    top: Any
    left: Any
    beyond: Any


@dataclass(frozen=True)
class Block:
    """A block of positions, as code is emitted for it.

    rows: rows of positions that are there, at least 1; the code is for `Windows.rows`.
    row, column: the first position. taken: gives what the taps see in a row of the
    image, of those that the block sees. mask: positions of a row that are there, or
    None for all.
    """

    rows: Any
    row: Any
    column: Any
    taken: Callable[[int], Row]
    mask: Any


@dataclass(frozen=True)
class Windows:
    """Windows of height x width taps, `step` apart in both directions.

    rows: of positions in a block. fill: what lies beyond the image. once: no position
    is treated twice, and what taps see beside the positions that are there is `fill`;
    rows of positions must be a multiple of `rows`.
    """

    height: int
    width: int
    step: int
    rows: int
    fill: float = 0.0
    once: bool = False

    @property
    def seen(self) -> int:
        """Rows of the image that a block sees."""
        return (self.rows - 1) * self.step + self.height

    @property
    def _span(self) -> int:
        """Columns of the image that the loads for a block touch."""
        return (self.width - 1) // self.step * self.step + self.step * LANES

    def each_block(
        self,
        builder: Any,
        image: Image,
        sizes: tuple[Any, Any],
        body: Callable[[Block], None],
    ) -> None:
        """Emit `body` for all blocks of positions; `sizes` are rows and columns."""
        height, width = sizes
        full = builder.icmp_signed(">=", width, const(LANES))
        last = builder.select(full, builder.sub(width, const(LANES)), const(0))
        strips = divided_up(builder, height, self.rows)
        blocks = divided_up(builder, width, LANES)

        def strip(values: list[Any]) -> list[Any]:
            (row,) = values
            rows = self._addresses(builder, image, row)
            rows_left = builder.sub(height, row)

            def block(values: list[Any]) -> list[Any]:
                (next_column,) = values
                column = next_column
                if not self.once:
                    column = smaller(builder, column, last)
                left = builder.sub(width, column)
                first = builder.add(image.left, builder.mul(column, const(self.step)))
                end = builder.add(first, const(self._span))
                simple = builder.and_(
                    builder.and_(
                        builder.icmp_signed(">=", left, const(LANES)),
                        builder.icmp_signed(">=", first, const(0)),
                    ),
                    builder.icmp_signed("<=", end, image.width),
                )
                with builder.if_else(simple) as (then, otherwise):
                    with then:
                        taken = self._taken(builder, rows, first, None)
                        body(Block(rows_left, row, column, taken, None))
                    with otherwise:
                        masks = self._masks(builder, first, image.width)
                        mask = first_lanes(builder, left)
                        taken = self._taken(builder, rows, first, masks)
                        if self.once:
                            taken = self._only(builder, taken, mask)
                        body(Block(rows_left, row, column, taken, mask))
                return [builder.add(next_column, const(LANES))]

            loop(builder, blocks, [const(0)], block)
            return [builder.add(row, const(self.rows))]

        loop(builder, strips, [const(0)], strip)

    def _addresses(self, builder: Any, image: Image, row: Any) -> list[Any]:
        """Return where the rows lie that a block sees, or what lies beyond."""
        first = builder.add(image.top, builder.mul(row, const(self.step)))
        found = []
        for i in range(self.seen):
            at = builder.add(first, const(i))
            there = builder.icmp_unsigned("<", at, image.height)
            offset = builder.mul(builder.mul(at, image.width), const(4))
            address = builder.add(image.plane, offset)
            found.append(builder.select(there, address, image.beyond))
        return found

    def _offsets(self) -> list[int]:
        """Return the columns where loads begin, from the first tap's on."""
        if self.step == 1:
            return list(range(self.width))
        pairs = range(0, self.width, 2)
        return [at + part for at in pairs for part in (0, LANES)]

    def _masks(self, builder: Any, first: Any, width: Any) -> list[Any]:
        lanes = ir.Constant(WIDE, list(range(LANES)))
        limit = spread(builder, builder.trunc(width, I32))
        masks = []
        for offset in self._offsets():
            start = builder.trunc(builder.add(first, const(offset)), I32)
            columns = builder.add(spread(builder, start), lanes)
            masks.append(builder.icmp_unsigned("<", columns, limit))
        return masks

    def _only(
        self, builder: Any, taken: Callable[[int], Row], mask: Any
    ) -> Callable[[int], Row]:
        others = ir.Constant(VECTOR, [self.fill] * LANES)
        return lambda row: [builder.select(mask, value, others) for value in taken(row)]

    def _taken(
        self, builder: Any, rows: list[Any], first: Any, masks: list[Any] | None
    ) -> Callable[[int], Row]:
        start = builder.mul(first, const(4))

        def taken(row: int) -> Row:
            at = builder.add(rows[row], start)
            vectors = []
            for i, offset in enumerate(self._offsets()):
                address = builder.add(at, const(4 * offset))
                if masks is None:
                    vectors.append(load(builder, address))
                else:
                    vectors.append(load_or(builder, address, masks[i], self.fill))
            if self.step == 1:
                return vectors
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            halves = [half for pair in pairs for half in parted(builder, *pair)]
            return halves[: self.width]

        return taken


def put(builder: Any, block: Block, plane: Any, width: Any, values: list[Any]) -> None:
    """Store a vector for every row of a block into a plane of positions.

    The elements are those of the vectors. Rows that are not there go to the last one
    that is, ahead of its own. A mask of all lanes is no masked store, which some
    processors are slow at.
    """
    kind = values[0].type
    nbytes = 1 if kind == BYTES else 4
    end = builder.sub(block.rows, const(1))
    first = builder.add(builder.mul(block.row, width), block.column)
    pointers = []
    for i in range(len(values)):
        row = smaller(builder, const(i), end)
        at = builder.add(first, builder.mul(row, width))
        address = builder.add(plane, builder.mul(at, const(nbytes)))
        pointers.append(builder.inttoptr(address, kind.as_pointer()))
    pairs = list(zip(pointers, values, strict=True))[::-1]

    def whole() -> None:
        for pointer, value in pairs:
            builder.store(value, pointer).align = nbytes

    def partly() -> None:
        name = f"llvm.masked.store.v{LANES}{'i8' if nbytes == 1 else 'f32'}.p0"
        args = [kind, pointers[0].type, I32, MASK]
        function = declared(builder, name, ir.VoidType(), args)
        for pointer, value in pairs:
            builder.call(function, [value, pointer, ir.Constant(I32, nbytes), mask])

    mask = block.mask
    if mask is None:
        whole()
        return
    everything = builder.extract_element(mask, ir.Constant(I32, LANES - 1))
    with builder.if_else(everything) as (then, otherwise):
        with then:
            whole()
        with otherwise:
            partly()


def divided_up(builder: Any, number: Any, step: int) -> Any:
    """Emit number / step, rounded up."""
    return builder.sdiv(builder.add(number, const(step - 1)), const(step))


def smaller(builder: Any, a: Any, b: Any) -> Any:
    """Emit the minimum of two int64."""
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def spread(builder: Any, value: Any) -> Any:
    """Emit a copy of an int32 into every lane."""
    undefined = ir.Constant(WIDE, ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(I32, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(WIDE, [0] * LANES))


def load_or(builder: Any, address: Any, mask: Any, other: float) -> Any:
    """Emit a load of the lanes of a mask; the others are `other`."""
    pointer = builder.inttoptr(address, VECTOR.as_pointer())
    name = f"llvm.masked.load.v{LANES}f32.p0"
    function = declared(builder, name, VECTOR, [pointer.type, I32, MASK, VECTOR])
    others = ir.Constant(VECTOR, [other] * LANES)
    return builder.call(function, [pointer, ir.Constant(I32, 4), mask, others])


def masked(builder: Any, address: Any, mask: Any) -> Any:
    """Emit a load of the lanes of a mask, or of all if it is None; others are zeros."""
    return (
        load(builder, address) if mask is None else load_or(builder, address, mask, 0)
    )


def parted(builder: Any, first: Any, second: Any) -> tuple[Any, Any]:
    """Emit the even and the odd ones of the lanes of two vectors."""
    even, odd = (
        builder.shuffle_vector(
            first, second, ir.Constant(WIDE, list(range(side, 2 * LANES, 2)))
        )
        for side in (0, 1)
    )
    return even, odd


def interleaved(builder: Any, even: Any, odd: Any) -> tuple[Any, Any]:
    """Emit the reverse of `parted`."""
    lanes = [i // 2 + i % 2 * LANES for i in range(2 * LANES)]
    first, second = (
        builder.shuffle_vector(even, odd, ir.Constant(WIDE, part))
        for part in (lanes[:LANES], lanes[LANES:])
    )
    return first, second
