"""When a function is an older one, defined again: in a notebook's cell that runs twice.

What is added in such a cell should replace what the cell added the last time, and what
a loop or another function makes of one `def` should not replace its siblings.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

NAMELESS = ("<lambda>", "_")  # names that tell nothing: two such functions may differ


def is_again(new: Any, old: Any) -> bool:
    """Say whether `new` is `old`, or comes from the same place in a program.

    Functions of the same module and qualified name are, whatever they do by now, but
    those made by one `def` that ran several times, with other defaults or other
    variables around it. Lambdas, and functions called `_`, are if they do the same.
    """
    if new is old or _equal(new, old):
        return True
    if not isinstance(new, FunctionType) or not isinstance(old, FunctionType):
        return False
    if (new.__module__, new.__qualname__) != (old.__module__, old.__qualname__):
        return False
    if new.__name__ in NAMELESS:
        return new.__code__ == old.__code__ and _surroundings_agree(new, old)
    return new.__code__ is not old.__code__ or _surroundings_agree(new, old)


def same_place(new: type, old: type) -> bool:
    """Say whether a class is another one, or that one defined again."""
    return (new.__module__, new.__qualname__) == (old.__module__, old.__qualname__)


def _surroundings_agree(new: FunctionType, old: FunctionType) -> bool:
    """Say whether two functions see the same defaults and the same outer variables."""
    return (
        all_equal(new.__defaults__ or (), old.__defaults__ or ())
        and all_equal(new.__kwdefaults__ or {}, old.__kwdefaults__ or {})
        and all_equal(_closure(new), _closure(old))
    )


def _closure(function: FunctionType) -> tuple[Any, ...]:
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # a variable that has no value yet
            found.append(cell)
    return tuple(found)


def all_equal(one: Any, other: Any) -> bool:
    """Say whether tuples or dicts hold equal things, arrays by identity."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            _equal(value, other[key]) for key, value in one.items()
        )
    return len(one) == len(other) and all(map(_equal, one, other))


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # arrays have no truth, and others' `==` may fail anyhow
        return False
