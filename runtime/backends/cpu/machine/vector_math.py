"""exp, log, tanh, powers and their like as instructions, for one float or a vector.

Each function takes a `Value`, which stands for numbers while code is emitted, and
returns another: no branch, no table, no call. Numbers are reduced to a small range,
where a polynomial has them. Results are within 3 units in the last place, subnormal
ones too; infinity, both zeros and NaN give what C's functions give. Sums
may be reordered in instructions that have no flags; that would undo the reductions, so
that all here have one, which changes nothing.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from llvmlite import ir

from runtime.backends.cpu.machine.llvm import F32, declared, intrinsic
from runtime.backends.cpu.machine.parts import types

F64 = ir.DoubleType()
# Flags that allow nothing: quotients by reciprocals, of what is none; and fusing a
# product with a sum, of what is neither.
EXACT, EXACT_QUOTIENT = "arcp", "contract"
FUSED = "contract"

# ---------------------------------------------------------------- values


class Value:
    """A number, or a vector of numbers, that code being emitted has computed.

    Python's operators emit instructions; a comparison is a mask for `where`, and is
    false where a number is NaN.
    """

    __slots__ = ("builder", "raw")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder: Any, raw: Any) -> None:
        self.builder = builder
        self.raw = raw

    def constant(self, number: float) -> Value:
        """Return a constant of the same type."""
        return Value(self.builder, _constant(self.raw.type, number))

    def lifted(self, other: Any) -> Any:
        """Return the code of a value of the same type, which may be a number."""
        return other.raw if isinstance(other, Value) else self.constant(other).raw

    def _with(self, name: str, *others: Any, flag: str = EXACT) -> Value:
        emit = getattr(self.builder, name)
        raw = emit(*(self.lifted(one) for one in others), flags=(flag,))
        return Value(self.builder, raw)

    def __add__(self, other: Any) -> Value:
        return self._with("fadd", self, other)

    def __radd__(self, other: Any) -> Value:
        return self._with("fadd", other, self)

    def __sub__(self, other: Any) -> Value:
        return self._with("fsub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return self._with("fsub", other, self)

    def __mul__(self, other: Any) -> Value:
        return self._with("fmul", self, other)

    def __rmul__(self, other: Any) -> Value:
        return self._with("fmul", other, self)

    def __truediv__(self, other: Any) -> Value:
        return self._with("fdiv", self, other, flag=EXACT_QUOTIENT)

    def __rtruediv__(self, other: Any) -> Value:
        return self._with("fdiv", other, self, flag=EXACT_QUOTIENT)

    def __neg__(self) -> Value:
        return self._with("fneg", self)

    def _compared(self, sign: str, other: Any) -> Mask:
        raw = self.lifted(other)
        return self.builder.fcmp_ordered(sign, self.raw, raw, flags=(EXACT,))

    def __lt__(self, other: Any) -> Mask:
        return self._compared("<", other)

    def __le__(self, other: Any) -> Mask:
        return self._compared("<=", other)

    def __gt__(self, other: Any) -> Mask:
        return self._compared(">", other)

    def __ge__(self, other: Any) -> Mask:
        return self._compared(">=", other)

    def __eq__(self, other: Any) -> Mask:  # type: ignore[override]
        return self._compared("==", other)


Mask: TypeAlias = Any  # an i1, or a vector of them
Formula: TypeAlias = Callable[..., Value]


def _constant(kind: ir.Type, number: float) -> ir.Constant:
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [number] * kind.count)
    return ir.Constant(kind, number)


def _as(kind: ir.Type, element: ir.Type) -> ir.Type:
    """Return the type with as many of another element."""
    return ir.VectorType(element, kind.count) if _is_vector(kind) else element


def _is_vector(kind: ir.Type) -> bool:
    return isinstance(kind, ir.VectorType)


def _called(name: str, *values: Value) -> Value:
    """Emit a call of one of LLVM's functions of equal types."""
    kind = values[0].raw.type
    element = "f32" if _as(kind, F32) == kind else "f64"
    suffix = f"v{kind.count}{element}" if _is_vector(kind) else element
    builder = values[0].builder
    made = declared(builder, f"llvm.{name}.{suffix}", kind, [kind] * len(values))
    return Value(builder, builder.call(made, [one.raw for one in values]))


def where(mask: Mask, one: Any, other: Any) -> Value:
    """Return `one` where the mask is set, else `other`; either may be a number."""
    known = one if isinstance(one, Value) else other
    raw = [known.lifted(each) for each in (one, other)]
    return Value(known.builder, known.builder.select(mask, *raw))


def fused(a: Value, b: Any, c: Any) -> Value:
    """Return a b + c, rounded once where the processor can."""
    builder = a.builder
    product = builder.fmul(a.raw, a.lifted(b), flags=(FUSED,))
    return Value(builder, builder.fadd(product, a.lifted(c), flags=(FUSED,)))


def absolute(x: Value) -> Value:
    """Return |x|."""
    return _called("fabs", x)


def with_sign(x: Value, sign: Value) -> Value:
    """Return |x| with the sign of another."""
    return _called("copysign", x, sign)


def sign(x: Value) -> Value:
    """Return 1, 0 or -1; NaN stays."""
    return where(x > 0.0, 1.0, where(x < 0.0, -1.0, x))


def root(x: Value) -> Value:
    """Return the square root, rounded right."""
    return _called("sqrt", x)


def at_least(x: Value, low: float) -> Value:
    """Return max(x, low); NaN stays."""
    return where(x < low, low, x)


def at_most(x: Value, high: float) -> Value:
    """Return min(x, high); NaN stays."""
    return where(x > high, high, x)


def polynomial(x: Value, coefficients: Sequence[float]) -> Value:
    """Return c_0 + c_1 x + c_2 x^2 + ..."""
    value = x.constant(coefficients[-1])
    for one in reversed(coefficients[:-1]):
        value = fused(value, x, one)
    return value


# ---------------------------------------------------------------- exponentials

# Added to a small number, its whole part is in the lowest bits.
_ROUND32, _ROUND64 = 1.5 * 2.0**23, 1.5 * 2.0**52
_LOG2E = 1 / math.log(2)
# log(2) as a number of few bits, whose multiples are exact, and the rest.
_LN2_HIGH = 355 / 512
_LN2_LOW = math.log(2) - _LN2_HIGH
# (exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2
_EXP = (
    0.5,
    0.16666576998242924,
    0.041666554627878084,
    0.008363177629994445,
    0.0013926181810489343,
)


def _bits(x: Value) -> Any:
    """Return the bits as whole numbers."""
    size = ir.IntType(32 if _as(x.raw.type, F32) == x.raw.type else 64)
    return x.builder.bitcast(x.raw, _as(x.raw.type, size))


def _whole(raw: Any, number: int) -> ir.Constant:
    return _constant(raw.type, number)


def _power_of_two(builder: Any, n: Any, kind: ir.Type) -> Value:
    """Return 2^n of whole numbers from -126 to 127 (doubles: -1022 to 1023)."""
    single = _as(kind, F32) == kind
    biased = builder.add(n, _whole(n, 127 if single else 1023))
    moved = builder.shl(biased, _whole(n, 23 if single else 52))
    return Value(builder, builder.bitcast(moved, kind))


def _reduced(x: Value) -> tuple[Any, Value]:
    """Return n and exp(r) - 1, where x = n log(2) + r and |r| <= log(2) / 2."""
    shifted = fused(x, _LOG2E, _ROUND32)
    n = shifted - _ROUND32
    r = fused(n, -_LN2_LOW, fused(n, -_LN2_HIGH, x))
    bits = _bits(shifted)
    whole = x.builder.sub(bits, _bits(x.constant(_ROUND32)))
    return whole, fused(polynomial(r, _EXP), r * r, r)


def exp(x: Value) -> Value:
    """Return e^x: 0 from -104 down, infinity above 88.73."""
    x = at_most(at_least(x, -104.0), 89.0)
    n, less_one = _reduced(x)
    # In two steps, as 2^n may be no normal number.
    builder = x.builder
    half = builder.ashr(n, _whole(n, 1))
    kind = x.raw.type
    first = _power_of_two(builder, half, kind)
    second = _power_of_two(builder, builder.sub(n, half), kind)
    return (less_one + 1.0) * first * second


def expm1(x: Value) -> Value:
    """Return e^x - 1, exact to the last places near 0 too."""
    small = at_most(at_least(x, -18.0), 89.0)
    n, less_one = _reduced(small)
    # Halves, as 2^128 is no number.
    one_less = x.builder.sub(n, _whole(n, 1))
    half = _power_of_two(x.builder, one_less, x.raw.type)
    value = fused(less_one, half, half - 0.5) * 2.0
    return where(absolute(x) < 2.0**-24, x, value)


def sigmoid(x: Value) -> Value:
    """Return 1 / (1 + e^-x)."""
    e = exp(-absolute(x))
    return where(x < 0.0, e, 1.0) / (e + 1.0)


def tanh(x: Value) -> Value:
    """Return (1 - e^-2x) / (1 + e^-2x)."""
    less_one = expm1(absolute(x) * -2.0)
    return with_sign(less_one / (less_one + 2.0), x)


# ---------------------------------------------------------------- logarithms

# (log(1 + f) - f + f^2 / 2) / f^3 for 1 + f from sqrt(1/2) to sqrt(2)
_LOG = (
    0.33333331180030046,
    -0.24999996957950882,
    0.200007157488921,
    -0.16667802319501254,
    0.1424905764569748,
    -0.12425687331451106,
    0.1168541992348674,
    -0.11479733846637635,
    0.06971611471451178,
)


def _log_near_one(f: Value, exponent: Value) -> Value:
    """Return log(1 + f) + exponent log(2)."""
    square = f * f
    curve = fused(polynomial(f, _LOG), f * square, exponent * _LN2_LOW)
    return fused(exponent, _LN2_HIGH, fused(square, -0.5, curve) + f)


def log(x: Value) -> Value:
    """Return the natural logarithm: -infinity at 0, NaN below."""
    builder, kind = x.builder, x.raw.type
    subnormal = x < 2.0**-126
    bits = _bits(where(subnormal, x * 2.0**24, x))
    # From the middle of a binade of logarithms, so that f is around 0.
    start = _bits(x.constant(math.sqrt(0.5)))
    offset = builder.sub(bits, start)
    n = builder.ashr(offset, _whole(offset, 23))
    part = builder.and_(offset, _whole(offset, 0x7FFFFF))
    f = Value(builder, builder.bitcast(builder.add(part, start), kind)) - 1.0
    exponent = Value(builder, builder.sitofp(n, kind))
    value = _log_near_one(f, where(subnormal, exponent - 24.0, exponent))
    value = where(x == math.inf, x, value)
    value = where(x == 0.0, -math.inf, value)
    # x + x is NaN where x is.
    return where(x >= 0.0, value, where(x < 0.0, math.nan, x + x))


def log1p_of_part(u: Value) -> Value:
    """Return log(1 + u) for u from 0 to 1, exact to the last places near 0 too."""
    large = u > math.sqrt(2) - 1
    f = where(large, fused(u, 0.5, -0.5), u)
    return _log_near_one(f, where(large, u.constant(1.0), 0.0))


def softplus(x: Value) -> Value:
    """Return log(1 + e^x)."""
    return log1p_of_part(exp(-absolute(x))) + at_least(x, 0.0)


# ---------------------------------------------------------------- powers

# log2((1 + s) / (1 - s)) / s - 2 / log(2), over s^2, of s^2; for |s| <= 0.1716
_LOG2 = (
    0.9617966923056368,
    0.5770797758283152,
    0.4119010836771407,
    0.33659272720850203,
)
# (2^r - 1) / r for |r| <= 1/2
_EXP2 = (
    0.6931471805599453,
    0.2402265092228876,
    0.055504108839096296,
    0.009618056678524337,
    0.001333350238614805,
    0.00015461444698689617,
    1.5297323765429705e-05,
)


def power(x: Value, exponent: Value) -> Value:
    """Return |x|^exponent, computed in double precision."""
    builder, kind = x.builder, x.raw.type
    wide = _as(kind, F64)
    magnitude = absolute(x)
    a = Value(builder, builder.fpext(magnitude.raw, wide))
    p = Value(builder, builder.fpext(exponent.raw, wide))
    bits = _bits(a)
    start = _bits(a.constant(math.sqrt(0.5)))
    offset = builder.sub(bits, start)
    n = builder.ashr(offset, _whole(offset, 52))
    part = builder.and_(offset, _whole(offset, 2**52 - 1))
    m = Value(builder, builder.bitcast(builder.add(part, start), wide))
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    curve = fused(polynomial(square, _LOG2), square, 2 * _LOG2E)
    narrow = builder.trunc(n, _as(kind, ir.IntType(32)))
    whole = Value(builder, builder.sitofp(narrow, wide))
    log2 = fused(s, curve, whole)
    log2 = where(a == 0.0, -math.inf, where(a == math.inf, math.inf, log2))
    # What is beyond has no float: 0 or infinity.
    t = at_most(at_least(log2 * p, -160.0), 160.0)
    shifted = t + _ROUND64
    r = t - (shifted - _ROUND64)
    n = builder.sub(_bits(shifted), _bits(a.constant(_ROUND64)))
    scale = _power_of_two(builder, n, wide)
    value = fused(polynomial(r, _EXP2), r, 1.0) * scale
    value = where(a >= 0.0, value, a)  # NaN stays
    return Value(builder, builder.fptrunc(value.raw, kind))


def signed_power(x: Value, exponent: Value, odd: Value, fraction: Value) -> Value:
    """Return x^exponent as C's function has it, but x^0.

    odd: 1 for odd exponents, else 0. fraction: 0 for whole exponents, else 1.
    """
    value = power(x, exponent)
    value = where(odd > 0.0, with_sign(value, x), value)
    no_number = where(fraction > 0.0, where(x < 0.0, math.nan, value), value)
    return where(x > -math.inf, no_number, value)


# ---------------------------------------------------------------- in kernels


def instruction(result: str, kinds: Sequence[str], generate: Any) -> Any:
    """Return an instruction for kernels that has one signature only.

    result, kinds: the types of what it returns and of its arguments.
    """

    def typed(*given: Any) -> Any:
        made = [getattr(types, kind) for kind in kinds]
        return getattr(types, result)(*made), generate

    return intrinsic(typed)


def number(formula: Formula) -> Any:
    """Return a formula as a function of floats that kernels call.

    In a loop over elements that do not depend on each other LLVM makes vectors of it.
    """
    count = len(inspect.signature(formula).parameters)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return formula(*(Value(builder, one) for one in args)).raw

    return instruction("float32", ["float32"] * count, generate)
