"""InnerProduct and Embed, the layers that multiply by one matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import SpecError
from netspec.ops.base import (
    Op,
    ParamDef,
    Range,
    Shape,
    canonical_axis,
    count,
    filler,
    infers,
    label,
    numbers_below,
)
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class InnerProduct(Op):
    """y = x w^T + b over the axes from `axis` on, flattened.

    Shapes: x (M..., K...) -> y (M..., num_output); weights (num_output, K), or
    (K, num_output) with `transpose`; bias (num_output,).
    """

    type: ClassVar[str] = "InnerProduct"
    num_output: int
    axis: int
    transpose: bool
    bias_term: bool


@dataclass(frozen=True, kw_only=True)
class Embed(Op):
    """y = w[x] + b: a learned row for every index x from 0 to input_dim - 1.

    Shapes: x (any) -> y (any..., num_output); weights (input_dim, num_output), bias
    (num_output,). Indices have no gradient.
    """

    type: ClassVar[str] = "Embed"
    num_output: int
    input_dim: int
    bias_term: bool

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """No bottom: an index has no gradient."""
        return ()

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """The indices."""
        return (0,)

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Indices of rows."""
        return {0: numbers_below(self.input_dim)}


@infers("InnerProduct")
def inner_product(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> InnerProduct:
    """Read an InnerProduct layer."""
    param = layer.inner_product_param
    _positive(layer, "inner_product_param.num_output", param.num_output)
    axis = canonical_axis(layer, param.axis, len(bottoms[0]), "axis")
    outputs, inputs = param.num_output, count(bottoms[0], axis)
    weights = (inputs, outputs) if param.transpose else (outputs, inputs)
    params = [ParamDef(weights, filler(param, "weight_filler"))]
    if param.bias_term:
        params.append(ParamDef((outputs,), filler(param, "bias_filler")))
    return InnerProduct(
        layer=layer,
        bottoms=bottoms,
        tops=((*bottoms[0][:axis], outputs),),
        params=tuple(params),
        macs=count(bottoms[0]) * outputs,
        num_output=outputs,
        axis=axis,
        transpose=param.transpose,
        bias_term=param.bias_term,
    )


@infers("Embed")
def embed(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Embed:
    """Read an Embed layer."""
    param = layer.embed_param
    _positive(layer, "embed_param.num_output", param.num_output)
    _positive(layer, "embed_param.input_dim", param.input_dim)
    weights = (param.input_dim, param.num_output)
    params = [ParamDef(weights, filler(param, "weight_filler"))]
    if param.bias_term:
        params.append(ParamDef((param.num_output,), filler(param, "bias_filler")))
    return Embed(
        layer=layer,
        bottoms=bottoms,
        tops=((*bottoms[0], param.num_output),),
        params=tuple(params),
        num_output=param.num_output,
        input_dim=param.input_dim,
        bias_term=param.bias_term,
    )


def _positive(layer: LayerParameter, field: str, value: int) -> None:
    if value < 1:
        raise SpecError(f"{field} is {value}; give at least 1", layer=label(layer))
