"""Concat and Slice, which join and cut blobs along one axis."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    NoReadOp,
    Shape,
    bottom_name,
    canonical_axis,
    infers,
    label,
)
from netspec.schema import ConcatParameter, LayerParameter, SliceParameter


@dataclass(frozen=True, kw_only=True)
class Concat(NoReadOp):
    """The bottoms one after the other along `axis`."""

    type: ClassVar[str] = "Concat"
    axis: int


@dataclass(frozen=True, kw_only=True)
class Slice(NoReadOp):
    """The input cut along `axis`, before every index of `slice_point`."""

    type: ClassVar[str] = "Slice"
    axis: int
    slice_point: tuple[int, ...]


@infers("Concat")
def concat(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Concat:
    """Read a Concat layer."""
    axis = _axis(layer, layer.concat_param, "concat_dim", bottoms[0])
    for index, shape in enumerate(bottoms):
        same = shape[:axis] == bottoms[0][:axis]
        same = same and shape[axis + 1 :] == bottoms[0][axis + 1 :]
        if not same or len(shape) != len(bottoms[0]):
            raise ShapeError(
                f"bottoms must agree except on axis {axis}; {bottom_name(layer, 0)} "
                f"has {bottoms[0]} and {bottom_name(layer, index)} has {shape}. Check "
                f"the layers that produce them",
                layer=label(layer),
            )
    total = sum(shape[axis] for shape in bottoms)
    top = (*bottoms[0][:axis], total, *bottoms[0][axis + 1 :])
    return Concat(layer=layer, bottoms=bottoms, tops=(top,), axis=axis)


@infers("Slice")
def slice_(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Slice:
    """Read a Slice layer."""
    param = layer.slice_param
    axis = _axis(layer, param, "slice_dim", bottoms[0])
    size, tops = bottoms[0][axis], len(layer.top)
    points = tuple(param.slice_point)
    if points:
        if len(points) != tops - 1:
            raise SpecError(
                f"slice_point has {len(points)} values for {tops} tops; expected one "
                f"fewer than tops",
                layer=label(layer),
            )
    else:
        if tops == 0 or size % tops:
            raise ShapeError(
                f"axis {axis} has size {size}, which {tops} tops cannot share evenly; "
                f"give slice_point",
                layer=label(layer),
            )
        points = tuple(range(size // tops, size, size // tops)) if size else ()
    bounds = (0, *points, size)
    if any(end <= start for start, end in itertools.pairwise(bounds)):
        raise ShapeError(
            f"slice_point {points} must rise strictly and lie between 0 and {size}, "
            f"the size of axis {axis}",
            layer=label(layer),
        )
    shapes = tuple(
        (*bottoms[0][:axis], end - start, *bottoms[0][axis + 1 :])
        for start, end in itertools.pairwise(bounds)
    )
    return Slice(
        layer=layer, bottoms=bottoms, tops=shapes, axis=axis, slice_point=points
    )


def _axis(
    layer: LayerParameter,
    param: ConcatParameter | SliceParameter,
    old_field: str,
    shape: Shape,
) -> int:
    field = "axis"
    if param.HasField(old_field):
        if param.HasField("axis"):
            raise SpecError(
                f"both axis and {old_field}, its old name, are given; keep axis",
                layer=label(layer),
            )
        field = old_field
    return canonical_axis(layer, getattr(param, field), len(shape), field)
