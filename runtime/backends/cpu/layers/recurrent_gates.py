"""What the units of LSTM and RNN compute, as instructions for a vector of them.

Gates need exponentials of a narrow range only: those of `vector_math`, which are right
for every number, take half as long again.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir

from runtime.backends.cpu.machine.llvm import (
    I32,
    LANES,
    VECTOR,
    const,
    first_lanes,
    intrinsic,
    masked_load,
    masked_store,
    splat,
    store,
)
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.vector_math import (
    Value,
    at_least,
    at_most,
    fused,
    polynomial,
)

_LOG2E = 1 / math.log(2)
# Added to a small number, its whole part is in the lowest bits.
_ROUND = 1.5 * 2.0**23
# (2^r - 1) / r for |r| <= 1/2
_EXP2 = (
    0.6931471824645996,
    0.24022649228572845,
    0.05550357326865196,
    0.009618237614631653,
    0.0013390735257416964,
    0.00015403506404254586,
)
_WHOLE = ir.VectorType(I32, LANES)


def _exponential(x: Value, factor: float) -> tuple[Value, Value]:
    """Return 2^n and 2^r - 1, where e^(factor x) = 2^n 2^r and |r| <= 1/2.

    n is from -126 to 127.
    """
    shifted = fused(x, factor * _LOG2E, _ROUND)
    r = fused(x, factor * _LOG2E, -(shifted - _ROUND))
    builder = x.builder
    # The bits above those of n fall out.
    biased = builder.add(builder.bitcast(shifted.raw, _WHOLE), _every(127))
    power = Value(builder, builder.bitcast(builder.shl(biased, _every(23)), VECTOR))
    return power, polynomial(r, _EXP2) * r


def _every(number: int) -> ir.Constant:
    return ir.Constant(_WHOLE, [number] * LANES)


def sigmoid(x: Value) -> Value:
    """Return 1 / (1 + e^-x), 6e-39 at least."""
    power, less_one = _exponential(at_most(at_least(x, -88.0), 87.0), -1.0)
    return 1.0 / (fused(less_one, power, power) + 1.0)


def tanh(x: Value) -> Value:
    """Return (e^2x - 1) / (e^2x + 1), which is 1 from 10 on; 0 has no sign."""
    power, less_one = _exponential(at_most(at_least(x, -10.0), 10.0), 2.0)
    top = fused(less_one, power, power - 1.0)
    return top / (top + 2.0)


class _Lanes:
    """Loads and stores of a vector of units, of which `count` are there."""

    def __init__(self, builder: Any, count: Any) -> None:
        self._builder = builder
        self._mask = first_lanes(builder, count)
        self._full = builder.icmp_signed(">=", count, const(LANES))

    def load(self, address: Any) -> Value:
        """Load what is there; the rest is zeros."""
        return Value(self._builder, masked_load(self._builder, address, self._mask))

    def spread(self, number: Any) -> Value:
        """Return a number for every unit."""
        return Value(self._builder, splat(self._builder, number))

    def store(self, *pairs: tuple[Any, Value]) -> None:
        """Store values at addresses."""
        builder = self._builder
        with builder.if_else(self._full) as (whole, part):
            with whole:
                for address, value in pairs:
                    store(builder, value.raw, address)
            with part:
                for address, value in pairs:
                    masked_store(builder, value.raw, address, self._mask)


def _gates(builder: Any, address: Any, gate: Any) -> list[Any]:
    """Return the addresses of i, f, o and g, `gate` bytes from each to the next."""
    return [builder.add(address, builder.mul(gate, const(n))) for n in range(4)]


@intrinsic
def lstm_unit(
    context: Any,
    pre: Any,
    gates: Any,
    gate: Any,
    c_before: Any,
    c: Any,
    tanh_c: Any,
    h: Any,
    held: Any,
    cont: Any,
    cont_after: Any,
    count: Any,
    keeps: Any,
) -> Any:
    """Compute c = cont f c' + i g and h = o tanh(c) of up to LANES units of a stream.

    Their inputs are at `pre`. If `keeps` is not 0, the gates, which may take their
    place, and tanh(c) are stored. h times cont_after is `held`.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pre, gates, gate, c_before, c, tanh_c, h, held, *rest = args
        cont, cont_after, count, keeps = rest
        lanes = _Lanes(builder, count)
        places = _gates(builder, pre, gate)
        i, f, o = (sigmoid(lanes.load(place)) for place in places[:3])
        g = tanh(lanes.load(places[3]))
        f = f * lanes.spread(cont)
        new = i * g + f * lanes.load(c_before)
        squashed = tanh(new)
        out = o * squashed
        lanes.store((c, new), (h, out), (held, out * lanes.spread(cont_after)))
        with builder.if_then(builder.icmp_signed("!=", keeps, const(0))):
            places = _gates(builder, gates, gate)
            kept = zip(places, (i, f, o, g), strict=True)
            lanes.store(*kept, (tanh_c, squashed))
        return context.get_dummy_value()

    kinds = [types.int64] * 8 + [types.float32] * 2 + [types.int64] * 2
    return types.void(*kinds), generate


@intrinsic
def lstm_gradient(
    context: Any,
    pre: Any,
    dpre: Any,
    gate: Any,
    c_before: Any,
    tanh_c: Any,
    dy: Any,
    carry: Any,
    dc: Any,
    dc_before: Any,
    cont_after: Any,
    count: Any,
) -> Any:
    """Compute the gradient of the gates' inputs of up to LANES units of a stream.

    That of c' may take the place of dc. The slope of f is f (1 - f) with cont in f, as
    Caffe has it.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pre, dpre, gate, c_before, tanh_c, dy, carry, dc, dc_before, *rest = args
        cont_after, count = rest
        lanes = _Lanes(builder, count)
        i, f, o, g = (lanes.load(place) for place in _gates(builder, pre, gate))
        squashed = lanes.load(tanh_c)
        dh = lanes.load(dy) + lanes.load(carry) * lanes.spread(cont_after)
        through = dh * o
        total = lanes.load(dc) + (through - through * squashed * squashed)
        lanes.store(
            *zip(
                _gates(builder, dpre, gate),
                (
                    total * g * ((1.0 - i) * i),
                    total * lanes.load(c_before) * ((1.0 - f) * f),
                    dh * squashed * ((1.0 - o) * o),
                    (1.0 - g * g) * i * total,
                ),
                strict=True,
            ),
            (dc_before, total * f),
        )
        return context.get_dummy_value()

    kinds = [types.int64] * 9 + [types.float32, types.int64]
    return types.void(*kinds), generate


@intrinsic
def tanh_unit(context: Any, x: Any, held: Any, factor: Any, count: Any) -> Any:
    """Compute x = tanh(x) of up to LANES numbers; times a factor it is `held`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, held, factor, count = args
        lanes = _Lanes(builder, count)
        y = tanh(lanes.load(x))
        lanes.store((held, y * lanes.spread(factor)), (x, y))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float32, types.int64), generate
