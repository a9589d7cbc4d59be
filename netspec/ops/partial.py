"""Shapes of which some sizes are not known: `(64, None, 227, 227)`."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.errors import ShapeError, SpecError, UnknownShape
from netspec.ops.base import PartialShape as PartialShape
from netspec.ops.families import infer, op_class
from netspec.ops.opaque import is_opaque, is_over
from netspec.schema import LayerParameter

# What is tried in the place of sizes that are not known. Whatever comes out the same
# does not depend on them.
_TRIALS = (60, 120)


def is_known(shape: PartialShape | None) -> bool:
    """Tell whether every size is known."""
    return shape is not None and None not in shape


def top_shapes(
    layer: LayerParameter, shapes: Sequence[PartialShape]
) -> Sequence[PartialShape | None]:
    """Return the shapes of the tops as far as the layer and its bottoms tell them.

    Raises `SpecError` where the layer is wrong whatever the unknown sizes are.
    """
    if is_opaque(layer):
        return [
            shapes[place] if is_over(layer, place, place) else None
            for place in range(len(layer.top))
        ]
    known = [tuple(size for size in shape if size is not None) for shape in shapes]
    try:
        if all(len(a) == len(b) for a, b in zip(known, shapes, strict=True)):
            return infer(layer, known).tops
        return _infer_partly(layer, shapes)
    except ShapeError as error:
        untold = layer.type == "Input" and not len(layer.input_param.shape)
        if not (untold or isinstance(error, UnknownShape)):
            raise
        return op_class(layer.type).told_tops(layer)


def _infer_partly(
    layer: LayerParameter, shapes: Sequence[PartialShape]
) -> Sequence[PartialShape | None]:
    found, problems = [], []
    for trial in _TRIALS:
        bottoms = [
            tuple(trial if size is None else size for size in shape) for shape in shapes
        ]
        try:
            found.append(infer(layer, bottoms).tops)
        except SpecError as error:
            problems.append(error)
    if problems:
        first = problems[0]
        if all(str(one) == str(first) for one in problems[1:]) and not found:
            raise first  # what it says does not depend on what was tried
        return [None] * len(layer.top)
    return [
        tuple(a if a == b else None for a, b in zip(*pair, strict=True))
        if len(pair[0]) == len(pair[1])
        else None
        for pair in zip(*found, strict=True)
    ]
