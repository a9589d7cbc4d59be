"""Winograd's transforms: they turn small correlations into products by element.

A correlation of a tile d of n x n elements with r x r weights g has m x m results,
n = m + r - 1. With matrices made from n - 1 points and infinity it takes n^2
multiplications:

    y = A^T [(G g G^T) * (B^T d B)] A

where m^2 r^2 are needed otherwise: 4 times as many for a kernel of r = 3, 6 times for
one of 5, with m = 4. The gradient of the weights takes the same products: by the
transposed statement, dg = G^T [sum over tiles of (A dy A^T) * (B^T d B)] G.

The points 0, +-3/4, +-3/2 for r = 3, and 0, +-1/2, +-1, +-2 for r = 5, make the
rounding errors of float32 about three and five times those of the plain sums; with the
usual 0, +-1, +-2 for r = 3 they would be seven times as large.

Source: A. Lavin and S. Gray, Fast algorithms for convolutional neural networks, 2015;
the construction is that of A. Toom and S. Cook.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from llvmlite import ir

import runtime.backends.cpu.machine.llvm as emit
from runtime.backends.cpu.machine.llvm import LANES, intrinsic
from runtime.backends.cpu.machine.parts import types

RESULTS = 4  # of a tile, along an axis
# By the size of the kernel, beside 0: each stands for itself and its opposite.
POINTS = {
    3: (Fraction(3, 4), Fraction(3, 2)),
    5: (Fraction(1, 2), Fraction(1), Fraction(2)),
}

Matrix = list[list[Fraction]]


def tile_size(kernel: int) -> int:
    """Return the size of the tiles for a kernel."""
    return RESULTS + kernel - 1


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Return the coefficients of the product of (x - root), lowest first."""
    result = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *result]
        scaled = [*(root * value for value in result), Fraction(0)]
        result = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return result


def matrices(kernel: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return A (n, m), G (n, r) and B^T (n, n) for a kernel of size r."""
    points = [Fraction(0)]
    for point in POINTS[kernel]:
        points += [point, -point]
    a, g, b = [], [], []
    for point in points:
        others = [other for other in points if other != point]
        norm = Fraction(1)
        for other in others:
            norm *= point - other
        a.append([point**i for i in range(RESULTS)])
        g.append([point**i / norm for i in range(kernel)])
        b.append([*_polynomial(others), Fraction(0)])
    a.append([Fraction(int(i == RESULTS - 1)) for i in range(RESULTS)])
    g.append([Fraction(int(i == kernel - 1)) for i in range(kernel)])
    b.append(_polynomial(points))
    return a, g, b


def transposed(matrix: Matrix) -> Matrix:
    """Return the transpose of a matrix."""
    return [list(column) for column in zip(*matrix, strict=True)]


# ---------------------------------------------------------------- code for a product


def _scaled(builder: Any, factor: Fraction, x: Any) -> Any:
    return builder.fmul(x, ir.Constant(x.type, [float(factor)] * LANES))


def _combine(builder: Any, row: Sequence[Fraction], x: Sequence[Any]) -> Any:
    """Return the sum of row[i] x[i], None where all of the row is zero."""
    terms = [pair for pair in zip(row, x, strict=True) if pair[0] != 0]
    terms.sort(key=lambda pair: pair[0] != 1)  # from one as it is, others are added
    total = None
    for factor, value in terms:
        if total is None:
            total = value if factor == 1 else _scaled(builder, factor, value)
        elif factor == 1:
            total = builder.fadd(total, value)
        elif factor == -1:
            total = builder.fsub(total, value)
        else:
            constant = ir.Constant(value.type, [float(factor)] * LANES)
            total = emit.fma(builder, constant, value, total)
    return total


def _multiply(builder: Any, matrix: Matrix, x: Sequence[Any]) -> list[Any]:
    """Return matrix x, where what opposite points share is computed once."""
    if len(matrix) < len(matrix[0]):  # a transposed matrix: its columns are the points'
        return _multiply_columns(builder, matrix, x)
    return _multiply_rows(builder, matrix, x)


def _multiply_rows(builder: Any, matrix: Matrix, x: Sequence[Any]) -> list[Any]:
    """Return matrix x. Rows of opposite points share their even and odd parts."""
    parts: list[tuple[Any, Any]] = []
    values: list[Any] = []
    for row in matrix:
        opposite = _opposite(row, matrix[: len(values)])
        if opposite is None:
            even = _combine(builder, [v * (1 - i % 2) for i, v in enumerate(row)], x)
            odd = _combine(builder, [v * (i % 2) for i, v in enumerate(row)], x)
            parts.append((even, odd))
            values.append(_sum(builder, even, odd, 1))
        else:
            at, sign = opposite
            parts.append(parts[at])
            value = _sum(builder, *parts[at], sign=-1)
            values.append(value if sign == 1 else builder.fneg(value))
    return values


def _sum(builder: Any, a: Any, b: Any, sign: int) -> Any:
    if a is None:
        return b if sign == 1 else builder.fneg(b)
    if b is None:
        return a
    return builder.fadd(a, b) if sign == 1 else builder.fsub(a, b)


def _opposite(row: Sequence[Fraction], rows: Matrix) -> tuple[int, int] | None:
    """Find an earlier row that is this one with the odd entries negated, up to sign."""
    flipped = [value * (-1) ** i for i, value in enumerate(row)]
    for at, other in enumerate(rows):
        for sign in (1, -1):
            if other == [sign * value for value in flipped] and other != list(row):
                return at, sign
    return None


def _multiply_columns(builder: Any, matrix: Matrix, x: Sequence[Any]) -> list[Any]:
    """Return matrix x, with the sums and differences of opposite points' values."""
    columns = transposed(matrix)
    terms: list[tuple[list[Fraction], Any]] = []
    used = set()
    for at, column in enumerate(columns):
        if at in used:
            continue
        pair = next(
            (
                (other, sign)
                for other in range(at + 1, len(columns))
                for sign in (1, -1)
                if columns[other]
                == [sign * value * (-1) ** i for i, value in enumerate(column)]
                and columns[other] != column
            ),
            None,
        )
        if pair is None or all(value == 0 for value in column[1:]):
            terms.append((column, x[at]))
            continue
        other, sign = pair
        used.add(other)
        plus, minus = builder.fadd(x[at], x[other]), builder.fsub(x[at], x[other])
        even, odd = (plus, minus) if sign == 1 else (minus, plus)
        terms.append(([v * (1 - i % 2) for i, v in enumerate(column)], even))
        terms.append(([v * (i % 2) for i, v in enumerate(column)], odd))
    rows = transposed([column for column, _ in terms])
    values = [value for _, value in terms]
    return [_combine(builder, row, values) for row in rows]


def _parted(matrix: Matrix) -> list[range]:
    """Return runs of a few rows, with opposite ones together.

    What a run makes of a tile stays in registers.
    """
    size = len(matrix)
    runs = [range(3), range(3, size - 3), range(size - 3, size)]
    return [run for run in runs if run]


def _both_sides(builder: Any, matrix: Matrix, x: list[list[Any]]) -> list[list[Any]]:
    """Return matrix x matrix^T."""
    half = [_multiply(builder, matrix, column) for column in zip(*x, strict=True)]
    return [_multiply(builder, matrix, row) for row in zip(*half, strict=True)]


# ---------------------------------------------------------------- intrinsics


def _read_offset(builder: Any, table: Any, number: int) -> Any:
    """Emit the read of an int32 of a table, as an int64."""
    address = builder.add(table, emit.const(4 * number))
    return builder.sext(emit.load(builder, address, ir.IntType(32)), ir.IntType(64))


def _expander(matrix: Matrix) -> Any:
    """Return an intrinsic for matrix d matrix^T, a lane for every channel.

    expand(source, offsets, target, step): element (i, j) of d, width x width, is the
    vector at source + offsets[width i + j]; element (k, l) of the result, n x n, goes
    to target + (n k + l) step. offsets are int32, everything is in bytes.
    """
    size, width = len(matrix), len(matrix[0])

    @intrinsic
    def expand(context: Any, source: Any, offsets: Any, target: Any, step: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source, offsets, target, step = args
            for rows in _parted(matrix):
                half = []
                for j in range(width):
                    column = []
                    for i in range(width):
                        offset = _read_offset(builder, offsets, width * i + j)
                        column.append(emit.load(builder, builder.add(source, offset)))
                    part = [matrix[k] for k in rows]
                    half.append(_multiply_rows(builder, part, column))
                for k, row in zip(rows, zip(*half, strict=True), strict=True):
                    for n, value in enumerate(_multiply(builder, matrix, row)):
                        offset = builder.mul(step, emit.const(size * k + n))
                        emit.store(builder, value, builder.add(target, offset))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return expand


def _reducer(matrix: Matrix) -> Any:
    """Return an intrinsic for matrix m matrix^T of n x n vectors, a lane for every row.

    reduce(source, step, target, offsets, bias, floor): element (k, l) of m is the
    vector at source + (n k + l) step; element (i, j) of the result goes to target +
    offsets[i width + j], after the vector at `bias` was added and what is below floor
    became floor.
    """
    width, size = len(matrix), len(matrix[0])

    @intrinsic
    def reduce(
        context: Any,
        source: Any,
        step: Any,
        target: Any,
        offsets: Any,
        bias: Any,
        floor: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source, step, target, offsets, bias, floor = args

            def element(k: int, n: int) -> Any:
                offset = builder.mul(step, emit.const(size * k + n))
                return emit.load(builder, builder.add(source, offset))

            values = [[element(k, n) for n in range(size)] for k in range(size)]
            result = _both_sides(builder, matrix, values)
            bias, floor = emit.load(builder, bias), emit.splat(builder, floor)
            for i, line in enumerate(result):
                for j, value in enumerate(line):
                    shifted = builder.fadd(value, bias)
                    below = builder.fcmp_ordered("<", shifted, floor)
                    kept = builder.select(below, floor, shifted)
                    offset = _read_offset(builder, offsets, width * i + j)
                    emit.store(builder, kept, builder.add(target, offset))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5, types.float32), generate

    return reduce


def _adder(matrix: Matrix) -> Any:
    """Return an intrinsic that adds matrix m matrix^T of n x n vectors to others.

    add(source, step, target, offsets): element (k, l) of m is the vector at source +
    (n k + l) step; element (i, j) of the result is added to the vector at target +
    offsets[n i + j], an int32.
    """
    size = len(matrix)

    @intrinsic
    def add(context: Any, source: Any, step: Any, target: Any, offsets: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source, step, target, offsets = args

            def element(k: int, n: int) -> Any:
                offset = builder.mul(step, emit.const(size * k + n))
                return emit.load(builder, builder.add(source, offset))

            values = [[element(k, n) for n in range(size)] for k in range(size)]
            half = [
                _multiply_columns(builder, matrix, column)
                for column in zip(*values, strict=True)
            ]
            for i, row in enumerate(zip(*half, strict=True)):
                for j, value in enumerate(_multiply_columns(builder, matrix, row)):
                    offset = _read_offset(builder, offsets, size * i + j)
                    at = builder.add(target, offset)
                    emit.store(builder, builder.fadd(emit.load(builder, at), value), at)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return add


_A3, _G3, _B3 = matrices(3)
_A5, _G5, _B5 = matrices(5)
# B^T d B, A dy A^T and G g G^T; A^T m A and G^T m G; B m B^T.
data3, data5 = _expander(_B3), _expander(_B5)
gradient3, gradient5 = _expander(_A3), _expander(_A5)
weights3, weights5 = _expander(_G3), _expander(_G5)
results3, results5 = _reducer(transposed(_A3)), _reducer(transposed(_A5))
weight_gradient3 = _reducer(transposed(_G3))
weight_gradient5 = _reducer(transposed(_G5))
piece3, piece5 = _adder(transposed(_B3)), _adder(transposed(_B5))
