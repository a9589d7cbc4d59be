"""Kernels that sum a formula of `vector_math` over the elements of rows.

Rows are cut into chunks of a fixed length, whose sums are joined in their order: how
many threads there are changes no bit.
"""

from __future__ import annotations

import inspect
from typing import Any

from llvmlite import ir

from runtime.backends.cpu.machine.compiled import CompiledKernel, carray, kernel
from runtime.backends.cpu.machine.llvm import (
    F32,
    I32,
    I64,
    LANES,
    VECTOR,
    const,
    intrinsic,
    load,
    splat,
)
from runtime.backends.cpu.machine.mapping import emit_sweep, folded, named
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.simd import f32, f64
from runtime.backends.cpu.machine.vector_math import Formula, Value

CHUNK = 4096  # elements whose sum is made in single precision, a lane each


def chunks_of(size: int) -> int:
    """Return how many chunks a row has."""
    return -(-size // CHUNK)


def sum_kernel(
    name: str, formula: Formula, inputs: int = 1, *, module: str
) -> CompiledKernel:
    """Return the kernel that sums formula(inputs, constants) over the chunks of rows.

    Its arguments are the addresses of the inputs, (rows, size) each, named as the
    formula names them; `totals`, float64 (rows, chunks), which gets the sums; `rows`,
    `size`, and the constants.

    name: the one that the kernel has in its module, `module`.
    """
    names = list(inspect.signature(formula).parameters)
    ints = [*names[:inputs], "totals", "rows", "size"]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        record, first, count = args
        fields = builder.ptrtoint(record, I64)
        skipped = builder.mul(first, const(4))

        def field(index: int, kind: ir.Type) -> Any:
            return load(builder, builder.add(fields, const(8 * index)), kind)

        addresses = [builder.add(field(index, I64), skipped) for index in range(inputs)]
        constants = []
        for index in range(len(names) - inputs):
            one = builder.fptrunc(field(len(ints) + index, ir.DoubleType()), F32)
            constants.append(Value(builder, splat(builder, one)))

        def step(x: list[Value], total: list[Value]) -> tuple[None, list[Value]]:
            return None, [total[0] + formula(*x, *constants)]

        none = Value(builder, ir.Constant(VECTOR, [0.0] * LANES))
        totals = emit_sweep(builder, addresses, None, count, step, [none], guarded=True)
        total = folded(totals[0], lambda a, b: a + b)
        return builder.extract_element(total.raw, ir.Constant(I32, 0))

    def sum_at(context: Any, record: Any, first: Any, count: Any) -> Any:
        return types.float32(record, first, count), generate

    function = named(_sums, {"sum_at": intrinsic(sum_at)}, name, module)
    return kernel(" ".join(ints), " ".join(names[inputs:]))(function)


def _sums(record: Any, part: int, parts: int) -> None:
    a = carray(record, 1)[0]
    totals = f64(a.totals)
    chunks = (a.size + CHUNK - 1) // CHUNK
    units = a.rows * chunks
    for unit in range(units * part // parts, units * (part + 1) // parts):
        first = unit % chunks * CHUNK
        count = min(CHUNK, a.size - first)
        begin = unit // chunks * a.size + first
        totals[unit] = sum_at(record, begin, count)  # type: ignore[name-defined]  # noqa: F821


@kernel("totals counted y inverse rows chunks", "factor divisor")
def join_sums(record: Any, part: int, parts: int) -> None:
    """Compute y = factor (sum of totals) / divisor of every row.

    Fields:
        totals: float64 (rows, chunks).
        counted: float64 (rows, chunks), whose sum, at least 1, is the divisor then, or
            0.
        y: (rows,).
        inverse: (rows,), gets 1 / divisor, or 0.
    """
    a = carray(record, 1)[0]
    for row in range(a.rows * part // parts, a.rows * (part + 1) // parts):
        total, divisor = 0.0, a.divisor
        for chunk in range(row * a.chunks, (row + 1) * a.chunks):
            total += f64(a.totals)[chunk]
        if a.counted != 0:
            divisor = 0.0
            for chunk in range(row * a.chunks, (row + 1) * a.chunks):
                divisor += f64(a.counted)[chunk]
            divisor = max(1.0, divisor)
        f32(a.y)[row] = a.factor * total / divisor
        if a.inverse != 0:
            f32(a.inverse)[row] = 1 / divisor
