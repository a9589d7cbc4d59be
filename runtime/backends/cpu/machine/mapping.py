"""Loops that apply a formula of `vector_math` to every element of arrays."""

from __future__ import annotations

import inspect
from typing import Any

from runtime.backends.cpu.machine.llvm import (
    F32,
    I64,
    LANES,
    VECTOR,
    VECTOR_BYTES,
    const,
    first_lanes,
    load,
    loop,
    masked_load,
    masked_store,
    splat,
    store,
)
from runtime.backends.cpu.machine.vector_math import Formula, Value, instruction


def mapped(formula: Formula, inputs: int) -> Any:
    """Return a loop that computes y = formula(x_1, ..., c_1, ...) of all elements.

    formula: takes `inputs` vectors, one of each array, then constants.

    The loop is an instruction for kernels, loop(x_1, ..., y, count, c_1, ...): the
    addresses of `count` floats each, how many, and float64 constants. y may be any of
    the others. Nothing beside the arrays is read or written: the last elements go
    through a vector on the stack, so that the formula is in the code once.
    """
    constants = len(inspect.signature(formula).parameters) - inputs
    arrays = inputs + 1

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        *addresses, count = args[: arrays + 1]
        given = [
            Value(builder, splat(builder, builder.fptrunc(one, F32)))
            for one in args[arrays + 1 :]
        ]
        with builder.goto_entry_block():
            rooms = [builder.alloca(VECTOR) for _ in range(arrays)]
        rooms = [builder.ptrtoint(one, I64) for one in rooms]
        full = builder.and_(count, const(-LANES))
        left = builder.sub(count, full)
        tail = first_lanes(builder, left)
        end = builder.mul(full, const(4))
        for address, room in zip(addresses[:-1], rooms, strict=False):
            rest = masked_load(builder, builder.add(address, end), tail)
            store(builder, rest, room)
        some = builder.icmp_signed(">", left, const(0))
        rounds = builder.add(builder.sdiv(full, const(LANES)), builder.zext(some, I64))

        def body(values: list[Any]) -> list[Any]:
            at = values[0]
            inside = builder.icmp_signed("<", at, end)
            places = [
                builder.select(inside, builder.add(address, at), room)
                for address, room in zip(addresses, rooms, strict=True)
            ]
            x = [Value(builder, load(builder, place)) for place in places[:-1]]
            store(builder, formula(*x, *given).raw, places[-1])
            return [builder.add(at, const(VECTOR_BYTES))]

        with builder.if_then(builder.icmp_signed(">", rounds, const(0))):
            loop(builder, rounds, [const(0)], body)
        rest = load(builder, rooms[-1])
        masked_store(builder, rest, builder.add(addresses[-1], end), tail)
        return context.get_dummy_value()

    kinds = ["int64"] * (arrays + 1) + ["float64"] * constants
    return instruction("void", kinds, generate)
