"""Reduction and ArgMax, which reduce the last axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    NoReadOp,
    Op,
    Shape,
    canonical_axis,
    count,
    enum_name,
    infers,
    label,
)
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Reduction(Op):
    """coeff times a reduction over all axes from `axis` on.

    `operation` is "SUM", "ASUM" (of absolute values), "SUMSQ" or "MEAN".

    Shapes: x (M..., K...) -> y (M...).
    """

    type: ClassVar[str] = "Reduction"
    operation: str
    axis: int
    coeff: float

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """The input, unless the function is linear."""
        return (0,) if self.operation in ("ASUM", "SUMSQ") else ()


@dataclass(frozen=True, kw_only=True)
class ArgMax(NoReadOp):
    """The places of the `top_k` largest values along `axis`, or of each item.

    With `out_max_val` the values: with an axis instead of the places, otherwise after
    them. Of equal values the one with the larger index comes first. No gradient.

    Shapes: with an axis, x (..., C, ...) -> y (..., top_k, ...). Without, x (N, ...) ->
    y (N, 1 or 2, top_k), padded with 1s to the number of axes of x.
    """

    type: ClassVar[str] = "ArgMax"
    axis: int | None
    top_k: int
    out_max_val: bool

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """No bottom: the place of a maximum has no gradient."""
        return ()

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """The input."""
        return (0,)


@infers("Reduction")
def reduction(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Reduction:
    """Read a Reduction layer."""
    param = layer.reduction_param
    axis = canonical_axis(layer, param.axis, len(bottoms[0]), "axis")
    return Reduction(
        layer=layer,
        bottoms=bottoms,
        tops=(bottoms[0][:axis],),
        operation=enum_name(param, "operation"),
        axis=axis,
        coeff=param.coeff,
    )


@infers("ArgMax")
def argmax(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> ArgMax:
    """Read an ArgMax layer."""
    param, x = layer.argmax_param, bottoms[0]
    if not x:
        raise ShapeError("the input is a scalar; expected (N, ...)", layer=label(layer))
    axis = None
    if param.HasField("axis"):
        axis = canonical_axis(layer, param.axis, len(x), "axis")
    choices = count(x, 1) if axis is None else x[axis]
    if not 1 <= param.top_k <= choices:
        raise SpecError(
            f"argmax_param.top_k is {param.top_k}; expected from 1 to {choices}, the "
            f"number of values to choose from",
            layer=label(layer),
        )
    if axis is None:
        rows = 2 if param.out_max_val else 1
        top = (x[0], rows, param.top_k) + (1,) * (len(x) - 3)
    else:
        top = (*x[:axis], param.top_k, *x[axis + 1 :])
    return ArgMax(
        layer=layer,
        bottoms=bottoms,
        tops=(top,),
        axis=axis,
        top_k=param.top_k,
        out_max_val=param.out_max_val,
    )
