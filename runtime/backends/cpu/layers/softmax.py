"""Softmax on compiled kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from netspec.ops.base import Shape, count
from netspec.ops.softmax import Softmax as SoftmaxOp
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.llvm import (
    LANES,
    VECTOR,
    const,
    first_lanes,
    load,
    loop,
    masked_load,
    masked_store,
    store,
)
from runtime.backends.cpu.machine.mapping import emit_sweep, folded
from runtime.backends.cpu.machine.sizes import SERIAL_ELEMENTS, few
from runtime.backends.cpu.machine.vector_math import Value, exp, instruction, where
from runtime.backends.layer_kernel import LayerKernel

HELD = 4  # vectors of a row that registers hold from its maximum to its quotients


def _greater(a: Value, b: Value) -> Value:
    """Return the greater, b where a is NaN: that comes to light in the exponentials."""
    return where(a > b, a, b)


def _sum(a: Value, b: Value) -> Value:
    return a + b


def _splat(builder: Any, number: float) -> Value:
    return Value(builder, ir.Constant(VECTOR, [number] * LANES))


def _row(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Emit the softmax of classes that follow each other."""
    x, p, classes = args

    def held(row: _Row) -> None:
        values = row.load(x, missing=-math.inf)
        highest = folded(_joined(values, _greater), _greater)
        powers = [exp(value - highest) for value in values]
        share = 1.0 / folded(_joined(powers, _sum), _sum)
        row.store([power * share for power in powers], p)

    def swept() -> None:
        lowest, none = _splat(builder, -math.inf), _splat(builder, 0.0)
        rest = -math.inf  # its exponential is 0

        def compare(one: list[Value], highest: list[Value]) -> Any:
            return None, [_greater(one[0], highest[0])]

        found = emit_sweep(builder, [x], None, classes, compare, [lowest], missing=rest)
        highest = folded(found[0], _greater)

        def raise_to(one: list[Value], total: list[Value]) -> Any:
            power = exp(one[0] - highest)
            return power, [total[0] + power]

        totals = emit_sweep(builder, [x], p, classes, raise_to, [none], missing=rest)
        share = 1.0 / folded(totals[0], _sum)
        emit_sweep(builder, [p], p, classes, lambda one, _: (one[0] * share, []))

    _by_length(builder, classes, held, swept)
    return context.get_dummy_value()


def _row_gradient(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    y, dy, dx, classes = args

    def held(row: _Row) -> None:
        below, above = row.load(y), row.load(dy)
        products = [one * two for one, two in zip(below, above, strict=True)]
        total = folded(_joined(products, _sum), _sum)
        pairs = zip(below, above, strict=True)
        row.store([(two - total) * one for one, two in pairs], dx)

    def swept() -> None:
        def product(one: list[Value], total: list[Value]) -> Any:
            return None, [total[0] + one[0] * one[1]]

        start = [_splat(builder, 0.0)]
        totals = emit_sweep(builder, [y, dy], None, classes, product, start)
        total = folded(totals[0], _sum)

        def difference(one: list[Value], _: list[Value]) -> Any:
            return (one[1] - total) * one[0], []

        emit_sweep(builder, [y, dy], dx, classes, difference)

    _by_length(builder, classes, held, swept)
    return context.get_dummy_value()


def _joined(values: list[Value], join: Any) -> Value:
    """Return what values make together, neighbours first."""
    while len(values) > 1:
        pairs = [join(a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = [*pairs, *values[2 * len(pairs) :]]
    return values[0]


class _Row:
    """Loads and stores of a row of so many vectors, of which the last has a part."""

    def __init__(self, builder: Any, count: Any, vectors: int) -> None:
        self.builder = builder
        self._full = [4 * LANES * place for place in range(vectors - 1)]
        self._last = const(4 * LANES * (vectors - 1))
        left = builder.sub(count, const(LANES * (vectors - 1)))
        self._tail = first_lanes(builder, left)

    def load(self, address: Any, missing: float = 0.0) -> list[Value]:
        """Read a row; missing: what is behind its last element."""
        builder = self.builder
        found = [load(builder, builder.add(address, const(at))) for at in self._full]
        last = masked_load(builder, builder.add(address, self._last), self._tail)
        rest = _splat(builder, missing).raw
        found.append(builder.select(self._tail, last, rest) if missing else last)
        return [Value(builder, one) for one in found]

    def store(self, values: list[Value], address: Any) -> None:
        """Write a row."""
        builder = self.builder
        for value, at in zip(values, self._full, strict=False):
            store(builder, value.raw, builder.add(address, const(at)))
        at = builder.add(address, self._last)
        masked_store(builder, values[-1].raw, at, self._tail)


def _by_length(builder: Any, classes: Any, held: Any, swept: Any) -> None:
    """Emit code for rows that registers hold, by their number of vectors, and others.

    held: takes a `_Row`. swept: for rows that are longer.
    """
    vectors = builder.sdiv(builder.add(classes, const(LANES - 1)), const(LANES))
    done = builder.append_basic_block("done")
    longer = builder.append_basic_block("longer")
    chosen = builder.switch(vectors, longer)
    for number in range(1, HELD + 1):
        case = builder.append_basic_block(f"row{number}")
        chosen.add_case(const(number), case)
        builder.position_at_end(case)
        held(_Row(builder, classes, number))
        builder.branch(done)
    builder.position_at_end(longer)
    swept()
    builder.branch(done)
    builder.position_at_end(done)


class _Columns:
    """Loads and stores of a vector of places, of all lanes or of some."""

    def __init__(self, builder: Any, count: Any, *, all_lanes: bool) -> None:
        self.builder = builder
        self.mask = None if all_lanes else first_lanes(builder, count)

    def load(self, address: Any) -> Value:
        if self.mask is None:
            return Value(self.builder, load(self.builder, address))
        return Value(self.builder, masked_load(self.builder, address, self.mask))

    def store(self, value: Value, address: Any) -> None:
        if self.mask is None:
            store(self.builder, value.raw, address)
        else:
            masked_store(self.builder, value.raw, address, self.mask)


def _by_lanes(builder: Any, many: Any, emit: Any) -> None:
    """Emit code for all lanes, and the same for the first `many` ones."""
    whole = builder.icmp_signed("==", many, const(LANES))
    with builder.if_else(whole) as (then, otherwise):
        with then:
            emit(_Columns(builder, many, all_lanes=True))
        with otherwise:
            emit(_Columns(builder, many, all_lanes=False))


def _column(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Emit the softmax of classes that are a step apart, for a vector of places."""
    x, p, classes, step, many = args
    lowest, none = _splat(builder, -math.inf), _splat(builder, 0.0)

    def emit(columns: _Columns) -> None:
        def compare(values: list[Any]) -> list[Any]:
            at, highest = values
            value = columns.load(at)
            higher = _greater(value, Value(builder, highest))
            return [builder.add(at, step), higher.raw]

        _, raw = loop(builder, classes, [x, lowest.raw], compare)
        highest = Value(builder, raw)

        def raise_to(values: list[Any]) -> list[Any]:
            at, put, total = values
            power = exp(columns.load(at) - highest)
            columns.store(power, put)
            total = Value(builder, total) + power
            return [builder.add(at, step), builder.add(put, step), total.raw]

        *_, raw = loop(builder, classes, [x, p, none.raw], raise_to)
        share = 1.0 / Value(builder, raw)

        def divide(values: list[Any]) -> list[Any]:
            columns.store(columns.load(values[0]) * share, values[0])
            return [builder.add(values[0], step)]

        loop(builder, classes, [p], divide)

    _by_lanes(builder, many, emit)
    return context.get_dummy_value()


def _column_gradient(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    y, dy, dx, classes, step, many = args

    def emit(columns: _Columns) -> None:
        def product(values: list[Any]) -> list[Any]:
            at, above, total = values
            one = columns.load(at) * columns.load(above)
            total = Value(builder, total) + one
            return [builder.add(at, step), builder.add(above, step), total.raw]

        start = [y, dy, _splat(builder, 0.0).raw]
        *_, raw = loop(builder, classes, start, product)
        total = Value(builder, raw)

        def difference(values: list[Any]) -> list[Any]:
            at, above, put = values
            value = (columns.load(above) - total) * columns.load(at)
            columns.store(value, put)
            return [builder.add(one, step) for one in values]

        loop(builder, classes, [y, dy, dx], difference)

    _by_lanes(builder, many, emit)
    return context.get_dummy_value()


# row(x, p, classes), column(x, p, classes, step in bytes, places <= LANES), and their
# gradients (y, dy, dx, ...).
row = instruction("void", ["int64"] * 3, _row)
row_gradient = instruction("void", ["int64"] * 4, _row_gradient)
column = instruction("void", ["int64"] * 5, _column)
column_gradient = instruction("void", ["int64"] * 6, _column_gradient)


@kernel("x p rows classes")
def softmax(record: Any, part: int, parts: int) -> None:
    """Compute p = exp(x - max) / (sum of exp(x - max)) of every row; p may be x.

    Shapes: x, p (rows, classes).
    """
    a = carray(record, 1)[0]
    for item in range(a.rows * part // parts, a.rows * (part + 1) // parts):
        at = 4 * item * a.classes
        row(a.x + at, a.p + at, a.classes)


@kernel("y dy dx rows classes")
def softmax_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx = y (dy - sum of dy y) of every row; dx may be dy."""
    a = carray(record, 1)[0]
    for item in range(a.rows * part // parts, a.rows * (part + 1) // parts):
        at = 4 * item * a.classes
        row_gradient(a.y + at, a.dy + at, a.dx + at, a.classes)


@kernel("x p outer classes inner")
def softmax_across(record: Any, part: int, parts: int) -> None:
    """Compute the softmax along the middle axis; p may be x.

    Shapes: x, p (outer, classes, inner).
    """
    a = carray(record, 1)[0]
    vectors = (a.inner + LANES - 1) // LANES
    units = a.outer * vectors
    for unit in range(units * part // parts, units * (part + 1) // parts):
        first = unit % vectors * LANES
        at = 4 * (unit // vectors * a.classes * a.inner + first)
        many = min(LANES, a.inner - first)
        column(a.x + at, a.p + at, a.classes, 4 * a.inner, many)


@kernel("y dy dx outer classes inner")
def softmax_across_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx = y (dy - sum of dy y) along the middle axis; dx may be dy."""
    a = carray(record, 1)[0]
    vectors = (a.inner + LANES - 1) // LANES
    units = a.outer * vectors
    for unit in range(units * part // parts, units * (part + 1) // parts):
        first = unit % vectors * LANES
        at = 4 * (unit // vectors * a.classes * a.inner + first)
        many = min(LANES, a.inner - first)
        column_gradient(a.y + at, a.dy + at, a.dx + at, a.classes, 4 * a.inner, many)


def softmax_call(shape: Shape, axis: int, **arrays: Any) -> Call:
    """Return the call of x, p or of y, dy, dx along an axis."""
    outer, classes, inner = count(shape, 0, axis), shape[axis], count(shape, axis + 1)
    size = count(shape)
    shares = {"serial": few(size), "units": size // SERIAL_ELEMENTS}
    if inner == 1:
        chosen = softmax if "x" in arrays else softmax_gradient
        return chosen(rows=outer, classes=classes, **shares, **arrays)
    across = softmax_across if "x" in arrays else softmax_across_gradient
    return across(outer=outer, classes=classes, inner=inner, **shares, **arrays)


class Softmax(LayerKernel[SoftmaxOp]):
    """Scores to probabilities along one axis; see the portable kernel."""

    options = ("axis",)

    @classmethod
    def suits(cls, op: SoftmaxOp) -> bool:
        """Whether there is anything."""
        return count(op.bottoms[0]) > 0

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        return [softmax_call(self.op.bottoms[0], self.op.axis, x=self.x, p=self.y)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        arrays = {"y": self.y, "dy": self.dy, "dx": self.dx}
        return [softmax_call(self.op.bottoms[0], self.op.axis, **arrays)]
