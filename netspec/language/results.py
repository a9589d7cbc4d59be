"""The values that modules return: which call made one, and where it gets its name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from netspec.language.calls import Function, Namespace, Scope, Top
from netspec.language.options import layer_of
from netspec.language.scope import made_in
from netspec.nets.rules import may_meet


def module_of(value: Top | Function | Namespace, scope: Scope | None) -> Scope | None:
    """Return the call, made where `scope` is current, that returned `value`."""
    inner = value.fn.scope if isinstance(value, Top | Function) else made_in(value)[1]
    for called in inner.chain() if inner is not None else ():
        if called.parent is scope:
            return called if value in called.results else None
    return None


def returned_by(value: Top | Function | Namespace, called: Scope) -> Iterator[Scope]:
    """Yield `called` and, for a NetSpec, those inside that returned it to there."""
    yield called
    inner = None if isinstance(value, Top | Function) else made_in(value)[1]
    for scope in inner.chain() if inner is not None else ():
        if scope is called:
            return
        if scope.results == (value,):
            yield scope


def has_own_name(value: Top | Function | Namespace, called: Scope) -> bool:
    """Tell whether a module has itself named its one result."""
    if not isinstance(value, Top | Function):
        return True
    around = value.fn.scope.chain() if value.fn.scope is not None else ()
    scopes = itertools.takewhile(lambda scope: scope is not called.parent, around)
    return len(called.results) == 1 and (
        "name" in value.fn.params or any(value in scope.named for scope in scopes)
    )


def blob_of(value: Top | Function, called: Scope | None) -> Top | Function:
    """Return the top, in the module that was called, whose blob `value` is."""
    top = value
    while called is not None and isinstance(top, Top) and top.fn.in_place:
        if top.n >= len(top.fn.inputs):
            break
        below = top.fn.inputs[top.n]
        if below.fn not in called.calls or called in _namers(below):
            break
        top = below
    return top


def _namers(top: Top) -> list[Scope]:
    """Return the calls of modules in which a top got a name."""
    scopes = top.fn.scope.chain() if top.fn.scope is not None else ()
    own = [top.fn.scope] if "name" in top.fn.params and top.fn.scope else []
    return own + [scope for scope in scopes if top in scope.named]


def stay_apart(
    old: Top | Function | Namespace, new: Top | Function | Namespace
) -> bool:
    """Tell whether the rules of two layers keep them out of each other's nets."""
    if not isinstance(old, Top | Function) or not isinstance(new, Top | Function):
        return False
    if not any(has_rules(value.fn) for value in (old, new)):
        return False
    return not may_meet(layer_of(old.fn), layer_of(new.fn))


def has_rules(fn: Function) -> bool:
    """Tell whether a layer is left out of some nets."""
    return "include" in fn.params or "exclude" in fn.params
