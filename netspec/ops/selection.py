"""Layers that repeat, choose or cut out parts of a blob."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    NoReadOp,
    Op,
    Range,
    Shape,
    bottom_name,
    canonical_axis,
    count,
    infers,
    label,
    numbers_below,
)
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Tile(NoReadOp):
    """The input `tiles` times, one after the other along `axis`."""

    type: ClassVar[str] = "Tile"
    axis: int
    tiles: int


@dataclass(frozen=True, kw_only=True)
class BatchReindex(Op):
    """y[i] = x[index[i]]: items chosen, repeated or left out.

    Shapes: x (N, ...), index (M,) -> y (M, ...). The index has no gradient.
    """

    type: ClassVar[str] = "BatchReindex"

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """The index."""
        return (1,)

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """The items."""
        return (0,)

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """The index."""
        return (1,)

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Indices of items."""
        return {1: numbers_below(self.bottoms[0][0])}


@dataclass(frozen=True, kw_only=True)
class Crop(NoReadOp):
    """The part of bottom 0 that has the size of bottom 1 on the axes from `axis` on.

    `offset` has a value for every axis, 0 before `axis`. Bottom 1 gives only its shape
    and gets no gradient.
    """

    type: ClassVar[str] = "Crop"
    axis: int
    offset: tuple[int, ...]

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """The image that is cropped."""
        return (0,)


@dataclass(frozen=True, kw_only=True)
class Filter(Op):
    """The items whose value in the last bottom, the selector, is not 0.

    How many that are is known only when the layer runs; the tops here have room for
    all items.
    """

    type: ClassVar[str] = "Filter"
    learns_shapes: ClassVar[bool] = True

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """The selector."""
        return (len(self.bottoms) - 1,)

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """All but the selector."""
        return tuple(range(len(self.bottoms) - 1))

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """The selector."""
        return (len(self.bottoms) - 1,)

    @property
    def ranges(self) -> Mapping[int, Range]:
        """The selector, 0 or 1."""
        return {len(self.bottoms) - 1: numbers_below(2)}


@infers("Tile")
def tile(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Tile:
    """Read a Tile layer."""
    param, x = layer.tile_param, bottoms[0]
    if param.tiles < 1:
        raise SpecError(
            f"tile_param.tiles is {param.tiles}; give the number of copies, at least 1",
            layer=label(layer),
        )
    axis = canonical_axis(layer, param.axis, len(x), "axis")
    top = (*x[:axis], x[axis] * param.tiles, *x[axis + 1 :])
    return Tile(layer=layer, bottoms=bottoms, tops=(top,), axis=axis, tiles=param.tiles)


@infers("BatchReindex")
def batch_reindex(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> BatchReindex:
    """Read a BatchReindex layer."""
    if len(bottoms[1]) != 1 or not bottoms[0]:
        raise ShapeError(
            f"{bottom_name(layer, 1)}, the index, must have shape (M,) and "
            f"{bottom_name(layer, 0)} at least 1 axis; got {bottoms[1]} and "
            f"{bottoms[0]}",
            layer=label(layer),
        )
    top = bottoms[1] + bottoms[0][1:]
    return BatchReindex(layer=layer, bottoms=bottoms, tops=(top,))


@infers("Crop")
def crop(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Crop:
    """Read a Crop layer."""
    param = layer.crop_param
    x, reference = bottoms
    axis = canonical_axis(layer, param.axis, len(x), "axis")
    given = tuple(param.offset)
    if len(given) not in (0, 1, len(x) - axis):
        raise SpecError(
            f"crop_param.offset has {len(given)} values {given}; expected 1, or one "
            f"for each of the {len(x) - axis} axes from {axis} on",
            layer=label(layer),
        )
    if len(given) < 2:
        given = (given or (0,)) * (len(x) - axis)
    if len(reference) != len(x):
        raise ShapeError(
            f"both bottoms must have the same number of axes; {bottom_name(layer, 0)} "
            f"has {x} and {bottom_name(layer, 1)} has {reference}",
            layer=label(layer),
        )
    top = x[:axis] + reference[axis:]
    offset = (0,) * axis + given
    for place in range(axis, len(x)):
        if offset[place] + top[place] > x[place]:
            raise ShapeError(
                f"axis {place} of {bottom_name(layer, 0)} {x} is too small for an "
                f"offset of {offset[place]} and the size {top[place]} of "
                f"{bottom_name(layer, 1)}; reduce offset, or enlarge the input",
                layer=label(layer),
            )
    return Crop(layer=layer, bottoms=bottoms, tops=(top,), axis=axis, offset=offset)


@infers("Filter")
def filter_(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Filter:
    """Read a Filter layer."""
    if len(layer.top) != len(bottoms) - 1:
        raise SpecError(
            f"{len(bottoms)} bottoms and {len(layer.top)} tops are given; expected a "
            f"top for each bottom but the last, the selector",
            layer=label(layer),
        )
    selector = bottoms[-1]
    if not selector or count(selector, 1) != 1:
        raise ShapeError(
            f"{bottom_name(layer, len(bottoms) - 1)}, the selector, must have one "
            f"value for each item, shape (N,); got {selector}",
            layer=label(layer),
        )
    for index, shape in enumerate(bottoms):
        if shape[:1] != selector[:1]:
            raise ShapeError(
                f"{bottom_name(layer, index)} {shape} must have as many items as the "
                f"selector {selector}",
                layer=label(layer),
            )
    return Filter(layer=layer, bottoms=bottoms, tops=bottoms[:-1])
