"""Vectors of `LANES` floats as values of compiled kernels.

Where a loop is short, a compiler that makes vectors of it leaves most of it scalar: 49
elements of a plane are one round of none. Kernels that say which vectors they mean take
the rest of a row with a mask.

Addresses are integers; sums and products stay as written, so that their bits depend on
nothing but the number of lanes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from runtime.backends.cpu.machine.kinds import Kind
from runtime.backends.cpu.machine.llvm import (
    I32,
    LANES,
    MASK,
    VECTOR,
    VECTOR_BYTES,
    declared,
    first_lanes,
    fma,
    load,
    masked_store,
    splat,
    store,
)
from runtime.backends.cpu.machine.parts import intrinsic, types

_VECTOR = Kind(f"vector{LANES}", VECTOR)


def _of_vectors(count: int, emit: Any) -> Any:
    """Return an instruction of `count` vectors that gives one."""

    def typed(context: Any, *given: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit(builder, *args)

        return _VECTOR(*[_VECTOR] * count), generate

    def one(context: Any, a: Any) -> Any:
        return typed(context, a)

    def two(context: Any, a: Any, b: Any) -> Any:
        return typed(context, a, b)

    def three(context: Any, a: Any, b: Any, c: Any) -> Any:
        return typed(context, a, b, c)

    return intrinsic((one, two, three)[count - 1])


def _at_least(builder: Any, value: Any, floor: Any) -> Any:
    # Not a maximum: a NaN must stay.
    below = builder.fcmp_ordered("<", value, floor)
    return builder.select(below, floor, value)


# vadd: a + b; vsub: a - b; vmul: a b; vfma: a b + c.
vadd = _of_vectors(2, lambda builder, a, b: builder.fadd(a, b))
vsub = _of_vectors(2, lambda builder, a, b: builder.fsub(a, b))
vmul = _of_vectors(2, lambda builder, a, b: builder.fmul(a, b))
vfma = _of_vectors(3, fma)
# at_least: value, or the floor where it is less.
at_least = _of_vectors(2, _at_least)


@intrinsic
def spread(context: Any, value: Any) -> Any:
    """Return a float in every lane."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return splat(builder, args[0])

    return _VECTOR(types.float32), generate


@intrinsic
def vload(context: Any, address: Any) -> Any:
    """Read a vector."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return load(builder, args[0])

    return _VECTOR(types.int64), generate


@intrinsic
def vload_first(context: Any, address: Any, count: Any, other: Any) -> Any:
    """Read the first `count` floats of a vector; the lanes behind are as in other."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address, count, other = args
        pointer = builder.inttoptr(address, VECTOR.as_pointer())
        name = f"llvm.masked.load.v{LANES}f32.p0"
        function = declared(builder, name, VECTOR, [pointer.type, I32, MASK, VECTOR])
        mask = first_lanes(builder, count)
        return builder.call(function, [pointer, ir.Constant(I32, 4), mask, other])

    return _VECTOR(types.int64, types.int64, _VECTOR), generate


@intrinsic
def vstore(context: Any, value: Any, address: Any) -> Any:
    """Write a vector."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        store(builder, args[0], args[1])
        return context.get_dummy_value()

    return types.void(_VECTOR, types.int64), generate


@intrinsic
def vstore_first(context: Any, value: Any, address: Any, count: Any) -> Any:
    """Write the first `count` floats of a vector."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, address, count = args
        masked_store(builder, value, address, first_lanes(builder, count))
        return context.get_dummy_value()

    return types.void(_VECTOR, types.int64, types.int64), generate


@intrinsic
def vstream(context: Any, value: Any, address: Any) -> Any:
    """Write a vector past the caches, to an address that is a multiple of its size.

    For what is larger than them: memory is written, and not read ahead of that.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[1], VECTOR.as_pointer())
        written = builder.store(args[0], pointer)
        written.align = VECTOR_BYTES
        one = builder.module.add_metadata([ir.Constant(I32, 1)])
        written.set_metadata("nontemporal", one)
        return context.get_dummy_value()

    return types.void(_VECTOR, types.int64), generate


@intrinsic
def vsum(context: Any, value: Any) -> Any:
    """Return the sum of all lanes: halves are added, until one is left."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (value,) = args
        lanes = LANES
        while lanes > 1:
            lanes //= 2
            kind = ir.VectorType(I32, lanes)
            low = ir.Constant(kind, list(range(lanes)))
            high = ir.Constant(kind, list(range(lanes, 2 * lanes)))
            value = builder.fadd(
                builder.shuffle_vector(value, value, low),
                builder.shuffle_vector(value, value, high),
            )
        return builder.extract_element(value, ir.Constant(I32, 0))

    return types.float32(_VECTOR), generate


@intrinsic
def passing(context: Any, value: Any, test: Any, always: Any) -> Any:
    """Return a value where `test` is positive, else 0; all of it if always is not 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, test, always = args
        zeros = ir.Constant(VECTOR, [0.0] * LANES)
        positive = builder.fcmp_ordered(">", test, zeros)
        everything = ir.Constant(MASK, [1] * LANES)
        unasked = builder.icmp_signed("!=", always, ir.Constant(always.type, 0))
        mask = builder.select(unasked, everything, positive)
        return builder.select(mask, value, zeros)

    return _VECTOR(_VECTOR, _VECTOR, types.int64), generate
