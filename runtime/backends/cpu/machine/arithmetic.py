"""Numbers in compiled code: what Python's operators emit, and of which type that is.

Whole numbers of any size become int64 where they meet, but for bits of numbers of one
type, which stay of it; with a floating-point number they become float64, as does
float32 with float64.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from runtime.backends.cpu.machine.kinds import Kind, Real, Whole, types
from runtime.backends.cpu.machine.llvm import declared


class UntranslatedError(Exception):
    """Code of a kernel says what has no translation."""


class UntranslatedLineError(UntranslatedError):
    """The same, with the file and the line of it."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value while code is emitted.

    raw: what LLVM has of it; for a tuple, its values. number: it, if it is a whole
    number that is known.
    """

    kind: Kind
    raw: Any = None
    number: int | None = None


def whole(number: int) -> Value:
    """Return a whole number as int64."""
    return Value(types.int64, ir.Constant(types.int64.raw, number), number)


def known(flag: bool) -> Value:
    """Return what is true or false as boolean."""
    return Value(types.boolean, ir.Constant(types.boolean.raw, int(flag)), int(flag))


def constant(thing: Any) -> Value | None:
    """Return a number of Python or NumPy as a value; None if it is something else."""
    if isinstance(thing, bool | np.bool_):
        return known(bool(thing))
    if isinstance(thing, int):
        return whole(thing)
    if isinstance(thing, float):  # which NumPy's float64 is too
        return Value(types.float64, ir.Constant(types.float64.raw, float(thing)))
    if isinstance(thing, np.number):
        kind = getattr(types, thing.dtype.name, None)
        if isinstance(kind, Real):
            return Value(kind, ir.Constant(kind.raw, float(thing)))
        if isinstance(kind, Whole):
            return Value(kind, ir.Constant(kind.raw, int(thing)))
    return None


def cast(builder: Any, value: Value, kind: Kind) -> Value:
    """Return a number as another type, as C casts it."""
    had = value.kind
    if had == kind:
        return value
    raw = value.raw
    if isinstance(had, Whole) and isinstance(kind, Whole):
        number = value.number
        if number is not None and kind == types.int64:
            return whole(int(number))
        if kind == types.boolean:
            return truth(builder, value)
        widths = had.raw.width, kind.raw.width
        if widths[0] < widths[1]:
            raw = (builder.sext if had.signed else builder.zext)(raw, kind.raw)
        elif widths[0] > widths[1]:
            raw = builder.trunc(raw, kind.raw)
    elif isinstance(had, Whole) and isinstance(kind, Real):
        if value.number is not None:
            raw = ir.Constant(kind.raw, float(value.number))
        else:
            raw = (builder.sitofp if had.signed else builder.uitofp)(raw, kind.raw)
    elif isinstance(had, Real) and isinstance(kind, Whole) and kind != types.boolean:
        raw = (builder.fptosi if kind.signed else builder.fptoui)(raw, kind.raw)
    elif isinstance(had, Real) and isinstance(kind, Real):
        wider = kind == types.float64
        raw = (builder.fpext if wider else builder.fptrunc)(raw, kind.raw)
    else:
        raise UntranslatedError(f"{had} as {kind}")
    return Value(kind, raw)


def truth(builder: Any, value: Value) -> Value:
    """Return whether a number is not 0."""
    if value.kind == types.boolean:
        return value
    if value.number is not None:
        return known(value.number != 0)
    zero = ir.Constant(value.kind.raw, 0)
    if isinstance(value.kind, Whole):
        return Value(types.boolean, builder.icmp_signed("!=", value.raw, zero))
    if isinstance(value.kind, Real):
        return Value(types.boolean, builder.fcmp_unordered("!=", value.raw, zero))
    raise UntranslatedError(f"whether {value.kind} is true")


def common(one: Kind, other: Kind) -> Kind:
    """Return the type that numbers of two types become where they meet."""
    kinds = {one, other}
    if not all(isinstance(kind, Whole | Real) for kind in kinds):
        raise UntranslatedError(f"{one} with {other}")
    if all(isinstance(kind, Whole) for kind in kinds):
        if types.uint64 not in kinds:
            return types.int64
        if len(kinds) == 1:
            return types.uint64
    elif kinds == {types.float32}:
        return types.float32
    elif kinds <= {types.float32, types.float64, types.int64, types.int32}:
        return types.float64
    raise UntranslatedError(f"{one} with {other}")


def binary(builder: Any, name: str, one: Value, other: Value) -> Value:
    """Emit an operator, named as Python's syntax tree names it."""
    kind = common(one.kind, other.kind)
    if one.kind == other.kind and name in _LOGICAL:
        kind = one.kind  # which has room for the result
    if name == "Div" and isinstance(kind, Whole):
        kind = types.float64
    emit = (_REAL if isinstance(kind, Real) else _WHOLE).get(name)
    if emit is None or (name == "Sub" and one.kind == other.kind == types.uint8):
        raise UntranslatedError(f"{name} of {one.kind} and {other.kind}")
    a, b = cast(builder, one, kind), cast(builder, other, kind)
    folds = a.number is not None and b.number is not None and name in _NUMBERS
    if folds and not (b.number == 0 and name in {"FloorDiv", "Mod"}):
        return cast(builder, whole(_NUMBERS[name](a.number or 0, b.number or 0)), kind)
    return Value(kind, emit(builder, a, b))


def _plain(name: str) -> Callable[[Any, Value, Value], Any]:
    return lambda builder, a, b: getattr(builder, name)(a.raw, b.raw)


def _divided(builder: Any, a: Value, b: Value) -> tuple[Any, Any]:
    """Emit quotient and remainder towards minus infinity; both are 0 by 0."""
    kind, divisor = a.raw.type, b.raw
    zero = ir.Constant(kind, 0)
    divide, remainder = builder.sdiv, builder.srem
    if a.kind == types.uint64:
        divide, remainder = builder.udiv, builder.urem
    if b.number is None:  # the processor would stop at 0, and at -1 if that overflows
        safe = builder.icmp_unsigned("!=", divisor, zero)
        divisor = builder.select(safe, divisor, ir.Constant(kind, 1))
    quotient, rest = divide(a.raw, divisor), remainder(a.raw, divisor)
    if a.kind != types.uint64:
        differ = builder.icmp_signed("<", builder.xor(divisor, rest), zero)
        down = builder.and_(builder.icmp_signed("!=", rest, zero), differ)
        quotient = builder.sub(quotient, builder.zext(down, kind))
        rest = builder.add(rest, builder.select(down, divisor, zero))
    if b.number is None:
        quotient = builder.select(safe, quotient, zero)
    return quotient, rest


def _quotient(builder: Any, a: Value, b: Value) -> Any:
    power = _power_of(b.number)
    if power is not None and a.kind == types.int64:
        return builder.ashr(a.raw, ir.Constant(a.raw.type, power))
    return _divided(builder, a, b)[0]


def _rest(builder: Any, a: Value, b: Value) -> Any:
    if _power_of(b.number) is not None and a.kind == types.int64:
        return builder.and_(a.raw, ir.Constant(a.raw.type, (b.number or 1) - 1))
    return _divided(builder, a, b)[1]


def _power_of(number: int | None) -> int | None:
    """Return which power of two a number is; None if it is none."""
    if number is None or number < 1 or number & (number - 1):
        return None
    return number.bit_length() - 1


_LOGICAL = {"BitAnd", "BitOr", "BitXor"}
_SHARED = {"BitAnd": "and_", "BitOr": "or_", "BitXor": "xor", "LShift": "shl"}
_WHOLE: Mapping[str, Callable[[Any, Value, Value], Any]] = {
    **{name: _plain(emitted) for name, emitted in _SHARED.items()},
    "Add": _plain("add"),
    "Sub": _plain("sub"),
    "Mult": _plain("mul"),
    "RShift": lambda builder, a, b: (
        builder.ashr if a.kind == types.int64 else builder.lshr
    )(a.raw, b.raw),
    "FloorDiv": _quotient,
    "Mod": _rest,
}
_REAL: Mapping[str, Callable[[Any, Value, Value], Any]] = {
    "Add": _plain("fadd"),
    "Sub": _plain("fsub"),
    "Mult": _plain("fmul"),
    "Div": _plain("fdiv"),
}
_NUMBERS: Mapping[str, Callable[[int, int], int]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mult": operator.mul,
    "FloorDiv": operator.floordiv,
    "Mod": operator.mod,
    "LShift": operator.lshift,
    "RShift": operator.rshift,
    "BitAnd": operator.and_,
    "BitOr": operator.or_,
    "BitXor": operator.xor,
}

SIGNS = {"Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">=", "Eq": "==", "NotEq": "!="}
_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def compared(builder: Any, sign: str, one: Value, other: Value) -> Value:
    """Emit a comparison; with NaN all but != are false."""
    kind = common(one.kind, other.kind)
    a, b = cast(builder, one, kind), cast(builder, other, kind)
    if a.number is not None and b.number is not None:
        return known(_COMPARED[sign](a.number, b.number))
    if isinstance(kind, Real):
        emit = builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered
    else:
        emit = builder.icmp_unsigned if kind == types.uint64 else builder.icmp_signed
    return Value(types.boolean, emit(sign, a.raw, b.raw))


def extreme(builder: Any, sign: str, one: Value, other: Value) -> Value:
    """Emit the lesser or the greater of two; the first where they are alike or NaN."""
    kind = one.kind if one.kind == other.kind else common(one.kind, other.kind)
    a, b = cast(builder, one, kind), cast(builder, other, kind)
    if a.number is not None and b.number is not None:
        return b if _COMPARED[sign](b.number, a.number) else a
    better = compared(builder, sign, b, a)
    return Value(kind, builder.select(better.raw, b.raw, a.raw))


def negative(builder: Any, value: Value) -> Value:
    """Emit -x."""
    if value.number is not None:
        return whole(-value.number)
    if isinstance(value.kind, Real):
        return Value(value.kind, builder.fneg(value.raw))
    return binary(builder, "Sub", whole(0), value)


def magnitude(builder: Any, value: Value) -> Value:
    """Emit |x|."""
    if isinstance(value.kind, Real):
        return function(builder, "fabs", value)
    if value.kind != types.int64:
        raise UntranslatedError(f"abs of {value.kind}")
    return extreme(builder, ">", value, negative(builder, value))


def function(builder: Any, name: str, value: Value) -> Value:
    """Emit a call of a function of LLVM of one number."""
    if not isinstance(value.kind, Real):
        raise UntranslatedError(f"{name} of {value.kind}")
    full = f"llvm.{name}.{'f32' if value.kind == types.float32 else 'f64'}"
    raw = value.kind.raw
    found = declared(builder, full, raw, [raw])
    return Value(value.kind, builder.call(found, [value.raw]))
