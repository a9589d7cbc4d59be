"""Kernels that apply a formula of `vector_math` to every element of arrays.

A formula is Python code that emits instructions once, for one vector of elements, so
that such a kernel costs little to compile: there is one line, and for LLVM no loop that
it could unroll, peel or guard. All elements take the same way, with the same bits
wherever they lie.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from llvmlite import ir

from runtime.backends.cpu.machine.compiled import CompiledKernel, kernel
from runtime.backends.cpu.machine.llvm import (
    F32,
    I32,
    I64,
    LANES,
    MASK,
    VECTOR,
    VECTOR_BYTES,
    const,
    first_lanes,
    intrinsic,
    load,
    loop,
    masked_load,
    masked_store,
    splat,
    store,
)
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.vector_math import Formula, Value, instruction


def map_kernel(
    name: str,
    formula: Formula,
    inputs: int = 1,
    *,
    scalars: int = 0,
    output: str = "y",
    module: str,
) -> CompiledKernel:
    """Return the kernel that computes `output` = formula(inputs, scalars, constants).

    Its arguments are named as the formula names them: the addresses of the inputs, and
    that of the output, which may be any of them; `count`; the addresses of scalars, one
    float each; and constants.

    name: the one that the kernel has in its module, `module`.
    """
    names = list(inspect.signature(formula).parameters)
    arrays = [*names[:inputs], output]
    ints = [*arrays, "count", *names[inputs : inputs + scalars]]
    floats = names[inputs + scalars :]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        record, part, parts = args
        fields = builder.ptrtoint(record, I64)

        def field(index: int, kind: ir.Type) -> Any:
            return load(builder, builder.add(fields, const(8 * index)), kind)

        count = field(len(arrays), I64)
        first = _start(builder, part, parts, count)
        until = _start(builder, builder.add(part, const(1)), parts, count)
        skipped = builder.mul(first, const(4))
        addresses = [
            builder.add(field(index, I64), skipped) for index in range(len(arrays))
        ]
        constants = [
            load(builder, field(len(arrays) + 1 + index, I64), F32)
            for index in range(scalars)
        ]
        constants += [
            builder.fptrunc(field(len(ints) + index, ir.DoubleType()), F32)
            for index in range(len(floats))
        ]
        length = builder.sub(until, first)
        emit_map(builder, formula, addresses, length, constants)
        return context.get_dummy_value()

    def share(context: Any, record: Any, part: Any, parts: Any) -> Any:
        return types.void(record, part, parts), generate

    function = named(_shared, {"share": intrinsic(share)}, name, module)
    return kernel(" ".join(ints), " ".join(floats))(function)


def named(function: Any, names: dict[str, Any], name: str, module: str) -> Any:
    """Return a function of the same code that finds other values under some names."""
    known = {**function.__globals__, **names}
    made: Any = FunctionType(function.__code__, known, name)
    made.__qualname__, made.__module__ = name, module
    return made


def _shared(record: Any, part: int, parts: int) -> None:
    share(record, part, parts)  # type: ignore[name-defined]  # noqa: F821


def _start(builder: Any, part: Any, parts: Any, count: Any) -> Any:
    """Emit where a share of the elements starts, a vector's edge."""
    at = builder.sdiv(builder.mul(count, part), parts)
    edge = builder.and_(builder.add(at, const(LANES - 1)), const(-LANES))
    return builder.select(builder.icmp_signed("<", edge, count), edge, count)


def mapped(formula: Formula, inputs: int) -> Any:
    """Return a loop for kernels that computes y = formula(inputs, constants).

    loop(x_1, ..., y, count, c_1, ...) takes the addresses of `count` floats each, how
    many, and the constants, float64; y may be any of the others.
    """
    constants = len(inspect.signature(formula).parameters) - inputs

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        addresses, (count, *given) = args[: inputs + 1], args[inputs + 1 :]
        given = [builder.fptrunc(one, F32) for one in given]
        emit_map(builder, formula, addresses, count, given)
        return context.get_dummy_value()

    kinds = ["int64"] * (inputs + 2) + ["float64"] * constants
    return instruction("void", kinds, generate)


def emit_map(
    builder: Any,
    formula: Formula,
    addresses: Sequence[Any],
    count: Any,
    constants: Sequence[Any],
) -> None:
    """Emit a loop over `count` elements; the last address is that of the result."""
    given = [Value(builder, splat(builder, one)) for one in constants]
    *inputs, output = addresses

    def step(x: list[Value], carried: list[Value]) -> tuple[Value, list[Value]]:
        return formula(*x, *given), []

    emit_sweep(builder, inputs, output, count, step)


def emit_sweep(
    builder: Any,
    inputs: Sequence[Any],
    output: Any,
    count: Any,
    step: Callable[[list[Value], list[Value]], tuple[Value | None, list[Value]]],
    start: Sequence[Value] = (),
    *,
    missing: float = 0.0,
    guarded: bool = False,
) -> list[Value]:
    """Emit a loop over vectors of `count` elements, which may carry vectors around.

    Nothing beside the arrays is read or written: the last elements go through vectors
    on the stack, so that the step is in the code once.

    Args:
        builder: where the code goes.
        inputs: addresses of the arrays that are read.
        output: the address of the one that is written, None without one.
        count: how many elements the arrays have.
        step: takes a vector of each input and those carried, returns one of the output,
            or None, and those to carry on.
        start: what is carried at first; what is at last is returned.
        missing: stands for elements behind the last.
        guarded: whether lanes behind the last element carry on what they had.
    """
    addresses = [*inputs] if output is None else [*inputs, output]
    with builder.goto_entry_block():
        made = [builder.alloca(VECTOR) for _ in addresses]
    rooms = [builder.ptrtoint(one, I64) for one in made]
    full = builder.and_(count, const(-LANES))
    left = builder.sub(count, full)
    tail = first_lanes(builder, left)
    end = builder.mul(full, const(4))
    for address, room in zip(inputs, rooms, strict=False):
        rest = masked_load(builder, builder.add(address, end), tail)
        if missing:
            rest = builder.select(tail, rest, ir.Constant(VECTOR, [missing] * LANES))
        store(builder, rest, room)
    some = builder.zext(builder.icmp_signed(">", left, const(0)), I64)
    rounds = builder.add(builder.sdiv(full, const(LANES)), some)

    def body(values: list[Any]) -> list[Any]:
        at, *carried = values
        inside = builder.icmp_signed("<", at, end)
        places = [
            builder.select(inside, builder.add(address, at), room)
            for address, room in zip(addresses, rooms, strict=True)
        ]
        x = [Value(builder, load(builder, place)) for place in places[: len(inputs)]]
        result, after = step(x, [Value(builder, one) for one in carried])
        if result is not None:
            store(builder, result.raw, places[-1])
        if guarded:
            live = builder.select(inside, ir.Constant(MASK, [1] * LANES), tail)
            after = [
                Value(builder, builder.select(live, new.raw, old))
                for new, old in zip(after, carried, strict=True)
            ]
        return [builder.add(at, const(VECTOR_BYTES)), *(one.raw for one in after)]

    before = builder.block
    ends = []
    with builder.if_then(builder.icmp_signed(">", rounds, const(0))):
        first = [one.raw for one in start]
        _, *ends = loop(builder, rounds, [const(0), *first], body)
        if output is not None:
            rest = load(builder, rooms[-1])
            masked_store(builder, rest, builder.add(output, end), tail)
        done = builder.block
    carried = []
    for one, last in zip(start, ends, strict=True):
        phi = builder.phi(VECTOR)
        phi.add_incoming(one.raw, before)
        phi.add_incoming(last, done)
        carried.append(Value(builder, phi))
    return carried


def folded(value: Value, join: Callable[[Value, Value], Value]) -> Value:
    """Emit the joining of all lanes of a vector; every lane has the result."""
    builder, width = value.builder, LANES
    while width > 1:
        width //= 2
        lanes = [index ^ width for index in range(LANES)]
        order = ir.Constant(ir.VectorType(I32, LANES), lanes)
        other = builder.shuffle_vector(value.raw, value.raw, order)
        value = join(value, Value(builder, other))
    return value
