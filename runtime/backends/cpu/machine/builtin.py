"""What Python's and NumPy's functions emit in compiled code."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from runtime.backends.cpu.machine.arithmetic import (
    UntranslatedError,
    Value,
    cast,
    extreme,
    function,
    magnitude,
)
from runtime.backends.cpu.machine.kinds import Kind, Whole, types


def _one(value: Value, *others: Value) -> Value:
    if others:
        raise UntranslatedError("too many arguments")
    return value


def _as(kind: Kind) -> Callable[..., Value]:
    return lambda builder, *given: cast(builder, _one(*given), kind)


def _whole(builder: Any, *given: Value) -> Value:
    """Return int(x): of a number with a fraction, without it."""
    return cast(builder, _one(*given), types.int64)


def _extreme(sign: str, builder: Any, first: Value, *others: Value) -> Value:
    for one in others:
        first = extreme(builder, sign, first, one)
    return first


def _real(name: str, builder: Any, *given: Value) -> Value:
    value = _one(*given)
    if isinstance(value.kind, Whole):
        value = cast(builder, value, types.float64)
    return function(builder, name, value)


BUILTIN: Mapping[Any, Callable[..., Value]] = {
    int: _whole,
    float: _as(types.float64),
    abs: lambda builder, *given: magnitude(builder, _one(*given)),
    min: partial(_extreme, "<"),
    max: partial(_extreme, ">"),
    **{
        getattr(np, name): _as(getattr(types, name))
        for name in ("uint8", "int32", "int64", "uint64", "float32", "float64")
    },
    **{
        getattr(module, name): partial(_real, name)
        for module in (math, np)
        for name in ("sqrt", "exp", "log")
    },
}
