"""Copies of every so many elements of a row."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from runtime.backends.cpu.machine.compiled import helper
from runtime.backends.cpu.machine.llvm import (
    I32,
    LANES,
    VECTOR_BYTES,
    const,
    intrinsic,
    load,
    store,
)
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.simd import copy, f32


@intrinsic
def _even(context: Any, target: Any, source: Any) -> Any:
    """Copy LANES floats, each but the last followed by one that is left out."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, source = args
        # The second half from one float further up: behind the last none is read.
        first = load(builder, source)
        second = load(builder, builder.add(source, const(VECTOR_BYTES - 4)))
        half = [2 * i for i in range(LANES // 2)]
        lanes = half + [LANES + 1 + i for i in half]
        kind = ir.VectorType(I32, LANES)
        even = builder.shuffle_vector(first, second, ir.Constant(kind, lanes))
        store(builder, even, target)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 2), generate


@helper
def copy_every(target: int, source: int, step: int, count: int) -> None:
    """Copy `count` floats, the first of every `step`; none behind the last is read."""
    if step == 1:
        copy(target, source, count)
    elif step == 2 and count >= LANES:
        for j in range(0, count, LANES):
            at = min(j, count - LANES)  # the last vector may be copied in part again
            _even(target + 4 * at, source + 8 * at)
    else:
        x, y = f32(source), f32(target)
        for j in range(count):
            y[j] = x[j * step]
