"""Layers that arrange values anew: no arithmetic beside copies and sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import NoReadOp, Shape, canonical_axis, count, infers, label
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Reshape(NoReadOp):
    """The same values under another shape, which is that of top 0."""

    type: ClassVar[str] = "Reshape"
    alias: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Flatten(NoReadOp):
    """The axes from `axis` to `end_axis`, inclusive, become one."""

    type: ClassVar[str] = "Flatten"
    alias: ClassVar[bool] = True
    axis: int
    end_axis: int


@dataclass(frozen=True, kw_only=True)
class Split(NoReadOp):
    """The input under several names; dx is the sum of the gradients of all tops."""

    type: ClassVar[str] = "Split"
    alias: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Silence(NoReadOp):
    """Uses blobs so that they are not outputs of the net; their gradient is 0."""

    type: ClassVar[str] = "Silence"


@infers("Reshape")
def reshape(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Reshape:
    """Read a Reshape layer."""
    refuse_in_place(layer)
    param = layer.reshape_param
    x = bottoms[0]
    dims = tuple(int(dim) for dim in param.shape.dim)
    if any(dim < -1 for dim in dims) or dims.count(-1) > 1:
        raise SpecError(
            f"reshape_param.shape is {dims}; expected sizes, 0 to copy the size of "
            f"the bottom, and at most one -1 to infer a size",
            layer=label(layer),
        )
    start = param.axis if param.axis >= 0 else len(x) + 1 + param.axis
    if not 0 <= start <= len(x):
        raise ShapeError(
            f"axis is {param.axis}, but the input has {len(x)} axes; expected a value "
            f"from {-len(x) - 1} to {len(x)}",
            layer=label(layer),
        )
    if param.num_axes < -1:
        raise SpecError(
            f"num_axes is {param.num_axes}; expected the number of axes to replace, "
            f"or -1 for all from axis on",
            layer=label(layer),
        )
    end = len(x) if param.num_axes == -1 else start + param.num_axes
    if end > len(x):
        raise ShapeError(
            f"num_axes is {param.num_axes} from axis {start}, but the input has shape "
            f"{x}; reduce num_axes",
            layer=label(layer),
        )
    middle = _resolve(layer, x, dims, start, end)
    return Reshape(layer=layer, bottoms=bottoms, tops=(x[:start] + middle + x[end:],))


def _resolve(
    layer: LayerParameter, x: Shape, dims: Shape, start: int, end: int
) -> Shape:
    """Return `dims` with copied and inferred sizes put in."""
    sizes = list(dims)
    for index, dim in enumerate(dims):
        if dim == 0:
            if start + index >= len(x):
                raise ShapeError(
                    f"the 0 at place {index} of shape {dims} copies axis "
                    f"{start + index}, but the input has shape {x}",
                    layer=label(layer),
                )
            sizes[index] = x[start + index]
    wanted = count(x, start, end)
    if -1 in dims:
        known = count([size for size in sizes if size != -1])
        if known == 0 or wanted % known:
            raise ShapeError(
                f"the input {x} has {wanted} values on the axes to replace, which "
                f"{known}, the product of the other sizes of shape {dims}, does not "
                f"divide; change the shape",
                layer=label(layer),
            )
        sizes[dims.index(-1)] = wanted // known
    if count(sizes) != wanted:
        raise ShapeError(
            f"shape {dims} holds {count(sizes)} values, but the input {x} has "
            f"{wanted} on the axes to replace; change the shape, or put -1 for one "
            f"size",
            layer=label(layer),
        )
    return tuple(sizes)


@infers("Flatten")
def flatten(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Flatten:
    """Read a Flatten layer."""
    refuse_in_place(layer)
    param, x = layer.flatten_param, bottoms[0]
    axis = canonical_axis(layer, param.axis, len(x), "axis")
    end = canonical_axis(layer, param.end_axis, len(x), "end_axis")
    if end < axis - 1:
        raise ShapeError(
            f"axis is {axis} and end_axis {end}; expected axis <= end_axis (inclusive)",
            layer=label(layer),
        )
    top = (*x[:axis], count(x, axis, end + 1), *x[end + 1 :])
    return Flatten(layer=layer, bottoms=bottoms, tops=(top,), axis=axis, end_axis=end)


@infers("Split")
def split(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Split:
    """Read a Split layer."""
    refuse_in_place(layer)
    return Split(layer=layer, bottoms=bottoms, tops=bottoms * max(1, len(layer.top)))


@infers("Silence")
def silence(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Silence:
    """Read a Silence layer."""
    return Silence(layer=layer, bottoms=bottoms, tops=())


def refuse_in_place(layer: LayerParameter) -> None:
    """Refuse a top that has the name of a bottom."""
    for top in layer.top:
        if top in layer.bottom:
            raise SpecError(
                f"top {top!r} is also its bottom, but this layer cannot run in place; "
                f"give the top another name",
                layer=label(layer),
            )
