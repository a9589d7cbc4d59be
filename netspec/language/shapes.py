"""The shapes of what calls make and learn, as far as their inputs tell them.

`netspec.ops` is imported by the first call: a mere import need not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from netspec.catalogue import LAYER_TYPES
from netspec.catalogue.check import check_arity
from netspec.errors import SpecError
from netspec.language.calls import Function, describe
from netspec.language.options import layer_of
from netspec.schema import LayerParameter

if TYPE_CHECKING:
    from netspec.ops.partial import PartialShape


def infer(fn: Function, message: LayerParameter) -> None:
    """Give the tops of a call, whose options are `message`, their shapes.

    Raises `SpecError` for shapes that cannot meet.
    """
    from netspec.ops.partial import top_shapes

    shapes = [top.shape for top in fn.inputs if top.shape is not None]
    if len(shapes) < len(fn.inputs):
        return
    if len(message.bottom) or len(message.top):
        return  # wired by name to blobs that are not known here
    _wire(message, fn, [top.label for top in fn.inputs])
    try:
        found = top_shapes(message, shapes)
    except SpecError as error:
        text = f"{error.text}{_swapped(fn, message, shapes)}"
        raise error.replaced(text=text, layer=describe(fn)) from None
    for top, shape in zip(fn.tops, found, strict=False):
        top.shape = shape


def _swapped(
    fn: Function, message: LayerParameter, shapes: Sequence[PartialShape]
) -> str:
    """Return a question where the first two bottoms fit in the other order."""
    from netspec.ops.partial import top_shapes

    if len(shapes) < 2 or shapes[0] == shapes[1] or fn.type_name not in LAYER_TYPES:
        return ""
    one, other, *rest = shapes
    turned = LayerParameter()
    turned.CopyFrom(message)
    turned.bottom[0], turned.bottom[1] = message.bottom[1], message.bottom[0]
    try:
        top_shapes(turned, [other, one, *rest])
    except SpecError:
        return ""
    row = LAYER_TYPES[fn.type_name]
    first, second = row.bottom_names[:2] if len(row.bottom_names) > 1 else ("", "")
    names = [top.label or f"<{top.fn.type_name}>" for top in fn.inputs[:2]]
    order = f", {first} first and {second} second" if first else ""
    return (
        f". The other way round they fit{order}: did you mean "
        f"L.{fn.type_name}({', '.join(reversed(names))})?"
    )


def infer_again(calls: Iterable[Function]) -> None:
    """Give the tops of `calls`, which are in order, their shapes where they are known.

    What does not fit has none: a net is often rewired in several steps.
    """
    from netspec.ops.families import is_known_type
    from netspec.ops.partial import top_shapes

    for fn in calls:
        shapes = [top.shape for top in fn.inputs if top.shape is not None]
        for top in fn.tops:
            top.shape = None
        if len(shapes) < len(fn.inputs):
            continue
        message = message_of(fn)
        try:
            if is_known_type(fn.type_name):
                check_arity(message)
            found = top_shapes(message, shapes)
        except (SpecError, ValueError, ArithmeticError):
            continue
        for top, shape in zip(fn.tops, found, strict=False):
            top.shape = shape


def parameter_shapes(fn: Function) -> tuple[tuple[int, ...], ...] | None:
    """Return the shapes of a call's parameters, or None where they are not known."""
    from netspec.ops.families import infer as infer_op
    from netspec.ops.families import is_known_type
    from netspec.ops.partial import is_known

    shapes = [top.shape for top in fn.inputs]
    if not is_known_type(fn.type_name) or not all(map(is_known, shapes)):
        return None
    message = message_of(fn)
    try:
        check_arity(message)
        op = infer_op(message, shapes)  # type: ignore[arg-type]
    except SpecError:
        return None
    return tuple(param.shape for param in op.params)


def message_of(fn: Function) -> LayerParameter:
    """Return a call as a message, with stand-ins for the names of blobs."""
    message = layer_of(fn)
    _wire(message, fn, [f"(bottom {place})" for place in range(len(fn.inputs))])
    return message


def _wire(message: LayerParameter, fn: Function, bottoms: Sequence[str]) -> None:
    """Name the blobs of a call: `bottoms`, and stand-ins for what it makes."""
    message.bottom.extend(bottoms)
    for place in range(fn.ntop):
        over = fn.writes_over(place)
        message.top.append(bottoms[place] if over else f"(top {place})")
