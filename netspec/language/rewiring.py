"""Other tops for layers to read, and the shapes that follow from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from netspec.errors import SpecError
from netspec.language.calls import Function, Top
from netspec.language.emit import needed
from netspec.language.record import write_params
from netspec.ops.partial import top_shapes
from netspec.schema import LayerParameter
from netspec.site import user_site

if TYPE_CHECKING:
    from netspec.net_spec import NetSpec


def replace(spec: NetSpec, old: str | Top, new: str | Top | NetSpec) -> None:
    """Let every layer of `spec` that reads `old` read `new` instead.

    Of a blob that layers of several phases make, all tops are meant.
    """
    olds = _tops_named(spec, old)
    target = _top(spec, new)
    if target in olds:
        raise SpecError(f"{user_site()}: {old!r} cannot replace itself")
    rewire(functions(spec), olds, target)


def rewire(calls: list[Function], olds: Iterable[Top], new: Top) -> None:
    """Let `calls` read `new` for any of `olds`, but not those that `new` is made of."""
    wanted = frozenset(olds)
    if not wanted:
        return
    makers = frozenset(needed(new.fn, {}))
    for fn in calls:
        if fn not in makers and not wanted.isdisjoint(fn.inputs):
            fn.inputs = tuple(new if top in wanted else top for top in fn.inputs)
    infer_shapes(functions_of(calls))


def functions(spec: NetSpec) -> list[Function]:
    """Return all calls that `spec` holds or needs, each after what it needs."""
    return functions_of(value.fn for value in spec.entries())


def functions_of(calls: Iterable[Function]) -> list[Function]:
    """Return `calls` and all that they need, each after what it needs."""
    found: dict[Function, None] = {}
    for call in calls:
        for fn in needed(call, found):
            found[fn] = None
    return list(found)


def infer_shapes(calls: Iterable[Function]) -> None:
    """Give the tops of `calls`, which are in order, their shapes where they are known.

    What does not fit has none: a net is often rewired in several steps.
    """
    from netspec.ops import known_types

    known = frozenset(known_types())
    for fn in calls:
        shapes = [top.shape for top in fn.inputs if top.shape is not None]
        for top in fn.tops:
            top.shape = None
        if len(shapes) < len(fn.inputs) or fn.type_name not in known:
            continue
        try:
            found = top_shapes(message_of(fn), shapes)
        except (SpecError, ValueError, ArithmeticError):
            continue
        for top, shape in zip(fn.tops, found, strict=False):
            top.shape = shape


def message_of(fn: Function) -> LayerParameter:
    """Return `fn` as a message, with stand-ins for the names of blobs."""
    layer = LayerParameter(type=fn.type_name)
    write_params(layer, fn)
    layer.bottom.extend(f"(bottom {place})" for place in range(len(fn.inputs)))
    for place in range(fn.ntop):
        over = fn.writes_over(place)
        layer.top.append(f"(bottom {place})" if over else f"(top {place})")
    return layer


def _top(spec: NetSpec, value: str | Top | NetSpec) -> Top:
    found = spec[value] if isinstance(value, str) else value
    top = getattr(found, "output_top", found)
    if not isinstance(top, Top):
        raise SpecError(
            f"{user_site()}: {value!r} is no top; expected one, or the name of one"
        )
    return top


def _tops_named(spec: NetSpec, value: str | Top) -> set[Top]:
    """Return the top, and those that take its place in other phases."""
    top = _top(spec, value)
    name = value if isinstance(value, str) else top.label
    same = {other for other in spec.entries(name) if isinstance(other, Top)}
    return same if top in same else {top}
