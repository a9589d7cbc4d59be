"""What kernels are made of, apart from Numba until one is compiled.

A program whose kernels are on the disk never imports Numba, which takes longer than
small nets take to train. So what Numba has to make of a function, an instruction or a
helper, is a `Part`: the function itself to Python, and what Numba makes of it once a
kernel that uses it is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property, update_wrapper
from importlib import import_module
from typing import Any

Function = Callable[..., Any]
# Contracting and reordering are what vector code does; NaN and infinity keep meaning.
FAST_MATH = {"contract", "reassoc", "arcp", "nsz"}
# Python calls none of them once they are compiled, so that nothing is made for it.
ALONE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# A function that does not say how it is compiled is compiled as who calls it.
EXACT: dict[str, Any] = {
    "error_model": "numpy",
    "nogil": True,
    "fastmath": False,
    **ALONE,
}
FAST: dict[str, Any] = {**EXACT, "fastmath": FAST_MATH}


class Part:
    """A function that becomes a part of kernels.

    make: what Numba makes of the function. Called by Python it is the function.
    """

    def __init__(self, function: Function, make: Callable[[Function], Any]) -> None:
        update_wrapper(self, function)
        self.function = function
        self._make = make

    def __call__(self, *args: Any) -> Any:
        """Do as the function does."""
        return self.function(*args)

    @cached_property
    def made(self) -> Any:
        """What compiled code calls."""
        return self._make(self.function)


class _Types:
    """The types of Numba, under their names there."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("numba").types, name)


types: Any = _Types()


def _named(name: str) -> Any:
    """Return something of Numba that compiled code calls by this name."""

    def unknown(*args: Any) -> Any:
        raise TypeError(f"{name} is known in compiled code only")

    return Part(unknown, lambda _: vars(import_module("numba"))[name])


carray = _named("carray")  # makes records of addresses, within kernels


def outside(name: str, result: str, *kinds: str) -> Any:
    """Return a function of the system for compiled code; its types are by name."""

    def unknown(*args: Any) -> Any:
        raise TypeError(f"{name} is known in compiled code only")

    def make(_: Function) -> Any:
        takes = [getattr(types, kind) for kind in kinds]
        return types.ExternalFunction(name, getattr(types, result)(*takes))

    return Part(unknown, make)


def intrinsic(function: Function) -> Any:
    """Make a function of types an instruction that compiled code can call."""
    return Part(function, lambda f: import_module("numba.extending").intrinsic(f))


def helper(function: Function) -> Any:
    """Compile a function that kernels call; its code becomes part of theirs."""
    return Part(function, lambda f: _compiler(forceinline=True, **FAST)(f))


def exact(function: Function) -> Any:
    """Compile a function that kernels call, whose sums and products stay as written.

    For what decides: a box that overlaps another by just the limit.
    """
    return Part(function, lambda f: _compiler(**EXACT)(f))


def outlined(function: Function) -> Any:
    """Compile a function that kernels call from many places, once for all of them."""
    return Part(function, lambda f: _compiler(**FAST)(f))


def _compiler(**options: Any) -> Callable[[Function], Any]:
    def compiled(function: Function) -> Any:
        fill_in(function)
        return import_module("numba").njit(**options)(function)

    return compiled


def fill_in(function: Function) -> None:
    """Put what Numba makes of parts in their places, where a function names them.

    That is in its module, and in what it has from the functions around it.
    """
    for cell in function.__closure__ or ():
        if isinstance(cell.cell_contents, Part):
            cell.cell_contents = cell.cell_contents.made
    names = function.__globals__
    for name in function.__code__.co_names:
        if isinstance(names.get(name), Part):
            names[name] = names[name].made


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
    return sum(len(one.__code__.co_code) for one in found)
