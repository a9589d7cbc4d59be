"""Other tops for layers to read, and the shapes that follow from it."""

from __future__ import annotations

from collections.abc import Iterable

from netspec.language.calls import Function, Top
from netspec.language.emit import needed
from netspec.language.shapes import infer_again


def rewire(calls: list[Function], olds: Iterable[Top], new: Top) -> None:
    """Let `calls` read `new` for any of `olds`, but not those that `new` is made of."""
    wanted = frozenset(olds)
    if not wanted:
        return
    makers = frozenset(needed(new.fn, {}))
    for fn in calls:
        if fn not in makers and not wanted.isdisjoint(fn.inputs):
            fn.inputs = tuple(new if top in wanted else top for top in fn.inputs)
    infer_again(functions_of(calls))


def functions_of(calls: Iterable[Function]) -> list[Function]:
    """Return `calls` and all that they need, each after what it needs."""
    found: dict[Function, None] = {}
    for call in calls:
        for fn in needed(call, found):
            found[fn] = None
    return list(found)
