"""What kernels are made of: functions that become a part of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, update_wrapper
from types import CodeType
from typing import Any

from runtime.backends.cpu.machine.kinds import Signature
from runtime.backends.cpu.machine.kinds import types as types

Function = Callable[..., Any]
# Contracting and reordering are what vector code does; NaN and infinity keep meaning.
FAST_MATH = {"contract", "reassoc", "arcp", "nsz"}

NONE = Signature(types.void, ())


class Part:
    """A function that becomes a part of kernels.

    sort: how: "helper", "outlined" and "exact" are functions of kernels' kind;
    an "intrinsic" emits instructions; "outside" is a function of the system, of a
    signature; "carray" gives records of addresses. Called by Python it is the function.
    """

    def __init__(
        self, function: Function, sort: str, signature: Signature = NONE
    ) -> None:
        update_wrapper(self, function)
        self.function = function
        self.name: str = function.__name__
        self.sort = sort
        self.signature = signature

    def __call__(self, *args: Any) -> Any:
        """Do as the function does."""
        return self.function(*args)


def _elsewhere(name: str, sort: str, signature: Signature = NONE) -> Any:
    """Return something that only compiled code can call, by this name."""

    def unknown(*args: Any) -> Any:
        raise TypeError(f"{name} is known in compiled code only")

    unknown.__name__ = name
    return Part(unknown, sort, signature)


carray = _elsewhere("carray", "carray")  # makes records of addresses, within kernels


def outside(name: str, result: str, *takes: str) -> Any:
    """Return a function of the system for compiled code; its types are by name."""
    kinds = [getattr(types, kind) for kind in takes]
    return _elsewhere(name, "outside", getattr(types, result)(*kinds))


def intrinsic(function: Function) -> Any:
    """Make a function of types an instruction that compiled code can call."""
    return Part(function, "intrinsic")


def helper(function: Function) -> Any:
    """Make a function one that kernels call; its code becomes part of theirs."""
    return Part(function, "helper")


def exact(function: Function) -> Any:
    """Make a function one that kernels call, whose sums and products stay as written.

    For what decides: a box that overlaps another by just the limit.
    """
    return Part(function, "exact")


def outlined(function: Function) -> Any:
    """Make a function one that kernels call from many places, compiled once for all."""
    return Part(function, "outlined")


@cache
def code_bytes(function: Function) -> int:
    """Return how much Python code goes into a kernel, with that of its parts."""
    found, left = {function}, [function]
    while left:
        one = left.pop()
        named = (one.__globals__.get(name) for name in one.__code__.co_names)
        new = {part.function for part in named if isinstance(part, Part)} - found
        found |= new
        left += new
    return sum(_bytes_of(one.__code__) for one in found)


def _bytes_of(code: CodeType) -> int:
    inner = (one for one in code.co_consts if isinstance(one, CodeType))
    return len(code.co_code) + sum(map(_bytes_of, inner))
