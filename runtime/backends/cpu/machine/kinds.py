"""The types of values in compiled code, and those of what it calls.

An instruction is a function of types that returns a `Signature` and what emits it:

    return types.float32(types.int64, types.int64), generate
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from llvmlite import ir

ADDRESS = ir.IntType(8).as_pointer()


@dataclass(frozen=True)
class Kind:
    """A type of values, and LLVM's type of them."""

    name: str
    raw: ir.Type = field(compare=False)

    def __call__(self, *takes: Kind) -> Signature:
        """Return the signature of what takes these and gives this."""
        return Signature(self, takes)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number of some bits."""

    signed: bool = True


@dataclass(frozen=True)
class Real(Kind):
    """A floating-point number."""


@dataclass(frozen=True)
class Pointer(Kind):
    """An address of elements, to be indexed."""

    element: Kind = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class Record(Kind):
    """The address of a record of a NumPy type."""

    fields: np.dtype[Any] = field(kw_only=True)


@dataclass(frozen=True)
class Several(Kind):
    """A tuple."""

    items: tuple[Kind, ...] = field(kw_only=True)


@dataclass(frozen=True)
class Known(Kind):
    """Something that is known while code is emitted: a function, or nothing."""

    what: Any = field(kw_only=True)


@dataclass(frozen=True)
class Signature:
    """What a function or an instruction gives and takes."""

    return_type: Kind
    args: tuple[Kind, ...]


def pointer_to(element: Kind) -> Pointer:
    """Return the type of the address of such elements."""
    return Pointer(f"*{element.name}", element.raw.as_pointer(), element=element)


def several(items: tuple[Kind, ...]) -> Several:
    """Return the type of a tuple."""
    raw = ir.LiteralStructType([one.raw for one in items])
    return Several(f"({', '.join(map(str, items))})", raw, items=items)


class types:  # noqa: N801  # named as where they are written
    """The types that code names."""

    boolean = Whole("boolean", ir.IntType(1), signed=False)
    uint8 = Whole("uint8", ir.IntType(8), signed=False)
    int32 = Whole("int32", ir.IntType(32))
    int64 = Whole("int64", ir.IntType(64))
    uint64 = Whole("uint64", ir.IntType(64), signed=False)
    float32 = Real("float32", ir.FloatType())
    float64 = Real("float64", ir.DoubleType())
    void = Known("nothing", ir.VoidType(), what=None)
    CPointer = staticmethod(pointer_to)
