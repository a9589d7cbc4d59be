"""Pieces of machine code: functions that emit LLVM instructions into a kernel.

Vectors are LLVM's own type, so the same text serves every processor; only `LANES` and
`ROWS` depend on it. Addresses are integers.
"""

from __future__ import annotations

import os
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from runtime.backends.cpu.machine.parts import intrinsic as intrinsic


def _target() -> tuple[str, str, str]:
    """Return platform, processor and its features.

    Those of this machine, or of NETSPEC_CPU_NAME and NETSPEC_CPU_FEATURES, in LLVM's
    words.
    """
    name, features = (_told(what) for what in ("CPU_NAME", "CPU_FEATURES"))
    if features is None:
        features = llvm.get_host_cpu_features().flatten()
    return llvm.get_process_triple(), name or llvm.get_host_cpu_name(), features


def _told(what: str) -> str | None:
    """Return a variable of ours, or that of Numba, which scripts may set for it."""
    return os.environ.get(f"NETSPEC_{what}", os.environ.get(f"NUMBA_{what}"))


TARGET = _target()


def _lanes() -> int:
    """Return how many floats the processor treats at once; a variable, for tests."""
    if os.environ.get("NETSPEC_VECTOR_LANES") in {"4", "8", "16"}:
        return int(os.environ["NETSPEC_VECTOR_LANES"])
    features = TARGET[2].split(",")
    if "+avx512f" in features:
        return 16
    return 8 if "+avx" in features else 4


LANES = _lanes()  # floats in a vector register
# Rows of the tile that a matrix product keeps in registers: ROWS x 3 vectors of sums,
# 3 of one factor and one broadcast value must fit. At most LANES.
ROWS = 8 if LANES == 16 else 4
VECTORS = 3  # vectors in a row of the widest tile
VECTOR_BYTES = 4 * LANES

F32 = ir.FloatType()
I32 = ir.IntType(32)
I64 = ir.IntType(64)
VECTOR = ir.VectorType(F32, LANES)
MASK = ir.VectorType(ir.IntType(1), LANES)


def const(value: int) -> ir.Constant:
    """Return an int64."""
    return ir.Constant(I64, value)


def load(builder: Any, address: Any, kind: ir.Type = VECTOR) -> Any:
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
    undefined = ir.Constant(VECTOR, ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
    return builder.shuffle_vector(one, undefined, zeros)


def declared(builder: Any, name: str, result: ir.Type, args: list[ir.Type]) -> Any:
    """Return a function of LLVM, declared in the module of the kernel."""
    found = builder.module.globals.get(name)
    return found or ir.Function(builder.module, ir.FunctionType(result, args), name)


def fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Emit a b + c of vectors, as one instruction where the processor has it."""
    name = f"llvm.fmuladd.v{LANES}f32"
    function = declared(builder, name, VECTOR, [VECTOR] * 3)
    return builder.call(function, [a, b, c])


def first_lanes(builder: Any, count: Any) -> Any:
    """Return the mask of the lanes below `count`."""
    wide = ir.VectorType(I32, LANES)
    count = builder.trunc(count, I32)
    undefined = ir.Constant(wide, ir.Undefined)
    one = builder.insert_element(undefined, count, ir.Constant(I32, 0))
    many = builder.shuffle_vector(one, undefined, ir.Constant(wide, [0] * LANES))
    steps = ir.Constant(wide, list(range(LANES)))
    return builder.icmp_signed("<", steps, many)


def masked_load(builder: Any, address: Any, mask: Any) -> Any:
    """Emit a load of the lanes of a mask; the others are zeros."""
    pointer = builder.inttoptr(address, VECTOR.as_pointer())
    name = f"llvm.masked.load.v{LANES}f32.p0"
    function = declared(builder, name, VECTOR, [pointer.type, I32, MASK, VECTOR])
    zeros = ir.Constant(VECTOR, [0.0] * LANES)
    return builder.call(function, [pointer, ir.Constant(I32, 4), mask, zeros])


def masked_store(builder: Any, value: Any, address: Any, mask: Any) -> None:
    """Emit a store of the lanes of a mask."""
    pointer = builder.inttoptr(address, VECTOR.as_pointer())
    name = f"llvm.masked.store.v{LANES}f32.p0"
    function = declared(builder, name, ir.VoidType(), [VECTOR, pointer.type, I32, MASK])
    builder.call(function, [value, pointer, ir.Constant(I32, 4), mask])


def loop(builder: Any, count: Any, start: list[Any], body: Any) -> list[Any]:
    """Emit a loop that runs `count` >= 1 times over values carried around.

    `start` are the values of the first round; body(values) emits one round and returns
    the next values, of which the last are returned.
    """
    before = builder.block
    block = builder.append_basic_block("loop")
    after = builder.append_basic_block("done")
    builder.branch(block)
    builder.position_at_end(block)
    left = builder.phi(I64)
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


def transposed(builder: Any, block: list[Any]) -> list[Any]:
    """Emit shuffles that transpose LANES vectors.

    log2(LANES) rounds: in each, pairs of vectors interleave their halves.
    """
    half = LANES // 2
    kind = ir.VectorType(I32, LANES)
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
