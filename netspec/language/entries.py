"""What is assigned to a name, and what to say where that is no top."""

from __future__ import annotations

import inspect
from typing import Any

from netspec.errors import SpecError, an, shown
from netspec.language.calls import Function, Namespace, Top


class NoSuchTop(SpecError, AttributeError, KeyError):
    """A name that was not assigned."""

    def __str__(self) -> str:
        return str(self.args[0])


def each_of(value: Any) -> tuple[Any, ...]:
    """Return an entry, or all tops of a tuple."""
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def is_tuple_of_tops(value: Any) -> bool:
    """Tell whether `value` is several tops, as a layer with several returns them."""
    if not isinstance(value, tuple | list) or not value:
        return False
    return all(isinstance(each, Top) for each in value)


def not_an_entry(value: Any) -> str:
    """Say why `value` cannot have a name in a spec, and what can."""
    kind = type(value).__name__
    if is_tuple_of_tops(value):
        calls = {top.fn for top in value}
        types = ", ".join(dict.fromkeys(top.fn.type_name for top in value))
        if len(calls) == 1:
            return (
                f"is a {kind} of {len(value)} tops of one {types}; expected one top, "
                f"so write a name for each: n.a, n.b = L.{types}(...)"
            )
        return (
            f"is a {kind} of {len(value)} tops, of {types}; expected one top, so write "
            f"a name for each: n.a, n.b = ..., or return a NetSpec from the function "
            f"that made them"
        )
    if value is None:
        return (
            "is None; expected a top, which is what layer functions return. If a "
            "function of yours made it, does it return its top?"
        )
    if isinstance(value, dict) and value:
        return (
            f"is a dictionary of {', '.join(map(repr, list(value)[:4]))}; expected one "
            f"top. n.update(...) gives each its own name"
        )
    if isinstance(value, tuple | list) and any(isinstance(v, Top) for v in value):
        wrong = [each for each in value if not isinstance(each, Top)]
        return (
            f"is a {kind} with {shown(wrong[0])} in it; expected one top, or a name "
            f"for each of several"
        )
    return no_top(value)


def no_top(value: Any) -> str:
    """Say what `value` is, and that a top is expected."""
    called = getattr(value, "__name__", "")
    if inspect.ismethod(value) and isinstance(value.__self__, Namespace):
        return (
            f"is the method {called} of a NetSpec; expected a top. A top of that name "
            f"is n[{called!r}]"
        )
    if isinstance(value, Namespace):
        return "is a part of a NetSpec; expected a top, so name the one that is meant"
    if isinstance(value, Function):
        return (
            f"is {an(value.type_name)} layer, which makes no top; expected a top, "
            f"which other layers could read"
        )
    if inspect.isclass(value):
        return f"is the class {called}; expected a top, which is what layers return"
    if inspect.isroutine(value):
        return (
            f"is the function {called} itself; expected a top, which is what calling "
            f"it returns: {called}(...)"
        )
    return f"is {shown(value)}; expected a top, which is what layer functions return"
