"""Instructions of local response normalization: sums of channels, and powers of them.

A run is VECTORS vectors of neighbouring pixels, or the first ones of it where the image
ends; all channels of it are treated at once.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from runtime.backends.cpu.machine.llvm import (
    LANES,
    VECTOR,
    VECTOR_BYTES,
    const,
    first_lanes,
    fma,
    intrinsic,
    load,
    loop,
    masked_store,
    splat,
    store,
)
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.vector_math import Value, power, root, where
from runtime.backends.cpu.machine.windows import masked, smaller

VECTORS = 4
PIXELS = VECTORS * LANES  # of a run
RUN_BYTES = VECTORS * VECTOR_BYTES
NAN = float("nan")


def _of_roots(s: Value, beta: Value) -> Value:
    """Return s ** -0.75."""
    inverse = s.constant(1.0) / root(s)
    return inverse * root(inverse)


def _of_any(s: Value, beta: Value) -> Value:
    """Return s ** -beta."""
    return where(s < 0.0, NAN, power(s, beta.constant(0.0) - beta))


def _sums(builder: Any, source: Any, step: Any, number: Any, square: bool) -> Any:
    """Emit functions that sum rows, or their squares.

    Returns a function of the masks of a run, which gives the vectors of the sums.
    """

    def sums(masks: list[Any]) -> list[Any]:
        def body(values: list[Any]) -> list[Any]:
            at, *so_far = values
            for i, value in enumerate(_run(builder, at, masks)):
                if square:
                    so_far[i] = fma(builder, value, value, so_far[i])
                else:
                    so_far[i] = builder.fadd(so_far[i], value)
            return [builder.add(at, step), *so_far]

        zero = ir.Constant(VECTOR, [0.0] * LANES)
        return loop(builder, number, [source, *[zero] * VECTORS], body)[1:]

    return sums


def _run(builder: Any, at: Any, masks: list[Any]) -> list[Any]:
    """Emit the loads of a run."""
    addresses = [builder.add(at, const(i * VECTOR_BYTES)) for i in range(VECTORS)]
    pairs = zip(addresses, masks, strict=True)
    return [masked(builder, address, mask) for address, mask in pairs]


def _put(builder: Any, at: Any, values: list[Any], masks: list[Any]) -> None:
    """Emit the stores of a run."""
    for i, (value, mask) in enumerate(zip(values, masks, strict=True)):
        address = builder.add(at, const(i * VECTOR_BYTES))
        if mask is None:
            store(builder, value, address)
        else:
            masked_store(builder, value, address, mask)


def _either(builder: Any, n: Any, body: Any) -> None:
    """Emit `body` of masks: for a whole run without, and for `n` pixels."""
    whole = builder.icmp_signed("==", n, const(PIXELS))
    with builder.if_else(whole) as (then, otherwise):
        with then:
            body([None] * VECTORS)
        with otherwise:
            body(
                [
                    first_lanes(builder, builder.sub(n, const(i * LANES)))
                    for i in range(VECTORS)
                ]
            )


def _window(builder: Any, c: Any, channels: Any, half: Any) -> tuple[Any, Any]:
    """Emit the first channel of the window around c, and how many it has."""
    low, high = builder.sub(c, half), builder.add(c, half)
    negative = builder.icmp_signed("<", low, const(0))
    low = builder.select(negative, const(0), low)
    high = smaller(builder, high, builder.sub(channels, const(1)))
    return low, builder.add(builder.sub(high, low), const(1))


def _energies(
    builder: Any, x: Any, step: Any, window: tuple[Any, Any], masks: list[Any]
) -> list[Any]:
    low, number = window
    first = builder.add(x, builder.mul(low, step))
    return list(_sums(builder, first, step, number, square=True)(masks))


def _forward_intrinsic(inverse_power: Any) -> Any:
    @intrinsic
    def normalize(
        context: Any,
        x: Any,
        y: Any,
        step: Any,
        channels: Any,
        n: Any,
        half: Any,
        share: Any,
        k: Any,
        beta: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, y, step, channels, n, half = args[:6]
            share, k, beta = (splat(builder, one) for one in args[6:])

            def all_channels(masks: list[Any]) -> None:
                def body(values: list[Any]) -> list[Any]:
                    c, at, put = values
                    window = _window(builder, c, channels, half)
                    results = []
                    sums = _energies(builder, x, step, window, masks)
                    for value, total in zip(
                        _run(builder, at, masks), sums, strict=True
                    ):
                        s = Value(builder, fma(builder, share, total, k))
                        factor = inverse_power(s, Value(builder, beta))
                        results.append(builder.fmul(value, factor.raw))
                    _put(builder, put, results, masks)
                    return [
                        builder.add(c, const(1)),
                        builder.add(at, step),
                        builder.add(put, step),
                    ]

                loop(builder, channels, [const(0), x, y], body)

            _either(builder, n, all_channels)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6, *[types.float32] * 3), generate

    return normalize


def _gradient_intrinsic(inverse_power: Any) -> Any:
    @intrinsic
    def gradient(
        context: Any,
        x: Any,
        dy: Any,
        dx: Any,
        step: Any,
        channels: Any,
        n: Any,
        half: Any,
        straight: Any,
        products: Any,
        share: Any,
        k: Any,
        beta: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, dy, dx, step, channels, n, half, straight, products = args[:9]
            share, k, beta = (splat(builder, one) for one in args[9:])
            twice = builder.fmul(share, beta)
            factor = builder.fneg(builder.fadd(twice, twice))
            run = const(RUN_BYTES)
            whole = [None] * VECTORS

            def all_channels(masks: list[Any]) -> None:
                def ahead(values: list[Any]) -> list[Any]:
                    c, at_x, at_dy, at_straight, at_products = values
                    window = _window(builder, c, channels, half)
                    sums = _energies(builder, x, step, window, masks)
                    xs = _run(builder, at_x, masks)
                    dys = _run(builder, at_dy, masks)
                    kept, terms = [], []
                    for i, total in enumerate(sums):
                        s = Value(builder, fma(builder, share, total, k))
                        scale = inverse_power(s, Value(builder, beta))
                        kept.append(builder.fmul(dys[i], scale.raw))
                        product = builder.fmul(kept[i], xs[i])
                        terms.append(builder.fdiv(product, s.raw))
                    _put(builder, at_straight, kept, whole)
                    _put(builder, at_products, terms, whole)
                    return [
                        builder.add(c, const(1)),
                        builder.add(at_x, step),
                        builder.add(at_dy, step),
                        builder.add(at_straight, run),
                        builder.add(at_products, run),
                    ]

                start = [const(0), x, dy, straight, products]
                loop(builder, channels, start, ahead)

                def behind(values: list[Any]) -> list[Any]:
                    c, at_x, at_dx, at_straight = values
                    low, number = _window(builder, c, channels, half)
                    first = builder.add(products, builder.mul(low, run))
                    sums = _sums(builder, first, run, number, square=False)(whole)
                    xs = _run(builder, at_x, masks)
                    kept = _run(builder, at_straight, whole)
                    results = [
                        fma(builder, builder.fmul(factor, value), total, one)
                        for value, total, one in zip(xs, sums, kept, strict=True)
                    ]
                    _put(builder, at_dx, results, masks)
                    return [
                        builder.add(c, const(1)),
                        builder.add(at_x, step),
                        builder.add(at_dx, step),
                        builder.add(at_straight, run),
                    ]

                loop(builder, channels, [const(0), x, dx, straight], behind)

            _either(builder, n, all_channels)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9, *[types.float32] * 3), generate

    return gradient


def _powers_intrinsic(inverse_power: Any) -> Any:
    @intrinsic
    def powers(
        context: Any, sums: Any, results: Any, n: Any, share: Any, k: Any, beta: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums, results, n = args[:3]
            share, k, beta = (splat(builder, one) for one in args[3:])

            def body(values: list[Any]) -> list[Any]:
                at, put = values
                s = Value(builder, fma(builder, share, load(builder, at), k))
                store(builder, s.raw, at)
                store(builder, inverse_power(s, Value(builder, beta)).raw, put)
                return [builder.add(one, const(VECTOR_BYTES)) for one in values]

            loop(builder, n, [sums, results], body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3, *[types.float32] * 3), generate

    return powers


# normalize_X(x, y, step, channels, n, half, share, k, beta):
#   y = x s ** -beta, s = k + share * sum of x^2 over `half` channels to both sides, for
#   the first n <= PIXELS pixels; x and y are at addresses, channels `step` bytes apart.
# gradient_X(x, dy, dx, step, channels, n, half, straight, products, share, k, beta):
#   the gradient of that; straight and products have room for a run of every channel,
#   dx and dy may be the same.
# powers_X(sums, results, n, share, k, beta):
#   turns n vectors of sums into s, and computes s ** -beta of them.
# roots: for beta = 0.75. any: for all.
normalize_roots = _forward_intrinsic(_of_roots)
normalize_any = _forward_intrinsic(_of_any)
gradient_roots = _gradient_intrinsic(_of_roots)
gradient_any = _gradient_intrinsic(_of_any)
powers_roots = _powers_intrinsic(_of_roots)
powers_any = _powers_intrinsic(_of_any)
